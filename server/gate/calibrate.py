"""How sure is sure: the numbers that make 0.8 mean right in 8 of 10, fitted on answers to moments nobody learnt from.

    sentences   one temperature. More overfits: on the starter, a bias beside it raised the calibration error of fresh
                frames from 0.011 to 0.019
    hazards     scale and bias of the logits. The starter's hardly reached 0.8, though of those above 0.7 98 in 100
                were there: the policy's fixed levels would have come too late (docs/adr/0026)

With few answers both stay near where nothing is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.evaluation.answers import Answer, known_hazards
from server.evaluation.measures import calibration
from shared.calibration import Calibration

FOLDS = 5
LEAST, MOST, STEPS = 0.2, 5.0, 161
WIDTH = 0.5
"""Of the prior on the logarithms of temperature and scale, and on the bias: 10 answers do not outweigh it, 300 do."""
ROUNDS = 30
BOTH = 20
"""Hazards that must have been there, and as many that were not, before their scores are touched."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration, and what it does to answers that it was not fitted on: expected calibration errors, 10 bins."""

    by: Calibration
    answers: int
    sentences_before: float | None
    sentences: float | None
    """With each fifth of the walks calibrated on the other four."""
    hazards_before: float | None
    hazards: float | None


def fit(answers: Sequence[Answer]) -> Fitted:
    """From a bundle's own, uncalibrated answers to cases that training never saw."""
    crossed = _crossed(answers)
    return Fitted(
        _fitted(answers),
        len(answers),
        _sentence_error(answers),
        _sentence_error(crossed),
        _hazard_error(answers),
        _hazard_error(crossed),
    )


def _crossed(answers: Sequence[Answer]) -> list[Answer]:
    """Each fifth of the walks calibrated on the other four: looks of one walk are alike, and stay together."""
    folds = {walk: at % FOLDS for at, walk in enumerate(dict.fromkeys(answer.case.unit for answer in answers))}
    crossed: list[Answer] = []
    for fold in range(FOLDS):
        mine = [answer for answer in answers if folds[answer.case.unit] == fold]
        others = [answer for answer in answers if folds[answer.case.unit] != fold]
        crossed += calibrated(mine, _fitted(others))
    return crossed


def calibrated(answers: Sequence[Answer], by: Calibration) -> list[Answer]:
    """The answers as the bundle will give them."""
    return [
        replace(
            answer,
            confidence=by.sentence(answer.confidence),
            scores=tuple((name, side, by.hazard(score)) for name, side, score in answer.scores),
        )
        for answer in answers
    ]


def temperature(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """The most probable temperature under a prior around 1; 1 where there is nothing to fit on."""
    if not confidences:
        return 1.0
    signed = _log_odds(confidences) * np.where(np.asarray(right), 1.0, -1.0)
    grid = np.exp(np.linspace(math.log(LEAST), math.log(MOST), STEPS))
    losses = [np.logaddexp(0.0, -signed / t).sum() + math.log(t) ** 2 / (2 * WIDTH**2) for t in grid]
    return round(float(grid[int(np.argmin(losses))]), 3)


def scale_and_bias(scores: Sequence[float], there: Sequence[bool]) -> tuple[float, float]:
    """Platt's two numbers, by Newton's method under the same prior; (1, 0) with too few of either kind."""
    truth = np.asarray(there, np.float64)
    if min(truth.sum(), len(truth) - truth.sum()) < BOTH:
        return 1.0, 0.0
    odds = np.stack([_log_odds(scores), np.ones(len(truth))], axis=1)
    start = best = np.array([1.0, 0.0])

    def loss(at: NDArray[np.float64]) -> float:
        prior = ((at - start) ** 2).sum() / (2 * WIDTH**2)
        return float((np.logaddexp(0.0, odds @ at) - truth * (odds @ at)).sum() + prior)

    for _ in range(ROUNDS):
        sure = 0.5 * (1 + np.tanh(odds @ best / 2))
        slope = odds.T @ (sure - truth) + (best - start) / WIDTH**2
        bend = (odds * (sure * (1 - sure))[:, None]).T @ odds + np.eye(2) / WIDTH**2
        step = np.linalg.solve(bend, slope)
        halves = (best - step / 2**n for n in range(ROUNDS))  # a whole step may overshoot where all are sure
        best = next((to for to in halves if loss(to) <= loss(best)), best)
    scale, bias = (round(float(value), 3) for value in best)
    return (scale, bias) if scale > 0 else (1.0, 0.0)


def _fitted(answers: Sequence[Answer]) -> Calibration:
    sure = temperature([a.confidence for a in answers], [a.right for a in answers])
    return Calibration(sure, *scale_and_bias(*_hazards(answers)))


def _hazards(answers: Sequence[Answer]) -> tuple[list[float], list[bool]]:
    """(score, there) of what was scored: a score of 0 is one that the answer no longer holds."""
    known = [pair for answer in answers for pair in known_hazards(answer) if pair[0] > 0]
    return [score for score, _ in known], [there for _, there in known]


def _sentence_error(answers: Sequence[Answer]) -> float | None:
    return calibration([a.confidence for a in answers], [a.right for a in answers]).ece


def _hazard_error(answers: Sequence[Answer]) -> float | None:
    return calibration(*_hazards(answers)).ece


def _log_odds(probabilities: Sequence[float]) -> NDArray[np.float64]:
    near = np.clip(np.asarray(probabilities, np.float64), 1e-6, 1 - 1e-6)
    return np.log(near / (1 - near))
