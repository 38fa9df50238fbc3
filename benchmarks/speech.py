"""Shutter to voice: how soon after a picture its warning is heard, in the whole agent, in real time.

    make bench NAME=speech                            the starter, five minutes; writes build/bench/speech.json
    .venv/bin/python -m benchmarks.speech --model DIR  any bundle, for example a large one that keeps every core busy

`waycue-device run` replays a drawn walk full of things to stop for at 15 pictures a second, with everything on: 2 s
chunks with sound and clip are recorded, a press every 4 s has one sealed on disk, guidance looks four times a second.
The voice goes into a WAV file, and where PulseAudio is installed into a sound card through PortAudio:
a null sink, kept awake, because a sleeping one takes up to two seconds to wake. All times are from the agent's own
report; nothing is timed here.

Two figures: to the first sample that is heard, which a warning's earcon begins, and to the first sample of its words.
The model runs in turn on any core and kept away from one, which then is the recorder's: their ratio is pinning's worth.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.look import starter
from device.health.walk_report import percentiles_ms
from server.walks import plan_walk, write_video
from shared import atomic
from tests.pulse import PulseChild, missing

HOME, OUT = Path("build/bench/speech"), Path("build/bench/speech.json")
BAR_MS = 150.0
FPS, SEED = 15, 11
TO_STOP_FOR = ("curb", "drop-off", "stairs down", "head obstacle")
PRESS_EVERY_S = 4.0
WARM_UP_S = 8.0  # once, so that espeak-ng has rendered its phrases, as on every start of a device but its first
FREE, PINNED = "any core", "a core left to the recorder"
WAV, CARD = "WAV file", "sound card"
ROWS = {
    "warning to its first sample": "time_to_speech_ms_tier_1", "warning to its words": "time_to_words_ms_tier_1",
    "obstacle to its first sample": "time_to_speech_ms_tier_2", "picture to the agent": "picture_late_ms",
}  # fmt: skip
SUMS = ("frames_seen", "frames_dropped", "chunks", "not_kept")
TIMES = ("time_to_speech_ms", "time_to_words_ms")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run the agent."""

    name: str
    sink: str
    threads: int
    cores: str
    """As guidance.cores."""
    looks_per_s: float
    """Asked for; the report has what was done."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What one run gave."""

    report: Mapping[str, Any]
    processor_s: float
    """Of the agent and the programs it started."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.speech", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--seconds", type=float, default=50.0, help="length of each walk (default: 50)")
    options.add_argument("--rounds", type=int, default=2, help="walks with each setting, in turn (default: 2)")
    options.add_argument("--model", type=Path, metavar="DIR", help="bundle folder (default: the starter)")
    options.add_argument("--looks", type=float, default=4.0, help="looks a second that are asked for (default: 4)")
    options.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default: {OUT}")
    options.add_argument("--prepare", action="store_true", help="only export the starter and draw the walk")
    chosen = options.parse_args(argv)
    logging.disable(logging.INFO)
    console = Console()
    model, film = chosen.model or starter(console), drawn(chosen.seconds, console)
    if chosen.prepare:
        return
    atomic.remove_tree(HOME / "state")
    with ExitStack() as ending:
        env = sound_card(ending, console)
        made = arms(sorted(os.sched_getaffinity(0)), card=bool(env), looks_per_s=chosen.looks)
        walk(made[0], model, film, env, seconds=WARM_UP_S)
        once = partial(walk, model=model, film=film, env=env, seconds=chosen.seconds)
        walks = in_turn(made, once, rounds=chosen.rounds, console=console)
    measured = figures(made, walks)
    atomic.write_json(chosen.out, measured)
    console.print(table(measured))
    console.print(f"{chosen.out} is written.")


def drawn(seconds: float, console: Console) -> Path:
    """The walk's film, drawn once."""
    film = HOME / f"stops-{seconds:g}s.mp4"
    if not film.exists():
        atomic.make_dirs(HOME)
        with console.status(f"drawing a walk of {seconds:g} s"):
            walk = plan_walk(SEED, duration_s=seconds, objects=TO_STOP_FOR, clear_share=0.0, name="stops")
            write_video(walk, film, fps=FPS)
    return film


def sound_card(ending: ExitStack, console: Console) -> dict[str, str]:
    """A PulseAudio of our own with null sinks; what a program needs in its environment to use it, empty = none here."""
    if missing():
        console.print(f"Without a sound card: {missing()}.")
        return {}
    pulse = PulseChild(Path(ending.enter_context(TemporaryDirectory(prefix="waycue-"))))  # a socket's path is short
    ending.callback(pulse.stop)
    pulse.start()
    ending.enter_context(pulse.record())  # somebody listens: else the sink sleeps, and renders silence seconds ahead
    return pulse.env


def arms(cores: Sequence[int], *, card: bool, looks_per_s: float = 4.0) -> list[Arm]:
    """Every way to run it here. With one core there is none to leave."""
    every, rest = len(cores), ",".join(str(core) for core in cores[1:])
    sink = CARD if card else WAV
    made = [Arm(f"{sink}, {FREE}", sink, every, "", looks_per_s)]
    if rest:
        made.append(Arm(f"{sink}, {PINNED}", sink, every - 1, rest, looks_per_s))
    return [Arm(f"{WAV}, {FREE}", WAV, every, "", looks_per_s), *made] if card else made


def in_turn(
    made: Sequence[Arm], once: Callable[[Arm], Walk], *, rounds: int, console: Console
) -> dict[str, list[Walk]]:
    """The sound card's arms `rounds` times, one after the other; the WAV file, beside a card, once."""
    walks: dict[str, list[Walk]] = {arm.name: [] for arm in made}
    for number in range(rounds):
        for arm in made:
            if number == 0 or arm.sink == made[-1].sink:
                with console.status(f"walk {number + 1}: {arm.name}"):
                    walks[arm.name].append(once(arm))
    return walks


def walk(arm: Arm, model: Path, film: Path, env: Mapping[str, str], *, seconds: float) -> Walk:
    """One run of the agent to its end. Raises: CalledProcessError where it fails."""
    speech = "speakers" if arm.sink == CARD else str(HOME / "speech.wav")
    (HOME / "device.toml").write_text(
        f'[device]\nname = "bench"\n[voice]\nspeech = "{speech}"\n[buttons]\nkeys = false\n'
        f'[guidance]\nthreads = {arm.threads}\ncores = "{arm.cores}"\nlooks_per_s = {arm.looks_per_s}\n'
    )
    presses, times = HOME / "presses.jsonl", range(1, int(seconds / PRESS_EVERY_S) + 1)
    lines = [{"t_s": number * PRESS_EVERY_S, "action": "flag"} for number in times]
    lines.append({"t_s": seconds, "action": "quit"})
    presses.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = HOME / "report.json"
    options = {
        "config": HOME / "device.toml",
        "state": HOME / "state",
        "source": f"replay:{film}",
        "pace": "real",
        "model": model,
        "buttons": presses,
        "report": report,
        "linger-s": 0,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(Path(sys.executable).parent / "waycue-device"), "run", "--exit-at-end", "--quiet"]
    command += [f"--{name}={value}" for name, value in options.items()]
    limit_s = seconds + 120
    subprocess.run(command, check=True, env={**os.environ, **env}, timeout=limit_s, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Walk(json.loads(report.read_bytes()), round(used_s, 1))


def figures(made: Sequence[Arm], walks: Mapping[str, Sequence[Walk]]) -> dict[str, Any]:
    """Everything that is written."""
    measured = {arm.name: {"asked": asdict(arm), **pooled(walks[arm.name])} for arm in made}
    by_cores = {FREE if name.endswith(FREE) else PINNED: arm for name, arm in measured.items()}
    return {
        "machine": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "model": walks[made[0].name][0].report["model_version"],
        "fps": FPS,
        "bars": bars(measured),
        "arms": measured,
        "pinning": ratios(by_cores.get(FREE), by_cores.get(PINNED)),
    }


def bars(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """p95 of the warnings, of the worst way to run it, against BAR_MS; null where there was none."""
    names = {text: name for text, name in ROWS.items() if text.startswith("warning")}
    worst = {text: max(arm[name]["p95"] or 0.0 for arm in arms.values()) for text, name in names.items()}
    return {text: {"p95_ms": p95 or None, "at_most_ms": BAR_MS} for text, p95 in worst.items()}


def pooled(walks: Sequence[Walk]) -> dict[str, Any]:
    """The figures of one arm: utterances of all walks together; how late pictures came, of its worst walk."""
    reports = [walk.report for walk in walks]
    totals = {name: sum(report[name] for report in reports) for name in (*SUMS, "looks", "duration_s")}
    looks, duration_s = totals.pop("looks"), totals.pop("duration_s")
    return {
        "walks": len(reports),
        **_spoken_times_ms(reports),
        "looks_per_s": round(looks / duration_s, 2),
        "picture_late_ms": max((report["picture_late_ms"] for report in reports), key=lambda late: late["p95"] or 0.0),
        **totals,
        "kept": sum(len(report["flagged"]) for report in reports),
        "processor_share": round(sum(walk.processor_s for walk in walks) / duration_s, 3),
    }


def _spoken_times_ms(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How soon the utterances of all walks came, by tier."""
    said = [utterance for report in reports for utterance in report["guidance"]]
    return {f"{name}_tier_{tier}": percentiles_ms(_times_s(said, name, tier)) for name in TIMES for tier in (1, 2, 3)}


def _times_s(said: Sequence[Mapping[str, Any]], name: str, tier: int) -> list[float]:
    return [of[name] / 1000 for of in said if of["tier"] == tier and of[name] is not None]


def ratios(free: Mapping[str, Any] | None, pinned: Mapping[str, Any] | None) -> dict[str, float | None]:
    """How many times longer everything takes on any core than with a core left to the recorder; empty = not measured.

    Above 1: pinning makes it faster.
    """
    if free is None or pinned is None:
        return {}
    names = ("time_to_speech_ms_tier_1", "picture_late_ms")
    return {f"{name}_{at}": _ratio(free[name][at], pinned[name][at]) for name in names for at in ("p50", "p95")}


def _ratio(slow: float | None, fast: float | None) -> float | None:
    return round(slow / fast, 2) if slow is not None and fast else None


def table(measured: Mapping[str, Any]) -> Table:
    """For the terminal: one column for each way to run it."""
    worth = ", ".join(f"{name} {ratio}" for name, ratio in measured["pinning"].items())
    shown = Table(
        "",
        *measured["arms"],
        title=f"shutter to voice at {FPS} pictures a second (bar: p95 {BAR_MS:.0f} ms)",
        caption=f"{FREE} ÷ {PINNED}: {worth or 'not measured'}",
    )
    arms = list(measured["arms"].values())
    for text, name in ROWS.items():
        shown.add_row(f"{text} (ms): p50 / p95 / p99", *(_spread(arm[name]) for arm in arms))
    shown.add_row(
        "pictures dropped", *(f"{a['frames_dropped']} of {a['frames_dropped'] + a['frames_seen']}" for a in arms)
    )
    rest = {"looks a second": "looks_per_s", "chunks sealed on disk": "kept", "cores busy": "processor_share"}
    for text, name in rest.items():
        shown.add_row(text, *(str(arm[name]) for arm in arms))
    return shown


def _spread(times: Mapping[str, Any]) -> str:
    if not times["count"]:
        return "-"
    return f"{times['p50']} / {times['p95']} / {times['p99']} of {times['count']}"


if __name__ == "__main__":
    main()
