"""Agents that are killed, stopped and hung at random moments, and whether the sentinel is heard of each in time.

    lanes   walks of their own, one fault after the other, each at a random moment of calm guidance
    walker  a walk that nothing happens to, an hour or as long as the lanes take: whatever its sentinel says is a false
            alarm

    python -m tests.faults.sentinel OUT [--trials 110] [--calm-minutes 60] [--seed 1]

Heard = a sound in the recording of the sound system; of a camera that hangs the agent tells itself, so any sound
counts.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.sentinel.watch import ALARMS, Saying
from tests import pulse
from tests.device.sentinel import ears, memory
from tests.device.sentinel.walk import CLOCK, START_S, Walk, walking
from tests.paths import ROOT
from tests.pulse import RATE_HZ, PulseChild

PROMISED_S = 3.0
LATEST_FAULT_S = 3.0
SIGNALS = {"killed": signal.SIGKILL, "crashed": signal.SIGSEGV, "aborted": signal.SIGABRT, "stopped": signal.SIGSTOP}
ORDERS = {
    "interpreter hangs": "gil 3.5",
    "model hangs": "model 4",
    "slow model hangs": "model 6",
    "voice hangs": "voice 4",
    "sound output dies": "output 6",
    "camera hangs": "camera",
    "memory full": "memory",
}
NEEDS_GROUPS = "memory full"
TOLD_BY_AGENT = "camera hangs"
SLOW = "slow model hangs"
SLOW_LOOK_S, SLOW_LOOKS = 2.5, 9
PART = "--part"


@dataclass(frozen=True, slots=True)
class Trial:
    kind: str
    heard_s: float | None
    """From the fault to the first sound; None = nothing was heard."""
    false_alarms: int
    """Before the fault."""


def tried(walk: Walk, kind: str, *, wait_s: float) -> Trial:
    """One fault, in a walk that is recorded from here on."""
    walk.begin()
    calm_s = walk.now_s
    if kind == SLOW:  # its looks take so long for a while, which is no alarm
        walk.order(f"slow {SLOW_LOOK_S}")
        wait_s += SLOW_LOOKS * SLOW_LOOK_S
    pulse.until(lambda: walk.now_s >= calm_s + wait_s, "a random moment")
    fault_s = walk.now_s
    false = sum(at_s < fault_s for saying in ALARMS for at_s in walk.heard(calm_s, saying))
    if kind in SIGNALS:
        walk.send(SIGNALS[kind])
    else:
        walk.order(ORDERS[kind])
    try:
        heard_s = walk.loud_after_s(fault_s) if kind == TOLD_BY_AGENT else walk.heard_after_s(fault_s, Saying.STOPPED)
    except TimeoutError:
        heard_s = None
    if kind == "stopped":
        walk.send(signal.SIGCONT)
    if kind == SLOW:
        walk.order("slow 0")
    return Trial(kind, heard_s, false)


def lane(folder: Path, kinds: Sequence[str], *, seed: int, reported: Callable[[Trial], None]) -> None:
    """One fault after the other."""
    drawn = random.Random(seed)
    child = PulseChild(folder / "pulse")
    child.start()
    child.unplug(child.module_of(pulse.ROOM))  # an agent whose output died would go on there, unheard by the recording
    try:
        with walking(folder, child) as walk:
            for kind in kinds:
                with child.record() as sound:  # anew: a short recording is quickly read
                    walk.sound = sound
                    reported(tried(walk, kind, wait_s=drawn.uniform(0, LATEST_FAULT_S)))
    finally:
        child.stop()


def undisturbed(folder: Path, wait: Callable[[], object]) -> dict[str, Any]:
    """A walk that nothing happens to until `wait` returns: false alarms, and minutes walked."""
    child = PulseChild(folder / "pulse")
    child.start()
    try:
        with walking(folder, child) as walk:
            walk.begin()
            wait()
            samples = walk.sound()
    finally:
        child.stop()
    alarms = sum(len(ears.heard(samples, RATE_HZ, saying)) for saying in ALARMS)
    return {"false_alarms": alarms, "minutes": samples.size / RATE_HZ / 60}


class SentinelTrials:
    """Lanes and walker, each a process of its own. `start` it beside everything else; `report` waits for the lanes."""

    def __init__(self, folder: Path, *, trials: int, lanes: int, seed: int, calm_minutes: float) -> None:
        """calm_minutes: the undisturbed walk lasts so long at least."""
        self._skipped = memory.why_not()
        possible = [kind for kind in (*SIGNALS, *ORDERS) if not (self._skipped and kind == NEEDS_GROUPS)]
        kinds = [possible[number % len(possible)] for number in range(trials)]
        random.Random(seed).shuffle(kinds)
        self._folder, self._seed, self._calm_s = folder, seed, calm_minutes * 60
        self._plans = [kinds[number::lanes] for number in range(lanes)]
        self._lanes: list[subprocess.Popen[str]] = []
        self._walker: subprocess.Popen[str] | None = None
        self._began_s = 0.0

    def start(self) -> None:
        self._began_s = CLOCK.monotonic_s()
        for number, kinds in enumerate(self._plans):
            self._lanes.append(self._started(f"lane-{number}", str(self._seed + number), *kinds))
        self._walker = self._started("walker")

    def _started(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        (self._folder / name).mkdir(parents=True)
        command = [sys.executable, "-m", "tests.faults.sentinel", PART, str(self._folder / name), *arguments]
        # Of its own session: Ctrl-C at the terminal is for us, and we end it.
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def stop(self) -> None:
        """End what still runs; each process ends those that it started. May be called again."""
        running = [process for process in (*self._lanes, self._walker) if process is not None]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def report(self) -> dict[str, Any]:
        lines = [line for process in self._lanes for line in process.communicate()[0].splitlines()]
        done = [Trial(**json.loads(line)) for line in lines]
        assert self._walker is not None
        with suppress(subprocess.TimeoutExpired):  # which is what is hoped for: it walks until it is told to end
            self._walker.wait(max(0.0, self._began_s + START_S + self._calm_s - CLOCK.monotonic_s()))
        self._walker.send_signal(signal.SIGINT)
        walked = json.loads(self._walker.communicate()[0] or '{"false_alarms": 0, "minutes": 0}')
        return {
            "trials": len(done),
            "heard_within_3s": sum(one.heard_s is not None and one.heard_s <= PROMISED_S for one in done),
            "false_alarms": walked["false_alarms"] + sum(one.false_alarms for one in done),
            "walk_minutes": round(walked["minutes"], 1),
            "kinds": _by_kind(done),
            "skipped": self._skipped and f"{NEEDS_GROUPS}: {self._skipped}",
        }


def _by_kind(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    by_kind: dict[str, list[Trial]] = defaultdict(list)
    for one in trials:
        by_kind[one.kind].append(one)
    return {kind: _row(some) for kind, some in sorted(by_kind.items())}


def _row(some: Sequence[Trial]) -> dict[str, Any]:
    times = [one.heard_s for one in some if one.heard_s is not None]
    return {
        "trials": len(some),
        "heard": len(times),
        "median_s": round(statistics.median(times), 2) if times else None,
        "worst_s": round(max(times), 2) if times else None,
    }


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _until_interrupted() -> None:
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _part(folder: Path, arguments: Sequence[str]) -> None:
    """SEED KIND...: a lane. Nothing: the walker, until SIGINT. Prints each trial, or the walk, as a JSON line."""
    if arguments:

        def reported(trial: Trial) -> None:
            print(json.dumps(asdict(trial)), flush=True)

        lane(folder, arguments[1:], seed=int(arguments[0]), reported=reported)
    else:
        print(json.dumps(undisturbed(folder, _until_interrupted)))


def main(argv: Sequence[str]) -> None:
    """The command above."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sentinel")
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=110)
    parser.add_argument("--calm-minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    trials = SentinelTrials(
        options.out, trials=options.trials, lanes=2, seed=options.seed, calm_minutes=options.calm_minutes
    )
    try:
        trials.start()
        print(json.dumps(trials.report(), indent=1))
    finally:
        trials.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    with suppress(KeyboardInterrupt):
        if sys.argv[1:2] == [PART]:
            _part(Path(sys.argv[2]), sys.argv[3:])
        else:
            main(sys.argv[1:])
