"""Whether the camera hangs the right way up: what a detector finds in a picture, and in turned copies of it. Pure.

A detector has learnt upright pictures: in 107 real ones (rooms, trails, streets, a walk) it found 0.1 to 0.8 points of
score a picture, 0.0 to 0.1 in the same pictures turned by 90, 180 or 270 degrees, and half as many in those that lean
by 30. So a turned copy is looked at now and then after the start, until the copies have lost, or one has won, by NEEDED
points. With those pictures drawn at random, 200 tries for each kind and way up: no upright camera was called turned in
800 tries; on rooms, trails and streets all 1,200 turned by a quarter or a half were told, after 6 to 18 checks, and
1,199 of 1,200 that lean by 30 degrees, after 14 to 49. On the walk, where hardly anything is seen that the detector
knows, it was 347 of 400, two of them by the wrong turn, and 6 of 400. The pictures are few: what was never seen in
them may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.sight.boxes import Box

NEEDED = 1.2
"""Points of score by which a way up wins: three sure things in one way up and none in the other."""
LEAD = 0.8
"""Points by which it must also be ahead of the other copies."""
SCORE_FROM = 0.3
"""Only what a score has above this counts: faint boxes are found whichever way up."""
EVERY_S = 0.5
CHECKS_MOST = 120
"""A minute: where there was nothing to see until then, nothing is said."""
TURNS_DEG = (180, 90, 270, 30, -30)
"""Turns of the copies, counter-clockwise."""


@dataclass(frozen=True, slots=True)
class Uprightness:
    """What is known of it. Start with Uprightness()."""

    won: tuple[float, ...] = (0.0,) * len(TURNS_DEG)
    """By how many points the copy turned by each of TURNS_DEG beats the picture as it is."""
    checks: int = 0
    at_s: float = -math.inf
    upright_deg: int | None = None
    """Turned by so much, counter-clockwise, pictures are the right way up; 0 = they are. None = not known yet."""


def due(state: Uprightness, now_s: float) -> int | None:
    """By how many degrees counter-clockwise the picture is to be turned and looked at again; None = not at all."""
    decided = state.upright_deg is not None or state.checks >= CHECKS_MOST
    return None if decided or now_s - state.at_s < EVERY_S else TURNS_DEG[state.checks % len(TURNS_DEG)]


def weigh(state: Uprightness, turn_deg: int, own: Iterable[Box], turned: Iterable[Box], now_s: float) -> Uprightness:
    """One check more. own: boxes of the picture as it is; turned: of the copy that `due` asked for"""
    which = TURNS_DEG.index(turn_deg)
    points = _points(turned) - _points(own)
    won = tuple(total + (points if at == which else 0.0) for at, total in enumerate(state.won))
    state = replace(state, won=won, checks=state.checks + 1, at_s=now_s)
    second, best = sorted(won)[-2:]
    if best >= NEEDED and best - second >= LEAD:
        return replace(state, upright_deg=TURNS_DEG[won.index(best)])
    return replace(state, upright_deg=0) if best <= -NEEDED else state


def turned_copy(image: NDArray[np.uint8], turn_deg: int) -> NDArray[np.uint8]:
    """The picture, turned counter-clockwise: as large where it leans, its corners filled with its own mirror image.

    image: uint8 [h, w, 3]
    """
    if turn_deg % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, turn_deg // 90))
    height, width = image.shape[:2]
    by = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, 1.0)
    return np.asarray(cv2.warpAffine(image, by, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _points(boxes: Iterable[Box]) -> float:
    return sum(max(0.0, box.score - SCORE_FROM) for box in boxes)
