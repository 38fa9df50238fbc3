"""Whether the thread that looks computes, or stands still in the middle of a look.

On a slow board a look of 2.5 s is no hang as long as it computes: the thread that runs it uses the processor all the
time. One that waits for what never comes uses none, and is known by that after STILL_S, however long its looks take.
Where looks compute somewhere else (a graphics chip) the thread's own time says nothing: its last looks tell that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

STILL_S = 1.0
LEAST_SHARE = 0.02
"""Of the time: what polls in vain uses less, what computes on a crowded processor more."""
COMPUTES_SHARE = 0.1
"""Of each of the last looks: from there on the thread's own time tells whether it computes."""
RECENT = 5
SHORTEST_S = 0.1
"""A look that is shorter tells nothing, and needs no patience."""


@dataclass(frozen=True, slots=True)
class ComputedState:
    """When the thread was last found to have computed, and how much it had by then."""

    cpu_s: float
    at_s: float


def step(state: ComputedState, cpu_s: float, now_s: float) -> tuple[ComputedState, bool]:
    """(the state from now on, whether it stands still). cpu_s: all that the thread has computed; now_s: monotonic"""
    if cpu_s - state.cpu_s >= LEAST_SHARE * STILL_S:
        return replace(state, cpu_s=cpu_s, at_s=now_s), False
    return state, now_s - state.at_s >= STILL_S


class Standstill:
    """One thread looks, and calls `begin` and `end`; another asks `now`, again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock_id: int | None = None
        self._begun: ComputedState | None = None
        self._state: ComputedState | None = None
        """None = there is no look now."""
        self._shares: deque[float] = deque(maxlen=RECENT)

    def begin(self, now_s: float) -> None:
        """A look begins on this thread."""
        clock_id = time.pthread_getcpuclockid(threading.get_ident())
        with self._lock:
            self._clock_id = clock_id
            self._begun = self._state = ComputedState(time.clock_gettime(clock_id), now_s)

    def end(self, now_s: float) -> None:
        """It is over."""
        with self._lock:
            begun, self._begun, self._state = self._begun, None, None
            if begun is not None and self._clock_id is not None and now_s - begun.at_s >= SHORTEST_S:
                self._shares.append((time.clock_gettime(self._clock_id) - begun.cpu_s) / (now_s - begun.at_s))

    def clear(self) -> None:
        """Another model looks from now on: it may compute somewhere else."""
        with self._lock:
            self._shares.clear()

    def now(self, now_s: float) -> bool:
        """Whether a look has stood still for STILL_S, of a model whose looks compute."""
        with self._lock:
            if self._state is None or self._clock_id is None:
                return False
            try:
                cpu_s = time.clock_gettime(self._clock_id)
            except OSError:  # the thread is gone
                return False
            self._state, still = step(self._state, cpu_s, now_s)
            return still and len(self._shares) == RECENT and min(self._shares) >= COMPUTES_SHARE
