"""Whether the camera hangs the right way up: what a detector finds in a picture, and in its quarter turns. Pure.

A detector has learnt upright pictures: in 107 real ones (rooms, trails, streets, a walk) it found 0.1 to 0.8 points of
score a picture, and 0.0 to 0.1 in the same pictures turned by 90, 180 or 270 degrees. So a turned copy is looked at now
and then after the start, until the copies have lost, or one has won, by NEEDED points. With those pictures drawn at
random, 100 tries for each kind and way up: no upright camera was called turned in 400 tries; on rooms, trails and
streets all 900 turned ones were told, after 4 to 12 checks; on the walk, where hardly anything is seen that the
detector knows, 205 of 300, one of them by the wrong turn. The pictures are few: what was never seen in them may be.

A camera that leans by 30 degrees is not told: its scores halve, and so do those of a scene with less to see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.sight.boxes import Box

NEEDED = 1.2
"""Points of score by which a way up wins: three sure things in one way up and none in the other."""
LEAD = 0.8
"""Points by which it must also be ahead of the other copies."""
SCORE_FROM = 0.3
"""Only what a score has above this counts: faint boxes are found whichever way up."""
EVERY_S = 0.5
CHECKS_MOST = 120
"""A minute of looks: where there was nothing to see until then, nothing is said."""
QUARTERS = (2, 1, 3)
"""Turns that are tried, by a quarter each: upside down is how a camera is most often worn wrongly."""


@dataclass(frozen=True, slots=True)
class Uprightness:
    """What is known of it. Start with Uprightness()."""

    won: tuple[float, ...] = (0.0,) * len(QUARTERS)
    """By how many points the copy turned by each of QUARTERS beats the picture as it is."""
    checks: int = 0
    at_s: float = -math.inf
    quarters: int | None = None
    """By how many quarter turns counter-clockwise pictures are the right way up; 0 = they are. None = not known yet."""


def due(state: Uprightness, now_s: float) -> int | None:
    """By how many quarters counter-clockwise the picture is to be turned and looked at again; None = not at all."""
    decided = state.quarters is not None or state.checks >= CHECKS_MOST
    return None if decided or now_s - state.at_s < EVERY_S else QUARTERS[state.checks % len(QUARTERS)]


def weigh(state: Uprightness, quarters: int, own: Iterable[Box], turned: Iterable[Box], now_s: float) -> Uprightness:
    """One check more. own: boxes of the picture as it is; turned: of the copy that `due` asked for"""
    which = QUARTERS.index(quarters)
    points = _points(turned) - _points(own)
    won = tuple(total + (points if at == which else 0.0) for at, total in enumerate(state.won))
    state = replace(state, won=won, checks=state.checks + 1, at_s=now_s)
    second, best = sorted(won)[-2:]
    if best >= NEEDED and best - second >= LEAD:
        return replace(state, quarters=QUARTERS[won.index(best)])
    return replace(state, quarters=0) if best <= -NEEDED else state


def _points(boxes: Iterable[Box]) -> float:
    return sum(max(0.0, box.score - SCORE_FROM) for box in boxes)
