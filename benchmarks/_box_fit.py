"""What confirmed sentences say about the boxes of a detector: the few numbers of `shared.sight.BoxScoring`.

    moments of a dataset (boxes, what was right to say) → scoring under which the right things are likelier than not

Logistic regression on weak labels: a sentence names one thing at one side, silence says that nothing is within reach.
Four numbers cannot learn a dataset by heart, so that some tens of moments are enough; they are drawn towards the
defaults.
source: Platt 1999, for scores that are to be probabilities
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from server.evaluation.facts import seen_side
from shared import vocabulary
from shared.sight import Box, BoxScoring, Camera, scored

DRAWN_TOWARDS = 0.01
"""Weight of the squared distance from the defaults, per moment."""
OTHER_SIDES = 0.3
"""The named thing is weakly absent at other sides, as for the hazard head."""
_NEAR = 1e-3
_STEPS = (-0.5, 0.5, 0.3, 0.4)
"""How far the search goes at first: score_scale, near_scale, ln(reach_scale), ln(corridor_m)."""


@dataclass(frozen=True, slots=True)
class BoxMoment:
    """One confirmed moment."""

    boxes: tuple[Box, ...]
    aspect: float
    """Width / height of the picture."""
    text: str
    """The right sentence; vocabulary.CLEAR where nothing should be said."""


def fit(moments: Sequence[BoxMoment], camera: Camera, *, start: BoxScoring | None = None) -> BoxScoring:
    """The scoring under which what people said is likeliest; `start` where no moment says anything of a box.

    camera: where it was worn when these moments were recorded
    """
    plain = start or BoxScoring()
    taught = [moment for moment in moments if moment.boxes and _says(moment.text)]
    if not taught:
        return plain
    at = _numbers(plain)

    def loss(numbers: NDArray[np.float64]) -> float:
        scoring = _scoring(numbers)
        total = sum(_surprise(moment, camera, scoring) for moment in taught)
        return float(total / len(taught) + DRAWN_TOWARDS * np.square(numbers - at).sum())

    corners = np.vstack([at, at + np.diag(_STEPS)])
    options = {"maxiter": 400, "xatol": 1e-2, "fatol": 1e-4, "initial_simplex": corners}
    found = minimize(loss, at, method="Nelder-Mead", options=options)
    return _scoring(found.x)


def _numbers(scoring: BoxScoring) -> NDArray[np.float64]:
    return np.array(
        [scoring.score_scale, scoring.near_scale, math.log(scoring.reach_scale), math.log(scoring.corridor_m)]
    )


def _scoring(numbers: NDArray[np.float64]) -> BoxScoring:
    score_scale, near_scale, *logarithms = map(float, numbers)
    reach_scale, corridor_m = (math.exp(min(max(number, -2.0), 2.0)) for number in logarithms)
    return BoxScoring(max(score_scale, 0.1), max(near_scale, 0.1), reach_scale, corridor_m)


def _says(text: str) -> bool:
    """Whether a sentence says something of things: "Turn right." does not."""
    slots = vocabulary.parse(text)
    return text == vocabulary.CLEAR or (slots is not None and bool(slots.object))


def _surprise(moment: BoxMoment, camera: Camera, scoring: BoxScoring) -> float:
    """Cross-entropy between what the boxes say and what the sentence says."""
    scores = scored(moment.boxes, camera, aspect=moment.aspect, scoring=scoring)
    if moment.text == vocabulary.CLEAR:
        return sum(_bits(score, there=False) for score in scores.values())
    slots = vocabulary.parse(moment.text)
    assert slots is not None
    side = seen_side(slots.side)
    total = 0.0
    for (name, seen), score in scores.items():
        if name == slots.object:
            total += _bits(score, there=True) if seen == side else OTHER_SIDES * _bits(score, there=False)
    return total


def _bits(score: float, *, there: bool) -> float:
    sure = min(max(score if there else 1.0 - score, _NEAR), 1.0)
    return float(-np.log(sure))
