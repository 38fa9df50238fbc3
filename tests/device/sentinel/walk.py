"""A walk in processes of its own (tests.device.sentinel.walker), and what is heard of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from device.health.sentinel_keeper import LOG
from device.sentinel.board import NAME, AgentPhase, Board
from device.sentinel.watch import Saying
from shared.clock import SystemClock
from tests.device.sentinel import ears, memory
from tests.paths import ROOT
from tests.pulse import RATE_HZ, PulseChild, until

Sound = Callable[[], NDArray[np.int16]]
CLOCK = SystemClock()
START_S, HEARD_S = 60.0, 10.0
FRESH_S = 0.5
EARLY_S = 0.1  # a window of the ear begins before the tone


@dataclass(slots=True)
class Walk:
    """`begin` it before the first fault, and again after a death."""

    folder: Path
    runtime: Path
    """Where the board is: in memory, as on a device. A disk that others keep busy would stall who writes there."""
    env: dict[str, str]
    sound: Sound
    process: subprocess.Popen[str] | None = None

    @property
    def board(self) -> Board:
        """Raises: OSError before there is one."""
        (path,) = self.runtime.glob(f"waycue-*/*/{NAME}")
        return Board(path)

    def said(self) -> str:
        """What the sentinel wrote about itself, for a test that fails."""
        return (self.board.path.parent / LOG).read_text(errors="replace")

    @property
    def sentinel_pid(self) -> int:
        told = self.board.sentinel()
        assert told is not None
        return told.pid

    @property
    def now_s(self) -> float:
        """On the time line of the recording."""
        return self.sound().size / RATE_HZ

    def begin(self) -> None:
        """Returns once it guides and nothing is being said."""
        if self.process is None or self.process.poll() is not None:
            self._bury()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.device.sentinel.walker", str(self.folder)],
                cwd=ROOT,
                env=os.environ | self.env | {"XDG_RUNTIME_DIR": str(self.runtime), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == "ready\n"
        until(self._is_calm, "guidance, and silence", timeout_s=START_S)

    def _is_calm(self) -> bool:
        agent, sentinel, now_s = self.board.agent(), self.board.sentinel(), CLOCK.monotonic_s()
        if agent is None or sentinel is None or agent.phase != AgentPhase.GUIDING:
            return False
        fresh = min(agent.beat_s, agent.live_s, agent.voice_s, sentinel.beat_s) > now_s - FRESH_S
        quiet = max(agent.speaking_until_s, sentinel.speaking_until_s) < now_s - FRESH_S
        return fresh and quiet and not sentinel.alarmed and self.is_silent(FRESH_S)

    def is_silent(self, last_s: float) -> bool:
        """Nothing was heard in the last seconds."""
        last = self.sound()[-round(last_s * RATE_HZ) :].astype(np.int32)
        return bool(np.abs(last).max(initial=0) < ears.LOUD)

    def order(self, line: str) -> None:
        """See tests.device.sentinel.walker."""
        assert self.process is not None
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def heard_after_s(self, since_s: float, saying: Saying) -> float:
        """How long after that moment of the recording it began. Raises: TimeoutError."""
        until(lambda: bool(self.heard(since_s, saying)), f"{saying} to be heard", timeout_s=HEARD_S)
        return self.heard(since_s, saying)[0] - since_s

    def heard(self, since_s: float, saying: Saying) -> list[float]:
        """When it was begun since that moment of the recording."""
        start_s = max(0.0, since_s - EARLY_S)
        part = self.sound()[round(start_s * RATE_HZ) :]
        return [start_s + at_s for at_s in ears.heard(part, RATE_HZ, saying)]

    def loud_after_s(self, since_s: float) -> float:
        """How long after that moment of the recording anything was heard. Raises: TimeoutError."""

        def first() -> NDArray[np.intp]:
            return np.flatnonzero(np.abs(self.sound()[round(since_s * RATE_HZ) :].astype(np.int32)) > ears.LOUD)

        until(lambda: first().size > 0, "a sound", timeout_s=HEARD_S)
        return float(first()[0]) / RATE_HZ

    def end(self) -> None:
        """Leave no process behind."""
        self._bury()
        for pid in self._sentinels():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _sentinels(self) -> Iterator[int]:
        """Those of this walk, also one that has not told of itself yet."""
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if "device.sentinel" in words and any(word.startswith(f"{self.runtime}/") for word in words):
                    yield int(place.name)

    def _bury(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            memory.tidy(self.process.pid)


@contextmanager
def walking(folder: Path, pulse: PulseChild, **env: str) -> Iterator[Walk]:
    """A walk whose sound is recorded."""
    folder.mkdir(parents=True, exist_ok=True)
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="waycue-", dir=fast) as runtime, pulse.record() as sound:
        walk = Walk(folder, Path(runtime), {**pulse.env, **env}, sound)
        try:
            yield walk
        finally:
            walk.end()
