"""A walk of an hour and a half in real time, during which every half minute the network, the broker, the camera and the
disk fail: does the agent keep its pace, and does it stay as small as it was?

    python -m tests.faults.long_walk OUT [--minutes 90] [--film FILE] [--model BUNDLE] [--home DIR]
                                         [--round-s 30] [--kept-share 0.2]

round-s      each of the four faults comes once in so many seconds, and lasts a sixth of that
kept-share   of the chunks that are kept and sent

Real are the agent with its recorder, starter, voice, outbox, sentinel and link (tests.faults.long_walker), the sound
system, the broker, the server that merges what is sent; the state lies on a small disk that can be full. OUT gets
samples.jsonl (what the process takes, every SAMPLE_S), faults.jsonl, the agent's report and captions. Prints what came
of it as one JSON line. Where something grows: tests.faults.memory.

flat   a figure whose means over BLOCK_S, laid out in time, have no slope beyond their own scatter: the 95 % interval of
       the slope holds 0, or the rise over the whole time is below SMALL of the level. The first WARM_UP_S do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sqlalchemy import func, select

from benchmarks._agent_cost import Used, used
from server.database import store as db
from shared.clock import SystemClock
from tests import pulse
from tests.faults import disk, long_walker
from tests.faults.disk import SmallDisk
from tests.faults.judge import open_home
from tests.faults.relay import Relay, Weather
from tests.faults.world import World
from tests.paths import ROOT
from tests.pulse import PulseChild

SAMPLE_S, BLOCK_S, WARM_UP_S = 5.0, 300.0, 600.0
ROUND_S = 30.0
FAULT_SHARE = 2 / 3  # of the time from one fault to the next
SMALL = 0.01
FAULTS_LEAST = 0.9  # of those that the time has room for: a killed broker takes a moment to start
CPU_S_PER_MINUTE_MOST = 12.0
DISK_BYTES = 256 * 1024 * 1024
START_S, END_S = 120.0, 90.0
FIGURES = ("rss_mb", "fds", "threads")
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the agent's own process, without those that it started."""

    at_s: float
    rss_mb: float
    fds: int
    threads: int


def sample(pid: int, at_s: float) -> Sample:
    """Raises: OSError where it has ended."""
    place = Path(f"/proc/{pid}")
    words = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    rss_mb = int(words["VmRSS"].split()[0]) / 1024
    return Sample(at_s, rss_mb, sum(1 for _ in (place / "fd").iterdir()), int(words["Threads"]))


def slope(samples: Sequence[Sample], figure: str) -> dict[str, Any]:
    """How a figure went: its mean, its rise in the time that counts, with the 95 % interval, and whether it is flat."""
    counted = [one for one in samples if one.at_s >= min(WARM_UP_S, samples[-1].at_s / 3)]
    blocks: dict[int, list[float]] = {}
    for one in counted:
        blocks.setdefault(int(one.at_s // BLOCK_S), []).append(getattr(one, figure))
    means = [float(np.mean(values)) for values in blocks.values()]
    level = float(np.mean(means))
    found: dict[str, Any] = {"mean": round(level, 2), "first": round(means[0], 2), "last": round(means[-1], 2)}
    if len(means) < 3:
        return found | {"flat": None}
    line = stats.linregress(np.arange(len(means)), means)
    span = len(means) - 1
    scatter = 0.0 if np.ptp(means) == 0 else float(line.stderr)  # SciPy knows no scatter of what never changes
    sure = float(stats.t.ppf(0.975, len(means) - 2)) * scatter * span
    rise = float(line.slope) * span
    flat = rise - sure <= 0 or rise <= SMALL * level
    return found | {"rise": round(rise, 2), "rise_95": [round(rise - sure, 2), round(rise + sure, 2)], "flat": flat}


class Stage:
    """Everything around the walker; `faults` is what can be done to it, each once in `round_s`."""

    def __init__(self, out: Path, scratch: Path, stack: ExitStack, *, round_s: float) -> None:
        self._out = out
        self.round_s = round_s
        self.world = stack.enter_context(World(scratch / "world"))
        self.world.start_server()
        self.relay = Relay(self.world.broker.host, self.world.broker.port)
        self.relay.start()
        stack.callback(self.relay.stop)
        self._small = None if disk.why_not() else stack.enter_context(SmallDisk(scratch, size_bytes=DISK_BYTES))
        self.state = (self._small.path if self._small is not None else scratch) / "state"
        child = PulseChild(scratch / "pulse")
        child.start()
        stack.callback(child.stop)
        self.env = child.env | {"XDG_RUNTIME_DIR": str(scratch)}
        self.skipped = disk.why_not()

    def faults(self) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
        """Without end: (name, how it begins, how it ends), one round of four after the other."""
        weathers = (Weather(takes_new="silent"), Weather(bytes_per_s=2_000, delay_s=0.5), Weather(loss=0.3))
        cameras = (long_walker.CRASH, long_walker.HANG, long_walker.FREEZE, long_walker.DARK)
        for number in count():
            weather, camera = weathers[number % len(weathers)], cameras[number % len(cameras)]
            yield f"network: {weather.takes_new} {weather.bytes_per_s:g} {weather.loss:g}", *self._network(weather)
            yield "broker: killed", self.world.broker.stop, self.world.broker.start
            yield f"camera: {camera}", (self._out / camera).touch, self._camera_again(camera)
            if self._small is not None:
                yield "disk: full", self._small.fill, self._small.empty

    def _network(self, weather: Weather) -> tuple[Callable[[], None], Callable[[], None]]:
        def begin() -> None:
            self.relay.weather = weather
            if weather.takes_new == "silent":
                self.relay.cut()

        def end() -> None:
            self.relay.weather = Weather()

        return begin, end

    def _camera_again(self, camera: str) -> Callable[[], None]:
        return lambda: (self._out / camera).unlink(missing_ok=True)


def walked(
    out: Path,
    *,
    minutes: float,
    film: Path,
    model: Path,
    round_s: float = ROUND_S,
    kept_share: float = long_walker.KEPT_SHARE,
) -> dict[str, Any]:
    """The whole walk. Raises: RuntimeError where the agent ends by itself."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="waycue-long-", ignore_cleanup_errors=True) as scratch,
        ExitStack() as stack,
    ):
        stage = Stage(out, Path(scratch), stack, round_s=round_s)
        process = stack.enter_context(_walker(out, stage, film=film, model=model, kept_share=kept_share))
        samples, costs = _observed(out, stage, process, seconds=minutes * 60)
        nice = os.getpriority(os.PRIO_PROCESS, process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(END_S)
        merged = _merged(stage)
    return _told(out, samples, costs, merged) | {"nice": nice, "skipped": stage.skipped}


@contextmanager
def _walker(
    out: Path, stage: Stage, *, film: Path, model: Path, kept_share: float
) -> Iterator[subprocess.Popen[bytes]]:
    broker = f"{stage.relay.host}:{stage.relay.port}"
    command = [sys.executable, "-m", "tests.faults.long_walker", str(out), "--film", str(film), "--model", str(model)]
    command += ["--broker", broker, "--state", str(stage.state), "--kept-share", str(kept_share)]
    with open(out / "agent.log", "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | stage.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # as a service is: see long_walker.hurry_as_its_service
        )
        try:
            pulse.until(lambda: (out / "captions.jsonl").exists(), "the agent's first words", timeout_s=START_S)
            yield process
        finally:
            process.kill()
            process.wait()


def _observed(
    out: Path, stage: Stage, process: subprocess.Popen[bytes], *, seconds: float
) -> tuple[list[Sample], tuple[Used, Used, float]]:
    """Let it walk and play the faults. Returns the samples, and two measurements of the processor with the seconds
    between them."""
    stop = threading.Event()
    playing = threading.Thread(target=_play, args=(out, stage, stop), name="faults", daemon=True)
    playing.start()
    samples: list[Sample] = []
    began_s = CLOCK.monotonic_s()
    pause = threading.Event()
    first: tuple[Used, float] | None = None
    with open(out / "samples.jsonl", "w", encoding="utf-8") as file:
        while (at_s := CLOCK.monotonic_s() - began_s) < seconds:
            if process.poll() is not None:
                raise RuntimeError(f"the agent ended with {process.returncode} after {at_s:.0f} s; see agent.log")
            samples.append(sample(process.pid, round(at_s, 1)))
            file.write(json.dumps(asdict(samples[-1])) + "\n")
            file.flush()
            if first is None and at_s >= min(60.0, seconds / 3):
                first = (used(process.pid), at_s)
            pause.wait(SAMPLE_S)
    last_s = CLOCK.monotonic_s() - began_s
    last = used(process.pid)
    stop.set()
    playing.join()
    assert first is not None
    return samples, (first[0], last, last_s - first[1])


def _play(out: Path, stage: Stage, stop: threading.Event) -> None:
    """One fault after the other, so that each of the four comes once in a round."""
    faults, turn_s = stage.faults(), stage.round_s / 4
    with open(out / "faults.jsonl", "w", encoding="utf-8") as file:
        while not stop.is_set():
            name, begin, end = next(faults)
            print(json.dumps({"at_s": round(CLOCK.monotonic_s(), 1), "fault": name}), file=file, flush=True)
            begin()
            stop.wait(turn_s * FAULT_SHARE)
            end()
            stop.wait(turn_s * (1 - FAULT_SHARE))


def _merged(stage: Stage) -> int:
    """Records of the walk that the server has."""
    with closing(open_home(stage.world.home)) as store, store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(db.records)).scalar_one())


def _told(out: Path, samples: list[Sample], costs: tuple[Used, Used, float], merged: int) -> dict[str, Any]:
    report = json.loads((out / "report.json").read_bytes())
    before, after, seconds = costs
    own_s = sum(after.by_part.values()) - sum(before.by_part.values())
    faults = [json.loads(line)["fault"].split(":")[0] for line in (out / "faults.jsonl").read_text().splitlines()]
    said: dict[str, int] = {}
    for entry in report["announced"]:
        said[entry["text"]] = said.get(entry["text"], 0) + 1
    return {
        "minutes": round(samples[-1].at_s / 60, 1),
        "faults": {name: faults.count(name) for name in sorted(set(faults))},
        **{figure: slope(samples, figure) for figure in FIGURES},
        "pictures": report["frames_seen"],
        "pictures_dropped": report["frames_dropped"],
        "picture_late_ms": report["picture_late_ms"],
        "looks": report["looks"],
        "cpu_s_per_minute": round(own_s * 60 / seconds, 2),
        "guidance": len(report["guidance"]),
        "announced": dict(sorted(said.items())),
        "kept": len(report["flagged"]),
        "not_kept": report["not_kept"],
        "merged": merged,
        "waiting": report["sync"]["queued"],
    }


def reached(found: dict[str, Any], *, minutes: float) -> dict[str, bool]:
    """Each bar in words, and whether it is reached."""
    if "pictures" not in found:
        return {f"the long walk: {found['problem']}": False}
    flat = {f"{name} of the long walk: {found[name]}, flat": bool(found[name]["flat"]) for name in FIGURES}
    cpu_s, dropped = found["cpu_s_per_minute"], found["pictures_dropped"]
    faults, due = sum(found["faults"].values()), FAULTS_LEAST * found["minutes"] * 60 / ROUND_S * len(found["faults"])
    safe = found["merged"] + found["waiting"]
    return flat | {
        f"{faults} faults in the long walk, at least {due:.0f}": faults >= due > 0,
        f"{found['not_kept']} moments of the long walk not kept, none": found["not_kept"] == 0,
        f"{safe} of {found['kept']} kept moments merged or waiting, all": safe >= found["kept"],
        f"a long walk of {found['minutes']} minutes, {minutes:g}": found["minutes"] >= minutes - 1,
        f"{dropped} pictures of the long walk dropped, none": dropped == 0,
        f"{cpu_s} processor seconds a minute, at most {CPU_S_PER_MINUTE_MOST}": cpu_s <= CPU_S_PER_MINUTE_MOST,
    }


class LongWalk:
    """The walk in a process of its own, beside everything else: `start` it, `report` waits for its end."""

    def __init__(self, out: Path, *, minutes: float) -> None:
        self._out, self._minutes = out, minutes
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.long_walk", str(self._out), "--minutes", str(self._minutes)]
        # Of its own session: Ctrl-C at the terminal is for us, and we end it.
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def stop(self) -> None:
        """End it, and what it started. May be called again."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate()

    def report(self) -> dict[str, Any]:
        """What came of it; {"problem": why} where it did not come to its end."""
        assert self._process is not None
        lines = self._process.communicate()[0].splitlines()
        if self._process.returncode or not lines:
            return {"problem": f"ended with status {self._process.returncode}; see {self._out / 'agent.log'}"}
        found: dict[str, Any] = json.loads(lines[-1])
        return found


def starter(home: Path) -> Path:
    """The bundle of the shipped starter, made where it is not there yet (a minute)."""
    from server.learn import bundles  # torch takes seconds to import

    if not list((home / "models").glob("*/bundle")):
        home.mkdir(parents=True, exist_ok=True)
        bundles.add_starter(home, progress=lambda text: None)
    return next((home / "models").glob("*/bundle"))


def drawn_film(target: Path) -> Path:
    """A walk along a market, 12 s."""
    from server.walks import walk_from_name, write_video

    if not target.exists():
        write_video(walk_from_name("market", duration_s=12.0), target, fps=long_walker.FPS)
    return target


def main(argv: Sequence[str]) -> None:
    """The command above."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.long_walk")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--film", type=Path, help="what the camera sees (default: a drawn walk)")
    parser.add_argument("--model", type=Path, help="bundle folder (default: the shipped starter)")
    parser.add_argument("--home", type=Path, help="server folder that has or gets the starter", default=None)
    parser.add_argument("--round-s", type=float, default=ROUND_S)
    parser.add_argument("--kept-share", type=float, default=long_walker.KEPT_SHARE)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    film = options.film or drawn_film(options.out / "market.mp4")
    model = options.model or starter(options.home or options.out / "home")
    found = walked(
        options.out,
        minutes=options.minutes,
        film=film.resolve(),
        model=model.resolve(),
        round_s=options.round_s,
        kept_share=options.kept_share,
    )
    print(json.dumps(found))


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
