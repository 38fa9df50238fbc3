"""The agent of a long walk (tests.faults.long_walk), in a process of its own: everything in it is real but the camera,
which plays a film, and does what files in a folder ask for.

    python -m tests.faults.long_walker FOLDER --film FILE --model BUNDLE --broker HOST:PORT --state DIR

Ends on SIGTERM and writes FOLDER/report.json.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from device import config as settings
from device import heap
from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.capture.live import LiveSource
from device.capture.microphone import microphone_plan
from device.capture.pipe import Outlet
from device.capture.worker_process import Plan
from shared import ends
from shared.clock import SystemClock
from tests.faults import memory
from tests.paths import ROOT

FPS = 15
WIDTH_PX, HEIGHT_PX = 640, 480
HANG, CRASH, FREEZE, DARK = "hang", "crash", "freeze", "dark"
UNIT = ROOT / "systemd" / "waycue-device.service"
KEPT_SHARE = 0.2
"""Of the chunks: so that something goes over the link all the time."""


def pictures(out: Outlet, *, folder: str, film: str) -> None:
    """The camera: a film in real time, again and again. hang, crash: once; freeze, dark: while the file is there."""
    out.hello({"width_px": WIDTH_PX, "height_px": HEIGHT_PX, "fps": float(FPS)})
    asked, ticking, clock = Path(folder), threading.Event(), SystemClock()
    shown = dark = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    due_s = clock.monotonic_s()
    for image in _again_and_again(film):
        if (asked / HANG).exists():
            (asked / HANG).unlink()
            threading.Event().wait()
        if (asked / CRASH).exists():
            (asked / CRASH).unlink()
            os._exit(1)
        if not (asked / FREEZE).exists():
            shown = dark if (asked / DARK).exists() else image
        out.picture(shown, clock.monotonic_s())
        due_s = max(due_s + 1 / FPS, clock.monotonic_s() - 1.0)
        ticking.wait(max(0.0, due_s - clock.monotonic_s()))


def _again_and_again(film: str) -> Iterator[NDArray[np.uint8]]:
    while True:
        with av.open(film) as source:
            for frame in source.decode(video=0):
                yield cast(NDArray[np.uint8], frame.to_ndarray(width=WIDTH_PX, height=HEIGHT_PX, format="rgb24"))


def hurry_as_its_service() -> None:
    """Take the priority that the unit of the agent gives it, where this user may. Before threads are started, and in a
    session of its own: where the kernel groups processes by session (autogroup, sched(7)), the priority of that counts.
    """
    nice = re.search(r"^Nice=(-?\d+)$", UNIT.read_text(), re.MULTILINE)
    assert nice is not None
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, int(nice[1]))
        Path("/proc/self/autogroup").write_text(nice[1])


def main(folder: Path, *, film: Path, model: Path, broker: str, state: Path, kept_share: float = KEPT_SHARE) -> None:
    hurry_as_its_service()
    heap.settle()
    memory.watch(folder / "memory.jsonl")
    chosen = settings.load(
        None,
        {
            "capture.source": "camera:0",
            "device.name": "long-walk",
            "device.state": str(state),
            "device.wearer": "anna",
            "guidance.model": str(model),
            "guidance.allow_demo_model": True,
            "guidance.threads": 1,
            "broker.address": broker,
            "flags.audit_share": kept_share,
            "buttons.keys": False,
        },
    )
    camera = Plan("camera", "picture", "tests.faults.long_walker:pictures", {"folder": str(folder), "film": str(film)})
    source = LiveSource(camera, microphone_plan(chosen.capture.microphone))
    options = RunOptions(report=folder / "report.json", captions=folder / "captions.jsonl", linger_s=30.0)
    agent = Agent(chosen, options, AgentPorts(SystemClock(), source=source))
    with ends.ending(agent.stop):
        agent.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("film", "model", "state"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--kept-share", type=float, default=KEPT_SHARE)
    main(**vars(parser.parse_args()))
