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
import math
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
PATIENCE, BATCH = 6, 32
"""The fit ends PATIENCE passes over the moments after the best."""
DECAY = 0.02
"""Weight decay: with few moments the adapter stays near nothing."""
SEED = 7
HELD_SHARE = 0.25
"""Of the wearer's walks that teach, those that choose the epoch instead."""
LIKELIER = 0.01
"""Weight of the loss of sentences beside the share of wrong ones, where an epoch is chosen."""
KEEP = 0.02
"""Weight of leaving scores alone of which no sentence says anything."""
Aim = Callable[["LookedMoments"], Tensor]
"""Moments → what is to become small, float []."""


@dataclass(frozen=True, slots=True)
class LookedMoments:
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

    def some(self, chosen: Sequence[int]) -> LookedMoments:
        """Those at these places."""
        at = np.asarray(chosen, np.int64)
        earlier = None if self.earlier is None else self.earlier[at]
        heard = None if self.heard is None else self.heard[at]
        texts, walks = tuple(self.texts[n] for n in at), tuple(self.walks[n] for n in at)
        return LookedMoments(self.tokens[at], self.logits[at], texts, walks, earlier, heard)


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


def look_at(model: GuidanceModel, cases: Iterable[Case]) -> LookedMoments:
    """What a bundle makes of moments, each as it is and in a mirror. Left out are pictures far from all that its heads
    were taught on: there the boxes count and the table words."""
    found = [(case, seen) for case, seen in _looks(model, cases) if not seen.far]
    language, described = model.language, model.manifest.model
    (tokens, width), pairs = language.tokens_shape, (len(described["objects"]), len(described["sides"]))
    rows = [(seen.image_tokens, logits_of(model, seen)[None], _earlier(seen), _heard(seen)) for _, seen in found]
    nothing = [np.zeros((0, *shape), np.float32) for shape in ((tokens, width), pairs, (tokens, width), (1, width))]
    seen_now, logits, earlier, heard = map(np.concatenate, zip(nothing, *rows, strict=True))
    return LookedMoments(
        seen_now,
        logits,
        tuple(case.text for case, _ in found),
        tuple(case.walk for case, _ in found),
        earlier if language.frames == 2 else None,
        heard if language.hears else None,
    )


def _earlier(seen: Observation) -> NDArray[np.float32]:
    return seen.image_tokens if seen.earlier_tokens is None else seen.earlier_tokens


def _heard(seen: Observation) -> NDArray[np.float32]:
    return np.zeros_like(seen.image_tokens[:, :1]) if seen.audio is None else seen.audio


def _looks(model: GuidanceModel, cases: Iterable[Case]) -> Iterator[tuple[Case, Observation]]:
    for case in (view for each in cases for view in (each, mirrored(each))):
        before = None if case.previous is None else model.look(case.previous)
        yield case, model.look(case.image, case.sound, before=before)


def mirrored(case: Case) -> Case:
    """The same moment with left and right exchanged."""
    image, text = mirror(case.image, case.text)
    previous = None if case.previous is None else mirror(case.previous, "")[0]
    return replace(case, image=image, text=text, previous=previous)


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
        return torch.randn(width, rank) / math.sqrt(width)


@dataclass(frozen=True, slots=True)
class Pace:
    """How one half of an adapter is fitted."""

    epochs: int
    """Passes over the moments, at most."""
    rate: float
    needed: float = 1.0
    """Most that may be left of what chooses the epoch, for an epoch to count as better than no adapter."""


SCORES, WORDS = Pace(60, 3e-3), Pace(30, 1e-3, 0.9)
"""Of three wearers of drawn walks the words got worse where they were 3 in 100 better on the walks that chose, and
better where they were a third better; at a rate of 1e-2 they got worse of more."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How an adapter is fitted."""

    objects: tuple[str, ...]
    """Of the model."""
    calibration: Calibration
    """Of the bundle: the scores are judged as the policy reads them."""
    scores: Pace = SCORES
    words: Pace = WORDS


@dataclass(frozen=True, slots=True)
class FittedHalf:
    """One half of an adapter, at the epoch at which it did best."""

    loss_before: float
    """What chose the epoch (of words, about the share of wrong ones), on the walks that chose it, without it …"""
    loss: float
    """… and with it."""
    epoch: int
    """0 = nothing did better than no adapter."""


@dataclass(frozen=True, slots=True)
class FittedAdapter:
    """What came of it."""

    weights: Mapping[str, NDArray[np.float32]]
    """As exporters.onnx.wearer takes them."""
    scores: FittedHalf
    words: FittedHalf | None
    """None where the champion is not here in PyTorch."""

    @property
    def is_none(self) -> bool:
        """Whether it changes nothing."""
        return self.scores.epoch == 0 and (self.words is None or self.words.epoch == 0)


class DecoderWords:
    """The decoder of the champion in PyTorch: how probable the confirmed sentences are, given image tokens."""

    def __init__(self, guide: Guide, answer_ids: Callable[[str], list[int]]) -> None:
        """answer_ids: text → token ids with the end token"""
        self._guide, self._answer_ids = guide.eval(), answer_ids
        for parameter in guide.parameters():
            parameter.requires_grad_(False)

    def loss(self, adapter: WordAdapter, part: LookedMoments) -> Tensor:
        """Mean cross-entropy of the sentences, float []."""
        answers, logits = self._written(adapter, part)
        return functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=IGNORE)

    def wrong(self, adapter: WordAdapter, part: LookedMoments) -> Tensor:
        """Share of the sentences that the decoder would not write, float []; of equal shares the likelier counts less.

        What is only more probable chooses no epoch: of one of three wearers of drawn walks the loss fell by a tenth
        while 6 in 100 sentences more were wrong.
        """
        answers, logits = self._written(adapter, part)
        written = ((logits.argmax(-1) == answers) | (answers == IGNORE)).all(1)
        loss = functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=IGNORE)
        return 1 - written.float().mean() + LIKELIER * loss

    def _written(self, adapter: WordAdapter, part: LookedMoments) -> tuple[Tensor, Tensor]:
        """(answers [b, A], logits [b, A, vocabulary] under teacher forcing)"""
        answers = pad_answers([self._answer_ids(text) for text in part.texts])
        earlier = None if part.earlier is None else adapter(torch.from_numpy(part.earlier))
        heard = None if part.heard is None else torch.from_numpy(part.heard)
        image = adapter(torch.from_numpy(part.tokens))
        return answers, self._guide.token_logits(image, answers, earlier=earlier, sound=heard)


def fit(own: LookedMoments, others: LookedMoments, plan: FitPlan, *, words: DecoderWords | None) -> FittedAdapter:
    """Fit an adapter to a wearer's moments: scores and words each by itself, for neither touches the other.

    others: of other wearers, in half of each batch where there are any
    words: None where the champion is not here in PyTorch: only the hazard scores learn then
    """
    tokens, width = own.tokens.shape[1:]
    scorer, worder = ScoreAdapter(tokens, width, *own.logits.shape[1:]), WordAdapter(width)
    split = (*_split(own), others)
    scored = partial(_score_loss, scorer, plan=plan)
    scores = _best(scorer, (scored, scored), split, plan.scores)
    said = None
    if words is not None:
        aims = partial(words.loss, worder), partial(words.wrong, worder)
        said = _best(worder, aims, split, plan.words)
    parameters = [*scorer.named_parameters(), *worder.named_parameters()]
    weights = {name: value.detach().numpy().astype(np.float32).copy() for name, value in parameters}
    return FittedAdapter(weights, scores, said)


def _split(own: LookedMoments) -> tuple[LookedMoments, LookedMoments]:
    """(those that teach, those that choose), whole walks; of a single walk its last quarter chooses."""
    walks = sorted(set(own.walks))
    count = round(len(walks) * HELD_SHARE) or (1 if len(walks) > 1 else 0)
    chosen = set(np.random.default_rng([SEED, len(walks)]).permutation(walks)[:count])
    held = [n for n, walk in enumerate(own.walks) if walk in chosen]
    if not held:
        held = list(range(len(own) - max(1, len(own) // 4), len(own)))
    return own.some([n for n in range(len(own)) if n not in set(held)]), own.some(held)


def _best(
    adapter: nn.Module, aims: tuple[Aim, Aim], split: tuple[LookedMoments, LookedMoments, LookedMoments], pace: Pace
) -> FittedHalf:
    """Train and leave the adapter as it was when it did best on what is held.

    aims: what it learns by, what chooses the epoch; split: teaching, held, others
    """
    teaching, held, others = split
    loss_of, worth = aims
    drawn = [value for name, value in adapter.named_parameters() if name in ("down", "look", "offset")]
    rest = [value for name, value in adapter.named_parameters() if name not in ("down", "look", "offset")]
    groups = [{"params": rest, "weight_decay": DECAY}, {"params": drawn, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=pace.rate)
    before = best = _evaluated(held, worth)
    none = kept = copy.deepcopy(adapter.state_dict())
    chosen = 0
    for epoch in range(1, pace.epochs + 1):
        for part in _batches(teaching, others, np.random.default_rng([SEED, epoch])):
            optimiser.zero_grad()
            loss_of(part).backward()  # type: ignore[no-untyped-call]  # torch's own gap
            optimiser.step()
        loss = _evaluated(held, worth)
        if loss < best:
            best, kept, chosen = loss, copy.deepcopy(adapter.state_dict()), epoch
        elif epoch - chosen >= PATIENCE:
            break
    if best > before * pace.needed:
        best, kept, chosen = before, none, 0
    adapter.load_state_dict(kept)
    return FittedHalf(before, best, chosen)


def _batches(own: LookedMoments, others: LookedMoments, rng: np.random.Generator) -> Iterator[LookedMoments]:
    share = BATCH // 2 if len(others) else BATCH
    order = rng.permutation(len(own))
    for start in range(0, len(own), share):
        mine = own.some(order[start : start + share].tolist())
        theirs = others.some(rng.integers(0, max(1, len(others)), len(mine) if len(others) else 0).tolist())
        yield joined(mine, theirs)


def joined(one: LookedMoments, other: LookedMoments) -> LookedMoments:
    """Both, one after the other; of one bundle, so alike in what they are given."""

    def both(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        return None if a is None or b is None else np.concatenate([a, b])

    tokens, logits = np.concatenate([one.tokens, other.tokens]), np.concatenate([one.logits, other.logits])
    texts, walks = one.texts + other.texts, one.walks + other.walks
    return LookedMoments(tokens, logits, texts, walks, both(one.earlier, other.earlier), both(one.heard, other.heard))


@torch.no_grad()
def _evaluated(held: LookedMoments, worth: Aim) -> float:
    parts = [held.some(range(at, min(len(held), at + BATCH))) for at in range(0, len(held), BATCH)]
    return sum(float(worth(part)) * len(part) for part in parts) / max(1, len(held))


def _score_loss(adapter: ScoreAdapter, part: LookedMoments, *, plan: FitPlan) -> Tensor:
    """Of what the sentences say is there, in calibrated scores; those of which they say nothing stay near."""
    before = torch.from_numpy(part.logits)
    logits = adapter(torch.from_numpy(part.tokens), before)
    labels = [known_of(text, plan.objects) for text in part.texts]
    there, known = (torch.from_numpy(np.stack(values)) for values in zip(*labels, strict=True))
    scored = logits * plan.calibration.hazard_scale + plan.calibration.hazard_bias
    said = functional.binary_cross_entropy_with_logits(scored, there, known, reduction="sum")
    loss: Tensor = (said + KEEP * ((logits - before) ** 2 * (known == 0)).sum()) / len(part)
    return loss
