"""A walk to be killed, stopped and hung: a real agent with a camera process, a voice and a sentinel, in a process of
its own. Only what the model sees is made up.

    python -m tests.device.sentinel.walker FOLDER

Writes "ready" to stdout once it guides. Lines on stdin:

    gil N       hold the interpreter's lock for N seconds, inside a C call
    model N     hang inside the model for N seconds
    slow N      from now on looks compute for N seconds, each for LONGER_S more than the one before until they do
    camera      the camera's process hangs; its supervisor kills it after 3 s and starts another
    freeze N    the camera gives the same picture for N seconds
    output N    the sound card takes no more samples, and cannot be opened for N seconds
    voice N     hold the voice's lock for N seconds: whoever speaks hangs
    memory      take memory until the kernel kills the process
"""

from __future__ import annotations

import ctypes
import hashlib
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.capture.live import LiveSource
from device.capture.pipe import Outlet
from device.capture.worker_process import Plan
from shared.clock import SystemClock
from shared.errors import MediaError
from tests.device.agent import stage
from tests.device.sentinel import memory

PICTURES_S = 0.1
HANG, FREEZE = "hang-camera", "freeze-camera"
READY_POLL_S = 0.05
CLOCK = SystemClock()
WORK = bytes(2_000_000)
LONGER_S = 0.4


def pictures(out: Outlet, *, folder: str) -> None:
    """The camera: noise that moves, until a file in the folder asks for something else."""
    out.hello({"width_px": 160, "height_px": 120, "fps": 1 / PICTURES_S})
    ticking, random, clock = threading.Event(), np.random.default_rng(1), SystemClock()
    image = np.zeros((120, 160, 3), np.uint8)
    while True:
        if (Path(folder) / HANG).exists():
            (Path(folder) / HANG).unlink()
            threading.Event().wait()
        if not (Path(folder) / FREEZE).exists():
            image = random.integers(0, 255, image.shape, np.uint8)
        out.picture(image, clock.monotonic_s())
        ticking.wait(PICTURES_S)


@dataclass(slots=True)
class HangingModel(stage.StoryModel):
    """Sees nothing, computes for as long as it is told, and hangs in the midst of that."""

    hang_s: float = 0.0
    computes_s: float = 0.0
    took_s: float = 0.0
    never: threading.Event = field(default_factory=threading.Event)

    def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.took_s = min(self.computes_s, self.took_s + LONGER_S)
        done_s = CLOCK.monotonic_s() + self.took_s
        while True:
            wait_s, self.hang_s = self.hang_s, 0.0
            self.never.wait(wait_s)
            if CLOCK.monotonic_s() >= done_s:
                return image
            hashlib.sha256(WORK).digest()  # without the interpreter's lock, as ONNX Runtime


def gone() -> None:
    """In place of `Speakers._open`."""
    raise MediaError("The sound card is gone.")


def obey(line: str, agent: Agent, model: HangingModel, folder: Path) -> None:
    """One line of stdin."""
    what, _, rest = line.partition(" ")
    seconds = float(rest or 0)
    if what == "gil":
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    elif what == "model":
        model.hang_s = seconds
    elif what == "slow":
        model.computes_s = seconds
    elif what == "memory":
        memory.exhaust()
    elif what == "camera":
        (folder / HANG).touch()
    elif what == "freeze":
        (folder / FREEZE).touch()
        threading.Timer(seconds, (folder / FREEZE).unlink).start()
    elif what == "output":
        sink = agent.parts.voice._sink
        sink._open = gone  # type: ignore[attr-defined]
        threading.Timer(seconds, lambda: delattr(sink, "_open")).start()
        sink._stream.abort()  # type: ignore[attr-defined]
    elif what == "voice":
        with agent.parts.voice._lock:
            threading.Event().wait(seconds)


def main(folder: Path) -> None:
    model = HangingModel(stage.nothing)
    chosen = stage.config(
        folder,
        Path("unused"),
        capture__source="camera:0",
        capture__pace="real",
        voice__speech="speakers",
        guidance__model="given-by-the-test",
    )
    plan = Plan("camera", "picture", "tests.device.sentinel.walker:pictures", {"folder": str(folder)})
    ports = AgentPorts(SystemClock(), load=lambda _: model, source=LiveSource(plan))
    agent = Agent(chosen, RunOptions(exit_at_end=True, linger_s=0.0), ports)
    signal.signal(signal.SIGTERM, lambda *_: agent.stop())

    def listen() -> None:
        ticking = threading.Event()
        while not agent.parts.guidance.live_s:
            ticking.wait(READY_POLL_S)
        print("ready", flush=True)
        for line in sys.stdin:
            threading.Thread(target=obey, args=(line.strip(), agent, model, folder), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    agent.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
