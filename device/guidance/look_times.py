"""How long the last looks of the model in use took: what a model costs on this very device, in its own words.

Promise: only looks of one model count together; a new one begins anew.
"""

from __future__ import annotations

import math
import threading
from collections import deque

KEPT = 300  # over a minute at 4 looks a second: the newest heat and load, and 15 looks above the 95th percentile


class LookTimes:
    """Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """A look took so long."""
        with self._lock:
            self._ms.append(seconds * 1000)

    def clear(self) -> None:
        """Another model looks from now on."""
        with self._lock:
            self._ms.clear()

    @property
    def p95_ms(self) -> float:
        """19 of 20 looks took at most so long (nearest rank); 0 = none yet."""
        with self._lock:
            ordered = sorted(self._ms)
        return round(ordered[math.ceil(0.95 * len(ordered)) - 1], 1) if ordered else 0.0
