"""Plays one sound at a time, each in a process of its own.

A sound system that hangs then hangs that process, which is killed after its time; headphones that were plugged in since
are found, because each process looks for them anew. The sentinel has one thread, so a fork of it is safe.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path

from device.sentinel import alsa
from device.sentinel.sounds import RATE_HZ
from device.sentinel.watch import Played, Saying
from shared.clock import Clock
from shared.errors import MediaError

SLACK_S = 3.0  # to open the output and play to the end
_HEARD, _FAILED, _BUSY = 0, 1, 2


class Player:
    """`play` and `poll` return at once."""

    def __init__(
        self, sounds: Mapping[Saying, array[int]], output: str, clock: Clock, *, told: Path | None = None
    ) -> None:
        """told: file in memory in which the agent writes where it plays; None = the output is the sentinel's own"""
        self.sounds = sounds
        self._output = output
        self._told = told
        self._clock = clock
        self._lib: ctypes.CDLL | None = None
        self._saying: Saying | None = None
        self._pid = 0
        self._killed: list[int] = []
        """Not reaped yet. Ended ones count against the unit's TasksMax until they are."""
        self._deadline_s = 0.0
        self._hung = 0
        """How many outputs have hung, one after the other, since a sound was heard: the others come first."""

    def prepare(self) -> None:
        """Load the sound library now: the card it lies on may stall later."""
        try:
            self._lib = alsa.library()
        except MediaError as error:
            complain(str(error))

    @property
    def until_s(self) -> float:
        """When what is being played ends at the latest; 0 = nothing is played."""
        return 0.0 if self._saying is None else self._deadline_s - SLACK_S

    def play(self, saying: Saying) -> None:
        """Begin; what is being played is cut."""
        self.stop()
        samples = self.sounds[saying]
        self._saying = saying
        self._deadline_s = self._clock.monotonic_s() + len(samples) / RATE_HZ + SLACK_S
        sys.stderr.flush()
        try:
            self._pid = os.fork()
        except OSError as error:
            complain(f"There is no memory to say {saying}: {error}")
            return
        if self._pid == 0:
            self._play_and_exit(samples)

    def poll(self) -> Played | None:
        """What is over since the last poll."""
        self._killed = [pid for pid in self._killed if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        saying = self._saying
        if saying is None:
            return None
        if not self._pid:
            self._saying = None
            return Played(saying, heard=False)
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            self._saying, self._pid = None, 0
            self._hung = 0 if code == _HEARD else self._hung
            return Played(saying, heard=code == _HEARD, busy=code == _BUSY)
        if self._clock.monotonic_s() > self._deadline_s:
            complain(f"The sound output hangs: {saying} was not said to its end.")
            self._hung += 1
            self.stop()
            return Played(saying, heard=False)
        return None

    def stop(self) -> None:
        """Silence. A process that hangs inside a driver is not waited for."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._killed.append(self._pid)
        self._saying, self._pid = None, 0

    def _agents_output(self) -> str:
        try:
            return "" if self._told is None else self._told.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _play_and_exit(self, samples: array[int]) -> None:
        """The process of one sound; it never returns."""
        code = _FAILED
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            alsa.play(self._lib or alsa.library(), samples, self._output, self._agents_output(), skip=self._hung)
            code = _HEARD
        except alsa.OutputBusy as error:
            code = _BUSY
            complain(str(error))
        except MediaError as error:
            complain(str(error))
        finally:
            os._exit(code)


def complain(text: str) -> None:
    """A line for the journal; a terminal that is gone must not end the sentinel."""
    try:
        os.write(2, f"waycue-sentinel: {text}\n".encode())
    except OSError:
        return
