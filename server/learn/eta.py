"""How long something that counts up will still take."""

from __future__ import annotations

import time
from collections.abc import Callable

WORTH_SAYING_S = 60.0


class Eta:
    """From the pace so far. What was done before it began counts for nothing."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds that never go back"""
        self._total, self._clock, self._first = total, clock, (0, clock())

    def begin(self, done: int) -> None:
        """So much was done already, by an earlier run."""
        self._first = done, self._clock()

    def seconds(self, done: int) -> float | None:
        """Seconds that are left; None where nothing was done yet."""
        before, began_s = self._first
        if done <= before:
            return None
        return (self._clock() - began_s) / (done - before) * max(0, self._total - done)

    def after(self, done: int) -> str:
        """To be put behind a count: ", about 12 min left", or nothing where that is not worth saying."""
        left_s = self.seconds(done)
        return "" if left_s is None or left_s < WORTH_SAYING_S else f", about {spoken(left_s)} left"


def spoken(seconds: float) -> str:
    """ "12 min", "3 h 5 min" """
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
