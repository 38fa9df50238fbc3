"""A wearer's adapter, fitted: what their confirmed moments change in the image tokens and hazard scores of a bundle.

    rows → looks of the bundle, through the device's own runtime → image tokens, hazard logits, once
    → a low-rank change of the tokens, judged by the decoder's words
    → a linear change of the scores, judged by what the sentences say is there  → exporters.onnx.wearer

The bundle's graphs stay as they are, quantised as they are: the adapter learns beside what the device really computes.
Moments of others are shown as well, so that what is the same for all is not unlearnt. Of the epochs the one is kept
that does best on a share of the wearer's own walks that did not teach; where none does better than nothing, there is
no adapter.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from server.evaluation.answers import Case
from server.learn.batches import known_of, mirror, pad_answers
from server.model.guide import IGNORE, Guide
from shared.calibration import Calibration
from shared.runtime import GuidanceModel, Observation

RANK = 4
"""Of the change of image tokens …"""
VIEWS = 4
"""… and of what the hazard scores look at, in each token."""
EPOCHS = 60, 30
"""Passes over the moments at most: of the scores, of the words. It ends PATIENCE passes after the best."""
PATIENCE, BATCH = 6, 32
RATES = 3e-3, 1e-3
"""Of the scores, of the words: at 1e-2 the words of one of three wearers of drawn walks got worse."""
DECAY = 0.02
"""Weight decay: with few moments the adapter stays near nothing."""
SEED = 7
HELD_SHARE = 0.25
"""Of the wearer's walks that teach, those that choose the epoch instead."""
LIKELIER = 0.01
"""Weight of the loss of sentences beside the share of wrong ones, where an epoch is chosen."""
KEEP = 0.02
"""Weight of leaving scores alone of which no sentence says anything."""
Aim = Callable[["Looked"], Tensor]
"""Moments → what is to become small, float []."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Moments as a bundle sees them."""

    tokens: NDArray[np.float32]
    """[m, n, e]"""
    logits: NDArray[np.float32]
    """[m, objects, sides], not calibrated"""
    texts: tuple[str, ...]
    walks: tuple[str, ...]
    earlier: NDArray[np.float32] | None = None
    """[m, n, e], of the pictures before, for bundles that are shown two"""
    heard: NDArray[np.float32] | None = None
    """[m, 1, e], what is added to the tokens, for bundles that hear"""

    def __len__(self) -> int:
        return len(self.texts)

    def some(self, chosen: Sequence[int]) -> Looked:
        """Those at these places."""
        at = np.asarray(chosen, np.int64)
        earlier = None if self.earlier is None else self.earlier[at]
        heard = None if self.heard is None else self.heard[at]
        texts, walks = tuple(self.texts[n] for n in at), tuple(self.walks[n] for n in at)
        return Looked(self.tokens[at], self.logits[at], texts, walks, earlier, heard)


def logits_of(model: GuidanceModel, seen: Observation) -> NDArray[np.float32]:
    """Hazard logits of a look, [objects, sides], from its calibrated scores."""
    described = model.manifest.model
    objects, sides = list(map(str, described["objects"])), list(map(str, described["sides"]))
    by = Calibration.from_dict(described.get("calibration", {}))
    out = np.zeros((len(objects), len(sides)), np.float64)
    for hazard in seen.by_head or seen.hazards:
        score = min(max(hazard.score, 1e-7), 1 - 1e-7)
        out[objects.index(hazard.object), sides.index(hazard.side)] = np.log(score / (1 - score))
    return np.asarray((out - by.hazard_bias) / by.hazard_scale, np.float32)


def look_at(model: GuidanceModel, cases: Iterable[Case]) -> Looked:
    """What a bundle makes of moments, each as it is and in a mirror. Left out are pictures far from all that its heads
    were taught on: there the boxes count and the table words."""
    found: list[tuple[Case, Observation, NDArray[np.float32]]] = []
    for case in (view for each in cases for view in (each, mirrored(each))):
        before = None if case.previous is None else model.look(case.previous)
        seen = model.look(case.image, case.sound, before=before)
        if not seen.far:
            found.append((case, seen, logits_of(model, seen)))
    width = model.language.tokens_shape
    described = model.manifest.model
    pairs = (len(described["objects"]), len(described["sides"]))
    earlier = [seen.image_tokens if seen.earlier_tokens is None else seen.earlier_tokens for _, seen, _ in found]
    heard = [np.zeros((1, 1, width[1]), np.float32) if seen.audio is None else seen.audio for _, seen, _ in found]
    return Looked(
        _stacked([seen.image_tokens for _, seen, _ in found], width),
        _stacked([logits[None] for _, _, logits in found], pairs),
        tuple(case.text for case, _, _ in found),
        tuple(case.walk for case, _, _ in found),
        _stacked(earlier, width) if described.get("frames", 1) == 2 else None,
        _stacked(heard, (1, width[1])) if model.language.hears else None,
    )


def mirrored(case: Case) -> Case:
    """The same moment with left and right exchanged."""
    image, text = mirror(case.image, case.text)
    previous = None if case.previous is None else mirror(case.previous, "")[0]
    return replace(case, image=image, text=text, previous=previous)


def _stacked(rows: Sequence[NDArray[np.float32]], shape: tuple[int, int]) -> NDArray[np.float32]:
    """[1, …] each → [m, …]"""
    return np.concatenate(rows) if rows else np.zeros((0, *shape), np.float32)


class WordAdapter(nn.Module):
    """tokens [b, n, e] → the same, with a low-rank change; begins as no change at all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Parameter(_drawn(width, RANK))
        self.offset = nn.Parameter(torch.zeros(RANK))
        self.up = nn.Parameter(torch.zeros(RANK, width))

    def forward(self, tokens: Tensor) -> Tensor:
        changed: Tensor = tokens + (tokens @ self.down + self.offset) @ self.up
        return changed


class ScoreAdapter(nn.Module):
    """tokens [b, n, e], as the bundle gives them, and logits [b, objects, sides] → logits; begins as no change."""

    def __init__(self, tokens: int, width: int, objects: int, sides: int) -> None:
        super().__init__()
        self.look = nn.Parameter(_drawn(width, VIEWS))
        self.pairs = nn.Parameter(torch.zeros(tokens * VIEWS, objects * sides))
        self.gain = nn.Parameter(torch.zeros(objects, 1))
        self.bias = nn.Parameter(torch.zeros(objects, sides))

    def forward(self, tokens: Tensor, logits: Tensor) -> Tensor:
        evidence = ((tokens @ self.look).flatten(1) @ self.pairs).view_as(logits)
        scored: Tensor = logits * (1 + self.gain) + evidence + self.bias
        return scored


def _drawn(width: int, rank: int) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return torch.randn(width, rank) / width**0.5


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How an adapter is fitted."""

    objects: tuple[str, ...]
    """Of the model."""
    calibration: Calibration
    """Of the bundle: the scores are judged as the policy reads them."""
    epochs: tuple[int, int] = EPOCHS
    """Passes over the moments, of the scores and of the words."""


@dataclass(frozen=True, slots=True)
class Part:
    """One half of an adapter, at the epoch at which it did best."""

    loss_before: float
    """What chose the epoch (of words, about the share of wrong ones), on the walks that chose it, without it …"""
    loss: float
    """… and with it."""
    epoch: int
    """0 = nothing did better than no adapter."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of it."""

    weights: Mapping[str, NDArray[np.float32]]
    """As exporters.onnx.wearer takes them."""
    scores: Part
    words: Part | None
    """None where the champion is not here in PyTorch."""

    @property
    def is_none(self) -> bool:
        """Whether it changes nothing."""
        return self.scores.epoch == 0 and (self.words is None or self.words.epoch == 0)


class Words:
    """The decoder of the champion in PyTorch: how probable the confirmed sentences are, given image tokens."""

    def __init__(self, guide: Guide, answer_ids: Callable[[str], list[int]]) -> None:
        """answer_ids: text → token ids with the end token"""
        self._guide, self._answer_ids = guide.eval(), answer_ids
        for parameter in guide.parameters():
            parameter.requires_grad_(False)

    def loss(self, adapter: WordAdapter, part: Looked) -> Tensor:
        """Mean cross-entropy of the sentences, float []."""
        answers, logits = self._written(adapter, part)
        return functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=IGNORE)

    def wrong(self, adapter: WordAdapter, part: Looked) -> Tensor:
        """Share of the sentences that the decoder would not write, float []; of equal shares the likelier counts less.

        What is only more probable chooses no epoch: of one of three wearers of drawn walks the loss fell by a tenth
        while 6 in 100 sentences more were wrong.
        """
        answers, logits = self._written(adapter, part)
        written = ((logits.argmax(-1) == answers) | (answers == IGNORE)).all(1)
        loss = functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=IGNORE)
        return 1 - written.float().mean() + LIKELIER * loss

    def _written(self, adapter: WordAdapter, part: Looked) -> tuple[Tensor, Tensor]:
        """(answers [b, A], logits [b, A, vocabulary] under teacher forcing)"""
        answers = pad_answers([self._answer_ids(text) for text in part.texts])
        earlier = None if part.earlier is None else adapter(torch.from_numpy(part.earlier))
        heard = None if part.heard is None else torch.from_numpy(part.heard)
        image = adapter(torch.from_numpy(part.tokens))
        return answers, self._guide.token_logits(image, answers, earlier=earlier, sound=heard)


def fit(own: Looked, others: Looked, plan: FitPlan, *, words: Words | None) -> Fitted:
    """Fit an adapter to a wearer's moments: scores and words each by itself, for neither touches the other.

    others: of other wearers, in half of each batch where there are any
    words: None where the champion is not here in PyTorch: only the hazard scores learn then
    """
    tokens, width = own.tokens.shape[1:]
    scorer, worder = ScoreAdapter(tokens, width, *own.logits.shape[1:]), WordAdapter(width)
    split = (*_split(own), others)
    scored = partial(_score_loss, scorer, plan=plan)
    scores = _best(scorer, (scored, scored), split, epochs=plan.epochs[0], rate=RATES[0])
    said = None
    if words is not None:
        aims = partial(words.loss, worder), partial(words.wrong, worder)
        said = _best(worder, aims, split, epochs=plan.epochs[1], rate=RATES[1])
    parameters = [*scorer.named_parameters(), *worder.named_parameters()]
    weights = {name: value.detach().numpy().astype(np.float32).copy() for name, value in parameters}
    return Fitted(weights, scores, said)


def _split(own: Looked) -> tuple[Looked, Looked]:
    """(those that teach, those that choose), whole walks; of a single walk its last quarter chooses."""
    walks = sorted(set(own.walks))
    count = round(len(walks) * HELD_SHARE) or (1 if len(walks) > 1 else 0)
    chosen = set(np.random.default_rng([SEED, len(walks)]).permutation(walks)[:count])
    held = [n for n, walk in enumerate(own.walks) if walk in chosen]
    if not held:
        held = list(range(len(own) - max(1, len(own) // 4), len(own)))
    return own.some([n for n in range(len(own)) if n not in set(held)]), own.some(held)


def _best(
    adapter: nn.Module, aims: tuple[Aim, Aim], split: tuple[Looked, Looked, Looked], *, epochs: int, rate: float
) -> Part:
    """Train and leave the adapter as it was when it did best on what is held.

    aims: what it learns by, what chooses the epoch; split: teaching, held, others
    """
    teaching, held, others = split
    loss_of, worth = aims
    drawn = [value for name, value in adapter.named_parameters() if name in ("down", "look", "offset")]
    rest = [value for name, value in adapter.named_parameters() if name not in ("down", "look", "offset")]
    groups = [{"params": rest, "weight_decay": DECAY}, {"params": drawn, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate)
    before = best = _evaluated(held, worth)
    kept, chosen = copy.deepcopy(adapter.state_dict()), 0
    for epoch in range(1, epochs + 1):
        for part in _batches(teaching, others, np.random.default_rng([SEED, epoch])):
            optimiser.zero_grad()
            loss_of(part).backward()  # type: ignore[no-untyped-call]  # torch's own gap
            optimiser.step()
        loss = _evaluated(held, worth)
        if loss < best:
            best, kept, chosen = loss, copy.deepcopy(adapter.state_dict()), epoch
        elif epoch - chosen >= PATIENCE:
            break
    adapter.load_state_dict(kept)
    return Part(before, best, chosen)


def _batches(own: Looked, others: Looked, rng: np.random.Generator) -> Iterator[Looked]:
    share = BATCH // 2 if len(others) else BATCH
    order = rng.permutation(len(own))
    for start in range(0, len(own), share):
        mine = own.some(order[start : start + share].tolist())
        theirs = others.some(rng.integers(0, max(1, len(others)), len(mine) if len(others) else 0).tolist())
        yield joined(mine, theirs)


def joined(one: Looked, other: Looked) -> Looked:
    """Both, one after the other; of one bundle, so alike in what they are given."""

    def both(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        return None if a is None or b is None else np.concatenate([a, b])

    tokens, logits = np.concatenate([one.tokens, other.tokens]), np.concatenate([one.logits, other.logits])
    texts, walks = one.texts + other.texts, one.walks + other.walks
    return Looked(tokens, logits, texts, walks, both(one.earlier, other.earlier), both(one.heard, other.heard))


@torch.no_grad()
def _evaluated(held: Looked, worth: Aim) -> float:
    parts = [held.some(range(at, min(len(held), at + BATCH))) for at in range(0, len(held), BATCH)]
    return sum(float(worth(part)) * len(part) for part in parts) / max(1, len(held))


def _score_loss(adapter: ScoreAdapter, part: Looked, *, plan: FitPlan) -> Tensor:
    """Of what the sentences say is there, in calibrated scores; those of which they say nothing stay near."""
    before = torch.from_numpy(part.logits)
    logits = adapter(torch.from_numpy(part.tokens), before)
    labels = [known_of(text, plan.objects) for text in part.texts]
    there, known = (torch.from_numpy(np.stack(values)) for values in zip(*labels, strict=True))
    scored = logits * plan.calibration.hazard_scale + plan.calibration.hazard_bias
    said = functional.binary_cross_entropy_with_logits(scored, there, known, reduction="sum")
    loss: Tensor = (said + KEEP * ((logits - before) ** 2 * (known == 0)).sum()) / len(part)
    return loss
