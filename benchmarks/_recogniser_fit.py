"""Fits the weights of server.speech.choosing: a conditional logit over what each sound may have meant.

A sound whose meaning is not among the guesses teaches "none of these". Each is taken three times, with what a model
saw, with the thing overlooked (who corrects a model stands where it was wrong), and with no model. The temperature and
the limit from which a proposal counts as sure come from voices left out one after the other: each is judged by weights
that never heard it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from server.speech.choosing import Circumstances, Weights, candidates, evidence_of, evidence_of_none, softmax
from server.speech.requests import NOT_SEEN, SeenThings
from shared.speech import SoundPass

NONE = "none:"
BY_HAND = {"said": -0.5, "taught": 0.5}
"""Of these the spoken set tells nothing: a correction seldom repeats what was said, and often what was corrected."""
RIDGE = 0.02
TEMPERATURES = np.geomspace(0.5, 4.0, 40)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One sound with what is known beside it."""

    voice: str
    meant: str
    thing: str
    passes: tuple[SoundPass, ...]
    seen: SeenThings = NOT_SEEN


@dataclass(frozen=True, slots=True)
class Case:
    """The rows of evidence of one sound, the last of them "none of these"."""

    evidence: tuple[Mapping[str, float], ...]
    right: int


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights, and what voices that they never heard say of them."""

    weights: Weights
    judged: tuple[tuple[float, bool], ...]
    """(probability of the best sentence, whether it was right), of every voice left out."""

    def sure_from(self, precision: float) -> float:
        """The lowest probability from which as large a share of the proposals is right; 1 where there is none."""
        limits = sorted({round(one, 2) for one, _ in self.judged})
        for limit in limits:
            above = [right for one, right in self.judged if one >= limit]
            if above and sum(above) >= precision * len(above):
                return limit
        return 1.0


def fit(lessons: Sequence[Lesson]) -> Fit:
    """Of one kind of evidence."""
    judged: list[tuple[list[float], int]] = []
    for voice in sorted({one.voice for one in lessons}):
        weights = _weights([one for one in lessons if one.voice != voice])
        judged += [
            (_logits(weights, case), case.right) for one in lessons if one.voice == voice for case in _cases(one)
        ]
    temperature = min(TEMPERATURES, key=lambda one: _surprise(judged, float(one)))
    best = [_best(softmax(logits, float(temperature)), right) for logits, right in judged if len(logits) > 1]
    return Fit(Weights(_weights(lessons) | BY_HAND, round(float(temperature), 2)), tuple(best))


def _cases(lesson: Lesson) -> Iterator[Case]:
    """With what was seen, with the thing overlooked, and with nothing seen."""
    words = list(candidates(lesson.passes))
    right = words.index(lesson.meant) if lesson.meant in words else len(words)
    overlooked = replace(lesson.seen, scores={**lesson.seen.scores, lesson.thing: 0.0})
    for seen in (lesson.seen, overlooked, NOT_SEEN):
        about = Circumstances(seen)
        rows: list[Mapping[str, float]] = [evidence_of(one, lesson.passes, about) for one in words]
        none = {f"{NONE}{name}": value for name, value in evidence_of_none(lesson.passes).items()}
        yield Case((*rows, none), right)


def _weights(lessons: Sequence[Lesson]) -> dict[str, float]:
    cases = [case for one in lessons for case in _cases(one) if len(case.evidence) > 1]
    names = sorted({name for case in cases for row in case.evidence for name in row} - set(BY_HAND))
    tables = [_table(case, names) for case in cases]
    found = _solved(tables, [case.right for case in cases], len(names))
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}


def _table(case: Case, names: Sequence[str]) -> torch.Tensor:
    return torch.tensor([[row.get(name, 0.0) for name in names] for row in case.evidence])


def _solved(tables: Sequence[torch.Tensor], rights: Sequence[int], count: int) -> torch.Tensor:
    weights = torch.zeros(count, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        lost = [-torch.log_softmax(table @ weights, 0)[right] for table, right in zip(tables, rights, strict=True)]
        loss = torch.stack(lost).mean() + RIDGE * weights.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach()


def _logits(weights: Mapping[str, float], case: Case) -> list[float]:
    return [sum(weights.get(name, 0.0) * value for name, value in row.items()) for row in case.evidence]


def _surprise(judged: Sequence[tuple[list[float], int]], temperature: float) -> float:
    return float(np.mean([-np.log(max(softmax(logits, temperature)[right], 1e-9)) for logits, right in judged]))


def _best(shares: Sequence[float], right: int) -> tuple[float, bool]:
    best = max(range(len(shares) - 1), key=lambda at: shares[at])
    return shares[best], best == right
