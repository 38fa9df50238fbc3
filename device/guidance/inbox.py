"""What waits for the guiding thread: the newest picture, sound, events, another model.

Promises:

- Of pictures only the newest waits, never a backlog, and none before a look is due. The rate of looks stays steady
  whatever the frame rate: the next is due at the next point of a grid.
- `offer` returns at once. In a replay as fast as possible it waits until the picture was looked at instead, so that a
  walk gives the same looks however fast the machine is; sound then waits for the picture after it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.capture.source import SoundBlock, VideoFrame
from shared.clock import Clock
from shared.guidance.events import ModelChanged, PaceChanged, WearerChanged
from shared.policy import Event

Posted = Event | PaceChanged | WearerChanged

SOUND_BLOCKS = 100  # 5 s: a horn before that is no news, and a look hears 2 s
WAIT_S = 0.25
LONGEST_LOOK_S = 120.0  # how long a replay waits for one look before it goes on


@dataclass(frozen=True, slots=True)
class OfferedPicture:
    """A picture that is looked at."""

    frame: VideoFrame
    taken_s: float
    """Monotonic time of the shutter, as near to it as is known."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """All that waited."""

    swap: ModelChanged | None
    events: tuple[Posted, ...]
    sounds: tuple[SoundBlock, ...]
    picture: OfferedPicture | None


class Inbox:
    """One thread takes; any thread may call the other methods."""

    def __init__(self, clock: Clock, *, looks_per_s: float, wait_for_looks: bool, hurry: Callable[[], bool]) -> None:
        """hurry: the walk is being ended, so a replay no longer waits for looks."""
        self._clock = clock
        self._every_s = 1.0 / looks_per_s
        self._wait_for_looks = wait_for_looks
        self._hurry = hurry
        self._wake = threading.Condition()
        self._picture: OfferedPicture | None = None
        self._sounds: deque[SoundBlock] = deque(maxlen=SOUND_BLOCKS)
        self._events: deque[Posted] = deque()
        self._swap: ModelChanged | None = None
        self._due_s = 0.0
        self._busy = False
        self._served = False
        self._closed = False

    def serve(self) -> None:
        """From now on a thread takes, so that it makes sense to wait for it."""
        self._served = True

    def offer(self, frame: VideoFrame) -> None:
        """A new picture. It waits if a look is due; an older one that still waits is dropped."""
        with self._wake:
            if self._picture is None and frame.t_s < self._due_s:
                return
            taken_s = self._clock.monotonic_s() if frame.taken_s is None else frame.taken_s
            self._picture = OfferedPicture(frame, taken_s)
            self._wake.notify_all()
            waited_s = 0.0
            while self._must_wait() and waited_s < LONGEST_LOOK_S:
                self._wake.wait_for(self._is_idle, WAIT_S)
                waited_s += WAIT_S

    def hear(self, block: SoundBlock) -> None:
        with self._wake:
            self._sounds.append(block)

    def post(self, event: Posted) -> None:
        with self._wake:
            self._events.append(event)
            self._wake.notify_all()

    def swap(self, swap: ModelChanged) -> None:
        """Replaces an earlier one that nobody took yet, but for its news that somebody is guided once it sees."""
        with self._wake:
            before = self._swap.ready if self._swap is not None and swap.model is not None else ()
            kept = tuple(change for change in before if change.sees)
            self._swap = replace(swap, ready=swap.ready or kept)
            self._wake.notify_all()

    def take(self, timeout_s: float) -> Delivery | None:
        """All that waits, at the latest after `timeout_s`; None = closed. What was taken before has been dealt with."""
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            self._wake.wait_for(self._has_work, timeout_s)
            if self._closed:
                return None
            self._busy = True
            picture, swap, events = self._picture, self._swap, tuple(self._events)
            sounds = () if picture is None and self._wait_for_looks else tuple(self._sounds)
            self._picture = self._swap = None
            self._events.clear()
            if sounds:
                self._sounds.clear()
            if picture is not None:
                self._due_s = (math.floor(picture.frame.t_s / self._every_s + 1e-6) + 1) * self._every_s - 1e-6
            return Delivery(swap, events, sounds, picture)

    def look_every(self, seconds: float) -> None:
        """Looks are so far apart from the next on."""
        with self._wake:
            self._every_s = seconds

    def look_by(self, t_s: float) -> None:
        """The next look is due at `t_s` at the latest."""
        with self._wake:
            self._due_s = min(self._due_s, t_s)

    def look_after(self, t_s: float) -> None:
        """No look is due before `t_s`."""
        with self._wake:
            self._due_s = max(self._due_s, t_s)

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was posted and offered has been dealt with. Whether it was."""
        with self._wake:
            return self._wake.wait_for(lambda: self._is_idle() and not self._events, timeout_s)

    def close(self) -> None:
        """Nothing is taken any more, and nobody waits."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def _must_wait(self) -> bool:
        return self._wait_for_looks and self._served and not self._is_idle() and not self._hurry()

    def _is_idle(self) -> bool:
        return self._closed or (self._picture is None and not self._busy)

    def _has_work(self) -> bool:
        return bool(self._closed or self._picture is not None or self._events or self._swap is not None)
