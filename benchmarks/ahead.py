"""Press to sound: how soon "what is ahead?" is answered, in the whole agent, in real time.

    make bench NAME=ahead        the starter, 40 s of a drawn walk; writes build/bench/ahead.json

`waycue-device run` replays a drawn walk full of things at 15 pictures a second with everything on, as for
`make bench NAME=speech`, and the question is asked every 2.3 s, whatever is being said at that moment. The answer goes
into a sound card through PortAudio where PulseAudio is installed, else into a WAV file. From the agent's own report:
the walk time of the first sample of each answer, its earcon included, less that of the press. An answer never cuts a
warning: of a question that comes while one is being said, the wait from its last sample on counts (`behind_warning_ms`)
beside that from the press on (`warned_ms`), at which a tick is heard. The bar is for all others (`press_to_sound_ms`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.look import starter
from benchmarks.speech import FPS, HOME, WARM_UP_S, drawn, sound_card
from device.health.walk_report import percentiles_ms
from device.voice import earcons
from device.voice.espeak import Espeak
from device.voice.phrases import Phrases
from device.voice.voice import SpeechRate
from shared import atomic

OUT = Path("build/bench/ahead.json")
BAR_MS = 700.0
ASK_FROM_S, ASK_EVERY_S = 3.1, 2.3


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.ahead", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--seconds", type=float, default=40.0, help="length of the walk (default: 40)")
    options.add_argument("--model", type=Path, metavar="DIR", help="bundle folder (default: the starter)")
    options.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default: {OUT}")
    chosen = options.parse_args(argv)
    logging.disable(logging.INFO)
    console = Console()
    model, film = chosen.model or starter(console), drawn(chosen.seconds, console)
    with ExitStack() as ending:
        env = sound_card(ending, console)
        asked(model, film, env, seconds=WARM_UP_S)  # once, so that espeak-ng has rendered its phrases
        report, times_s = asked(model, film, env, seconds=chosen.seconds)
    measured = figures(report, times_s, card=bool(env), length_s=spoken_s)
    atomic.write_json(chosen.out, measured)
    console.print_json(json.dumps(measured))
    console.print(f"{chosen.out} is written.")


def asked(model: Path, film: Path, env: Mapping[str, str], *, seconds: float) -> tuple[dict[str, Any], list[float]]:
    """One run of the agent: its report, and when was asked. Raises: CalledProcessError where it fails."""
    count = int((seconds - ASK_FROM_S - 2.0) / ASK_EVERY_S)
    times_s = [round(ASK_FROM_S + number * ASK_EVERY_S, 2) for number in range(count)]
    lines = [{"t_s": t_s, "action": "ahead"} for t_s in times_s] + [{"t_s": seconds, "action": "quit"}]
    atomic.make_dirs(HOME)
    (HOME / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    speech = "speakers" if env else str(HOME / "speech.wav")
    (HOME / "ahead.toml").write_text(
        f'[device]\nname = "bench"\n[voice]\nspeech = "{speech}"\n[buttons]\nkeys = false\n'
    )
    command = [str(Path(sys.executable).parent / "waycue-device"), "run", "--exit-at-end", "--quiet", "--linger-s=0"]
    command += [f"--config={HOME / 'ahead.toml'}", f"--state={HOME / 'state'}", f"--source=replay:{film}"]
    command += ["--pace=real", f"--model={model}", f"--buttons={HOME / 'questions.jsonl'}"]
    command += [f"--report={HOME / 'ahead.json'}"]
    environment = {**os.environ, **env}
    subprocess.run(command, check=True, env=environment, timeout=seconds + 120, stdin=subprocess.DEVNULL)
    return json.loads((HOME / "ahead.json").read_bytes()), times_s


def spoken_s(text: str) -> float:
    """How long a warning lasts, its earcon included, as the agent of this bench says it."""
    samples = Phrases(Espeak(), HOME / "state" / "voice").get(text, SpeechRate().of(1))
    return (len(samples) + len(earcons.earcon("warning"))) / earcons.SPEECH_RATE_HZ


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question."""

    text: str
    wait_s: float
    """From the press on."""
    behind_s: float | None
    """From the end of the warnings on that were being said or came before it; None = there was none."""


def answers(report: Mapping[str, Any], times_s: Sequence[float], length_s: Callable[[str], float]) -> list[Answer]:
    """Of each question the first one that was decided after it. length_s: of a warning by its text"""
    warned = [entry for entry in report["guidance"] if entry["tier"] == 1 and entry["heard_s"] is not None]
    spans_s = [(entry["heard_s"], entry["heard_s"] + length_s(entry["text"])) for entry in warned]
    heard = list(filter(_answers, report["announced"]))
    found = []
    for t_s, until_s in zip(times_s, [*times_s[1:], float("inf")], strict=True):
        first = next((entry for entry in heard if t_s <= entry["t_s"] < until_s), None)
        found += [] if first is None else [_answer(first, t_s, spans_s)]
    return found


def _answers(entry: Mapping[str, Any]) -> bool:
    asked = entry["why"] == "asked" or entry["text"].startswith(ANSWERS)
    return bool(asked and entry["heard_s"] is not None)


def _answer(entry: Mapping[str, Any], asked_s: float, warnings_s: Sequence[tuple[float, float]]) -> Answer:
    at_s = entry["heard_s"]
    before = [end_s for begin_s, end_s in warnings_s if begin_s < at_s and end_s > asked_s]
    return Answer(entry["text"], at_s - asked_s, at_s - max(before) if before else None)


def figures(
    report: Mapping[str, Any], times_s: Sequence[float], *, card: bool, length_s: Callable[[str], float]
) -> dict[str, Any]:
    """Everything that is written. length_s: how long a warning lasts, by its text"""
    found = answers(report, times_s, length_s)
    warned = [answer for answer in found if answer.behind_s is not None]
    return {
        "machine": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "model": report["model_version"],
        "fps": FPS,
        "sink": "sound card" if card else "WAV file",
        "asked": len(times_s),
        "answered": len(found),
        "press_to_sound_ms": percentiles_ms([answer.wait_s for answer in found if answer.behind_s is None]),
        "warned": len(warned),
        "warned_ms": percentiles_ms([answer.wait_s for answer in warned]),
        "behind_warning_ms": percentiles_ms([answer.behind_s for answer in warned if answer.behind_s is not None]),
        "bar": {"p95_at_most_ms": BAR_MS},
        "answers": dict(Counter(answer.text for answer in found)),
    }


ANSWERS = ("Nothing recognised.", "Cannot see")

if __name__ == "__main__":
    main()
