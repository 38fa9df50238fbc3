"""Where in the walk we are: the one time line of looks, speech, presses and chunks.

It is 0 until the walk begins. In real time it goes on between items of the source, from the stamp of the newest one. As
fast as possible it stands still between them: an hour of walk may take a minute.
"""

from __future__ import annotations

import threading

from shared.clock import Clock


class WalkClock:
    """Seconds on the source's clock. Never goes back. Any thread may ask."""

    def __init__(self, clock: Clock, *, stands_still: bool) -> None:
        self._clock = clock
        self._stands_still = stands_still
        self._lock = threading.Lock()
        self._stamp_s = 0.0
        self._stamped_s: float | None = None
        self._shown_s = 0.0

    def reached(self, t_s: float) -> None:
        with self._lock:
            if t_s >= self._stamp_s:
                self._stamp_s, self._stamped_s = t_s, self._clock.monotonic_s()

    @property
    def reached_s(self) -> float:
        """How far the source has come."""
        return self._stamp_s

    def now_s(self) -> float:
        with self._lock:
            if self._stamped_s is not None:
                gone_s = 0.0 if self._stands_still else self._clock.monotonic_s() - self._stamped_s
                self._shown_s = max(self._shown_s, self._stamp_s + gone_s)
            return self._shown_s
