"""Time as a parameter.

Durations come from `monotonic_s`, never from wall time: a Pi has no clock battery, and NTP may step the wall clock by
years while a walk is under way. Wall time is for people, always UTC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What waycue's loops are given instead of `time`."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed point; never goes back."""
        ...

    def utc_s(self) -> float:
        """Seconds since 1970 in UTC, as far as this machine knows."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a stopped source is woken by its own event, not by this."""
        ...


class SystemClock:
    """The machine's clocks. CLOCK_BOOTTIME goes on during suspend, unlike CLOCK_MONOTONIC."""

    def monotonic_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utc_s(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told to: for tests, and for replay as fast as possible."""

    now_s: float = 0.0
    epoch_s: float = 1_700_000_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def utc_s(self) -> float:
        return self.epoch_s + self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
