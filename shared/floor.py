"""The clock floor: a time that is certainly past, kept on disk, so that a clock without a battery cannot be fooled far.

A Pi without a clock battery wakes up in 1970 or where it was switched off, and a network may tell it any time. What
must not be fooled is "has this ended yet": old release metadata or an old certificate passed off as fresh.

Rules kept here:

1. Only what was signed raises the floor: the time in release metadata or a certificate that was verified. The wall
   clock never does, so a clock that was ten years ahead for an hour leaves no trace.
2. What it was raised to it never falls below, over restarts too, nor below the day this software was made. While the
   process runs it goes on with the monotonic clock: a frozen server is noticed even where the wall clock stands still.
3. A wrong time that was signed after all (a server with a wrong clock, a stolen key) must not lock a device out for
   years: beyond what the wall clock says, the floor moves at most STEP_S per day of running. `reset` is the way back,
   and only enrolment, which a person does with a claim code, calls it.
4. It never stands in the way: a file that cannot be read or written is logged, and guidance goes on.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from pathlib import Path

from shared import atomic
from shared.clock import Clock

BUILT_UTC_S = 1_793_491_200.0  # 2026-11-01: raise it with each release
STEP_S = 7 * 86_400.0  # half the life of a signed timestamp: after a day of wrong times, right ones still hold
AGREE_S = 86_400.0  # a wall clock this far behind a signed time still agrees with it
DAY_S = 86_400.0
FILE = "floor.json"
_MOST_S = 253_370_764_800.0  # the year 9999: what a date can express
logger = logging.getLogger(__name__)


class ClockFloor:
    """One per device, `<folder>/floor.json`. Any thread. Raises nothing.

    built_s: seconds since 1970 that are past for certain; for tests.
    """

    def __init__(self, folder: Path, clock: Clock, *, built_s: float = BUILT_UTC_S) -> None:
        self._path, self._clock, self._built_s = folder / FILE, clock, built_s
        self._lock = threading.Lock()
        self._kept_s = max(built_s, _load(self._path))
        self._begin(self._kept_s)

    def now_s(self) -> float:
        """Seconds since 1970 to hold dates against: the wall clock, or the floor where that is later."""
        return min(max(self._clock.utc_s(), self.floor_s()), _MOST_S)

    def floor_s(self) -> float:
        """What is certainly past, without the wall clock: for dates whose refusal would cut a device off."""
        with self._lock:
            return self._floor_s()

    def raise_to(self, utc_s: float) -> float:
        """Something verified says that it is at least `utc_s`. Durable when it returns. Returns the floor now."""
        with self._lock:
            running_s = self._clock.monotonic_s() - self._began_s
            most_s = bounded(utc_s, wall_s=self._clock.utc_s(), start_s=self._start_s, running_s=running_s)
            if most_s < utc_s:
                logger.warning("A signed time is %.0f days ahead of all clocks here.", (utc_s - most_s) / DAY_S)
            floor_s = max(self._floor_s(), most_s)
            if floor_s > self._kept_s:
                self._reach(floor_s)
            return floor_s

    def reset(self, utc_s: float) -> None:
        """A person vouched for the time, by enrolling this device: the floor is this, higher or lower than before."""
        with self._lock:
            floor_s = max(self._built_s, _sane(utc_s))
            self._begin(floor_s)
            self._reach(floor_s)

    def _begin(self, floor_s: float) -> None:
        self._start_s, self._began_s = floor_s, self._clock.monotonic_s()
        self._base_s, self._base_at_s = floor_s, self._began_s

    def _floor_s(self) -> float:
        return min(self._base_s + max(0.0, self._clock.monotonic_s() - self._base_at_s), _MOST_S)

    def _reach(self, floor_s: float) -> None:
        self._base_s, self._base_at_s = floor_s, self._clock.monotonic_s()
        try:
            atomic.write_json(self._path, {"format": 1, "floor_utc_s": floor_s})
        except OSError as error:
            logger.error("The clock floor could not be kept in %s: %s. It holds until the restart.", self._path, error)
        else:
            self._kept_s = floor_s


def bounded(utc_s: float, *, wall_s: float, start_s: float, running_s: float) -> float:
    """How much of a signed time is believed. Pure.

    wall_s: the wall clock; start_s: the floor when this process began; running_s: how long it has been running
    """
    allowed_s = start_s + STEP_S * (1 + max(0.0, running_s) / DAY_S)
    return min(_sane(utc_s), max(wall_s + AGREE_S, allowed_s))


def _sane(utc_s: float) -> float:
    return min(max(utc_s, 0.0), _MOST_S) if math.isfinite(utc_s) else 0.0


def _load(path: Path) -> float:
    try:
        value = json.loads(path.read_bytes())["floor_utc_s"]
        if type(value) not in (int, float):
            raise TypeError(f"{value!r} is no time")
        return _sane(float(value))
    except FileNotFoundError:
        return 0.0
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        logger.error(
            "The clock floor %s cannot be read (%s): it begins again at the day of this software.", path, error
        )
        return 0.0
