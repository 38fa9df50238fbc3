"""How long the last looks of the model in use took: what a model costs on this very device, in its own words.

Promise: only looks of one model count together; a new one begins anew.

A look that took LATE_S shows where the wearer was three metres ago: nothing is said of it, and it does not count as
guidance.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from statistics import median

LATE_S = 3.0  # as the policy's warning_stale_after_s
RECENT = 5
KEPT = 300  # over a minute at 4 looks a second: the newest heat and load, and 15 looks above the 95th percentile


class LookTimes:
    """Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms: deque[float] = deque(maxlen=KEPT)
        self._in_time = 0
        self._longest_before_s = 0.0

    def add(self, seconds: float) -> None:
        """A look took so long."""
        with self._lock:
            self._ms.append(seconds * 1000)
            self._in_time = self._in_time + 1 if seconds < LATE_S else 0

    def clear(self) -> None:
        """Another model looks from now on."""
        longest_s = self.longest_s
        with self._lock:
            self._longest_before_s = longest_s
            self._ms.clear()
            self._in_time = 0

    @property
    def in_time(self) -> int:
        """How many looks in a row were not late."""
        return self._in_time

    @property
    def late(self) -> bool:
        """The last one was."""
        return self._in_time == 0 and bool(self._ms)

    @property
    def typical_s(self) -> float | None:
        """The middle one of the last few; None = none yet."""
        recent = self._recent_ms()
        return median(recent) / 1000 if recent else None

    @property
    def longest_s(self) -> float:
        """The longest of the last few that was not late; of the model before until there is one; 0 = none."""
        recent = self._recent_ms()
        if not recent:
            return self._longest_before_s
        return max((ms for ms in recent if ms < LATE_S * 1000), default=0.0) / 1000

    def _recent_ms(self) -> list[float]:
        with self._lock:
            return list(self._ms)[-RECENT:]

    @property
    def p95_ms(self) -> float:
        """19 of 20 looks took at most so long (nearest rank); 0 = none yet."""
        with self._lock:
            ordered = sorted(self._ms)
        return round(ordered[math.ceil(0.95 * len(ordered)) - 1], 1) if ordered else 0.0
