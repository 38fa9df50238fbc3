"""The thread that drives the motors. Guidance hands it a vibration and goes on; it waits for no voice.

Motors that cannot be used are announced once, tried again with backoff for ever, and announced when they are back.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass

from device.tactile import schedule
from device.tactile.motors import Motors
from device.tactile.patterns import Buzz
from device.tactile.schedule import Asked, ScheduleState, Waited
from shared.background import Background
from shared.backoff import exponential_s
from shared.clock import Clock
from shared.errors import MediaError

logger = logging.getLogger(__name__)

LOST = "Vibration failed."
BACK = "Vibration is working."
TACTILE_TEXTS = (LOST, BACK)
FIRST_S, MOST_S = 2.0, 60.0  # between two tries
JOIN_S = 3.0


@dataclass(frozen=True, slots=True)
class BuzzAsked:
    """A vibration that guidance has decided on. Times are monotonic."""

    buzz: Buzz
    taken_s: float | None
    asked_s: float


@dataclass(frozen=True, slots=True)
class FeltBuzz:
    """One vibration that the motors were driven for. Times are monotonic."""

    buzz: Buzz
    taken_s: float | None
    """Of the shutter of the picture that it is about; None = it is about none."""
    asked_s: float
    """When it was decided."""
    driven_s: float
    """When the adapter had written it."""


class Tactile:
    """`start` it, `feel`, `close` it."""

    def __init__(
        self,
        motors: Motors,
        clock: Clock,
        *,
        announce: Callable[[str], None],
        felt: Callable[[FeltBuzz], None] = lambda felt: None,
    ) -> None:
        """announce: one of TACTILE_TEXTS; felt: from this thread, be quick"""
        self._motors = motors
        self._clock = clock
        self._announce = announce
        self._felt = felt
        self._asked: queue.SimpleQueue[BuzzAsked | None] = queue.SimpleQueue()
        self._state = ScheduleState()
        self._open = False
        self._failures = 0
        self._retry_at_s = 0.0
        self.trouble = ""
        """What keeps it from being felt; "" = nothing."""
        self._thread = Background(self._run, name="tactile", restart_s=1.0, wake=lambda: self._asked.put(None))

    def start(self) -> None:
        """Trouble is announced, not raised."""
        self._thread.start()

    def feel(self, buzz: Buzz, taken_s: float | None = None) -> None:
        """Soon; returns at once. Any thread."""
        self._asked.put(BuzzAsked(buzz, taken_s, self._clock.monotonic_s()))

    def close(self) -> None:
        """Still. May be called again."""
        if self._thread.close(JOIN_S):
            self._motors.close()

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            now_s = self._clock.monotonic_s()
            if not self._open and now_s >= self._retry_at_s:
                self._try_to_open()
            try:
                asked = self._asked.get(timeout=self._wait_s())
            except queue.Empty:
                self._deal_with(Waited(), None)
                continue
            if asked is not None:
                self._deal_with(Asked(asked.buzz), asked)

    def _wait_s(self) -> float:
        now_s, next_s = self._clock.monotonic_s(), schedule.next_s(self._state)
        wait_s = MOST_S if next_s is None else next_s - now_s
        if not self._open:
            wait_s = min(wait_s, self._retry_at_s - now_s)
        return max(0.001, wait_s)

    def _deal_with(self, event: Asked | Waited, asked: BuzzAsked | None) -> None:
        self._state, starts = schedule.step(self._state, event, self._clock.monotonic_s())
        for start in starts:
            self._drive(start.buzz, asked)

    def _drive(self, buzz: Buzz, asked: BuzzAsked | None) -> None:
        if not self._motors.any_works:
            return
        try:
            self._motors.buzz(buzz)
        except MediaError:
            self._try_to_open()  # a wire that shook: it may be there again, or another motor is
            if not self._buzzes_now(buzz):
                return
        now_s = self._clock.monotonic_s()
        taken_s, asked_s = (None, now_s) if asked is None else (asked.taken_s, asked.asked_s)
        self._felt(FeltBuzz(buzz, taken_s, asked_s, now_s))

    def _buzzes_now(self, buzz: Buzz) -> bool:
        try:
            self._motors.buzz(buzz)
        except MediaError as error:
            self._broke(error)
            return False
        return self._motors.any_works

    def _try_to_open(self) -> None:
        try:
            self._motors.open()
        except MediaError as error:
            self._broke(error)
            return
        self._open, self._failures = True, 0
        if self.trouble:
            self.trouble = ""
            logger.warning("The motors can be used again.")
            self._announce(BACK)

    def _broke(self, error: MediaError) -> None:
        self._open = False
        self._retry_at_s = self._clock.monotonic_s() + exponential_s(self._failures, base_s=FIRST_S, max_s=MOST_S)
        self._failures += 1
        if not self.trouble:
            logger.error("%s", error)
            self._announce(LOST)
        self.trouble = str(error)
