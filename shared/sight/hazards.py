"""How sure it is that a box stands in the way, and on which side. Pure.

    foot of the box → metres ahead and aside → share of its class's reach
    log-odds = score_scale · log-odds(detector's score) + near_scale · ln(reach_scale · reach / distance)

On the edge of its reach a thing that the detector is half sure of is worth one half. Nearness adds NEAR_MOST at most
and certainty SURE_MOST: with the default numbers, what the detector gives less than 0.3 stays below one half, however
near it seems, and a thing at twice its reach, however plain it is. A box whose foot is cut off by the
picture's edge is at least as near as that edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared.sight.boxes import Box
from shared.sight.camera import Camera
from shared.sight.reach import CORRIDOR_M, reach

_NEAR_M = 0.3
"""Nearer than this, distances say nothing more."""
_MOST = 100.0
"""Larger numbers of a scoring are no fit but damage; their products stay finite."""
NEAR_MOST = 1.2
"""Of the log-odds: what nearness adds at most."""
SURE_MOST = 2.2
"""Of the log-odds: what the detector's score adds at most."""
_CORE = 0.5
"""Share of a box's width that tells its side: a slanted thing's box is wider than the thing at its foot."""


@dataclass(frozen=True, slots=True)
class BoxScoring:
    """The few numbers between a box and a probability: they travel in the manifest."""

    score_scale: float = 1.5
    near_scale: float = 3.3
    reach_scale: float = 1.0
    """How far the reach of every class goes: 2 = twice as far."""
    corridor_m: float = CORRIDOR_M
    """How far the path reaches to each side."""

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> BoxScoring:
        """Other fields are left to later versions. Raises: ValueError, TypeError."""
        plain = cls()
        given = cls(*(float(value.get(name, default)) for name, default in plain.to_dict().items()))
        bounded = all(abs(number) <= _MOST for number in given.to_dict().values())
        if not (bounded and min(given.to_dict().values()) > 0):
            raise ValueError(f"{given} scores nothing")
        return given


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a box stands."""

    side: str
    """ahead, on the left or on the right"""
    ahead_m: float
    gap_m: float
    """From the path to it; 0 = in the path."""
    used: float
    """Distance as a share of the reach of its class: below 1 it matters."""


def standing(box: Box, camera: Camera, *, aspect: float, corridor_m: float = CORRIDOR_M) -> Standing | None:
    """Where a box stands; None where its foot is above the horizon: it hangs, or lies on rising ground.

    aspect: width / height of the picture
    """
    middle, half = (box.left + box.right) / 2.0, (box.right - box.left) / 2.0 * _CORE
    feet = [camera.ground(x, box.bottom, aspect=aspect) for x in (middle - half, middle + half)]
    left, right = feet
    if left is None or right is None:
        return None
    limit, ahead_m = reach(box.object), max(left.ahead_m, _NEAR_M)
    if left.lateral_m < corridor_m and right.lateral_m > -corridor_m:
        return Standing("ahead", ahead_m, 0.0, ahead_m / limit.ahead_m)
    gap_m = min(abs(left.lateral_m), abs(right.lateral_m))
    side = "on the right" if left.lateral_m + right.lateral_m > 0 else "on the left"
    return Standing(side, ahead_m, gap_m, max(ahead_m / limit.beside_m, gap_m / limit.lateral_m))


def scored(boxes: Iterable[Box], camera: Camera, *, aspect: float, scoring: BoxScoring) -> dict[tuple[str, str], float]:
    """(object, side) → how sure it is that such a thing is within reach there, 0..1: that of its best box."""
    scores: dict[tuple[str, str], float] = {}
    for box in boxes:
        at = standing(box, camera, aspect=aspect, corridor_m=scoring.corridor_m)
        if at is None:
            continue
        key = (box.object, at.side)
        scores[key] = max(scores.get(key, 0.0), certainty(box.score, at.used, scoring))
    return scores


def certainty(score: float, used: float, scoring: BoxScoring) -> float:
    """How sure it is that a thing is within reach, 0..1.

    score: 0..1, the detector's; used: distance as a share of the reach, above 0
    """
    sure = min(max(score, 1e-4), 1.0 - 1e-4)
    near = min(scoring.near_scale * math.log(scoring.reach_scale / used), NEAR_MOST)
    odds = min(scoring.score_scale * math.log(sure / (1.0 - sure)), SURE_MOST) + near
    return (1.0 + math.tanh(odds / 2.0)) / 2.0  # exp would overflow
