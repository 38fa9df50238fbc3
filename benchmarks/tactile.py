"""Shutter to motor: how soon after a picture its warning is felt, in the whole agent, in real time.

    make bench NAME=tactile                             the starter, two minutes; writes build/bench/tactile.json
                                                        (keys: docs/guidance.md, "How soon it is felt")
    .venv/bin/python -m benchmarks.tactile --model DIR  any bundle

The agent replays a drawn walk full of things to stop for at 15 pictures a second, with everything on: chunks are
recorded, the starter looks four times a second, and two motors on DRV2605 chips are driven by the adapter. Only the
chips are not real: a bus of 100 kHz stands for them, which takes as long for each byte as a wire does. Once the agent
speaks as well, through PortAudio into a PulseAudio null sink where that is installed, and once it does not.

The time is from the picture's shutter (in a replay the moment at which it was due) to the last byte on the bus. A coin
motor turns some 50 ms later. What the model's look takes of it is measured in the same walk.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.look import starter
from benchmarks.speech import FPS, drawn, sound_card
from device import build
from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.health.walk_report import percentiles_ms
from device.tactile.drv2605 import STATUS, WITH_EFFECTS, Drv2605
from device.tactile.motors import Motors
from device.tactile.patterns import WARNING
from shared import atomic
from shared.clock import SystemClock
from shared.guidance.events import LoadedModel
from shared.runtime import GuidanceModel
from shared.runtime.seen import Instruction, Observation
from shared.sides import Side

HOME, OUT = Path("build/bench/tactile"), Path("build/bench/tactile.json")
BAR_MS = 100.0
BUS_HZ, BITS_A_BYTE = 100_000, 9
WITH_SPEECH, WITHOUT = "beside speech", "without speech"


class SlowBus:
    """A chip that answers, on a wire of 100 kHz."""

    def __init__(self, device: str) -> None:
        self._written = 0

    def write(self, data: bytes) -> None:
        self._written += len(data)
        time.sleep((1 + len(data)) * BITS_A_BYTE / BUS_HZ)

    def read(self, register: int) -> int:
        return WITH_EFFECTS[0] << 5 if register == STATUS else 0

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(slots=True)
class TimedModel:
    """A model whose looks are timed."""

    model: GuidanceModel
    looks_s: list[float] = field(default_factory=list)

    @property
    def manifest(self) -> Any:
        return self.model.manifest

    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation:
        began_s = time.perf_counter()
        seen = self.model.look(image, sound, before=before)
        self.looks_s.append(time.perf_counter() - began_s)
        return seen

    def word(self, observation: Observation) -> Instruction:
        return self.model.word(observation)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.tactile", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--seconds", type=float, default=50.0, help="length of each walk (default: 50)")
    options.add_argument("--model", type=Path, metavar="DIR", help="bundle folder (default: the starter)")
    options.add_argument("--threads", type=int, default=2, help="of the model (default: 2)")
    options.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default: {OUT}")
    chosen = options.parse_args(argv)
    logging.disable(logging.WARNING)
    console = Console()
    bundle, film = chosen.model or starter(console), drawn(chosen.seconds, console)
    arms: dict[str, dict[str, Any]] = {}
    with ExitStack() as ending:
        env = sound_card(ending, console)
        os.environ.update(env)
        for name, speech in (*(((WITH_SPEECH, "speakers"),) if env else ()), (WITHOUT, "none")):
            with console.status(name):
                arms[name] = walk(bundle, film, speech, threads=chosen.threads)
    cores = len(os.sched_getaffinity(0))
    measured = {
        "machine": {"processor": platform.machine(), "cores": cores},
        "fps": FPS,
        "bar_ms": BAR_MS,
        "arms": arms,
    }
    atomic.make_dirs(chosen.out.parent)
    atomic.write_json(chosen.out, measured)
    console.print(table(arms))
    console.print(f"{chosen.out} is written.")


def walk(bundle: Path, film: Path, speech: str, *, threads: int) -> dict[str, Any]:
    """One walk to its end, in this process."""
    atomic.remove_tree(HOME / "state")
    models: list[TimedModel] = []

    def load(folder: Path) -> LoadedModel:
        models.append(TimedModel(GuidanceModel.load(folder, threads=threads, allow_demo=True)))
        return models[-1]

    wanted = {
        "device.name": "bench",
        "device.state": str(HOME / "state"),
        "capture.source": f"replay:{film}",
        "voice.speech": speech,
        "guidance.model": str(bundle),
        "guidance.allow_demo_model": True,
        "guidance.threads": threads,
        "buttons.keys": False,
        "sentinel.when": "never",
        "tactile.motors": "drv2605",
        "tactile.left": "/dev/i2c-1",
        "tactile.right": "/dev/i2c-3",
    }
    build.motors = lambda config: Motors({side: Drv2605(side, connect=SlowBus) for side in (Side.LEFT, Side.RIGHT)})
    agent = Agent(
        settings.load(None, wanted), RunOptions(exit_at_end=True, linger_s=0.0), AgentPorts(SystemClock(), load=load)
    )
    agent.run()
    felt = [entry for entry in agent.parts.report.vibrations if entry["time_to_motor_ms"] is not None]
    looks = percentiles_ms(models[0].looks_s)
    warnings = percentiles_ms([entry["time_to_motor_ms"] / 1000 for entry in felt if entry["urgency"] == WARNING])
    return {
        "warnings_to_motor_ms": warnings,
        "all_to_motor_ms": percentiles_ms([entry["time_to_motor_ms"] / 1000 for entry in felt]),
        "decision_to_motor_ms": percentiles_ms([entry["decided_to_motor_ms"] / 1000 for entry in felt]),
        "look_ms": looks,
        "look_share": round(looks["p50"] / warnings["p50"], 2) if warnings["p50"] and looks["p50"] else None,
        "picture_late_ms": percentiles_ms(agent.parts.report.late_s.values),
        "vibrations": len(agent.parts.report.vibrations),
    }


def table(arms: dict[str, dict[str, Any]]) -> Table:
    """For the terminal: one column for each walk."""
    shown = Table("", *arms, title=f"shutter to motor at {FPS} pictures a second (bar: p95 {BAR_MS:.0f} ms)")
    rows = {
        "warning to its motor": "warnings_to_motor_ms",
        "any vibration about a picture": "all_to_motor_ms",
        "decision to its motor": "decision_to_motor_ms",
        "the model's look": "look_ms",
        "picture to the agent": "picture_late_ms",
    }
    for text, name in rows.items():
        spread = [arm[name] for arm in arms.values()]
        shown.add_row(f"{text} (ms): p50 / p95", *(f"{s['p50']} / {s['p95']} of {s['count']}" for s in spread))
    shown.add_row("the look's part of it", *(str(arm["look_share"]) for arm in arms.values()))
    return shown


if __name__ == "__main__":
    main()
