"""Minutes left, from how the percentage falls. Pure.

The slope is the median of the slopes between all pairs of points (Theil and Sen): a third of the points may be wrong
without moving it far. A gauge steps by whole percents and is off by some at first, so nothing is said before it has
fallen by 3 % over 10 min; a jump, as of a gauge that starts anew, begins the count again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import median

POINT_EVERY_S = 60.0
MOST_POINTS = 40  # the last 40 min: 780 pairs
LEAST_S = 600.0
LEAST_FALL = 3.0
JUMP = 6.0  # percent in one minute: no battery that lasts half an hour falls so fast


@dataclass(frozen=True, slots=True)
class Drain:
    """(s, percent) once a minute, newest last."""

    points: tuple[tuple[float, float], ...] = ()


def followed(drain: Drain, percent: float, now_s: float) -> Drain:
    """The battery is used and has so much left."""
    if not drain.points:
        return Drain(((now_s, percent),))
    last_s, last = drain.points[-1]
    if now_s - last_s < POINT_EVERY_S:
        return drain
    minutes = max(1.0, (now_s - last_s) / 60)
    if abs(percent - last) > JUMP * minutes:
        return Drain(((now_s, percent),))
    return Drain((*drain.points, (now_s, percent))[-MOST_POINTS:])


def minutes_left(drain: Drain) -> float | None:
    """Until it is empty; None = not known yet, or it does not fall."""
    if len(drain.points) < 3:
        return None
    (first_s, first), (last_s, last) = drain.points[0], drain.points[-1]
    if last_s - first_s < LEAST_S or first - last < LEAST_FALL:
        return None
    slopes = [(after - before) / (to_s - from_s) for (from_s, before), (to_s, after) in combinations(drain.points, 2)]
    fall = -median(slopes)
    return last / fall / 60 if fall > 0 else None
