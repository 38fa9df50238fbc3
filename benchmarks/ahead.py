"""Press to sound: how soon "what is ahead?" is answered, in the whole agent, in real time.

    make bench NAME=ahead        the starter, 40 s of a drawn walk; writes build/bench/ahead.json

`waycue-device run` replays a drawn walk full of things at 15 pictures a second with everything on, as for
`make bench NAME=speech`, and the question is asked every 2.3 s, whatever is being said at that moment. The answer goes
into a sound card through PortAudio where PulseAudio is installed, else into a WAV file. From the agent's own report:
the walk time of the first sample of each answer, its earcon included, less that of the press. An answer that waits for
a warning that is being said counts with its wait.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.look import starter
from benchmarks.speech import FPS, HOME, WARM_UP_S, drawn, sound_card
from device.health.walk_report import percentiles_ms
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
    measured = figures(report, times_s, card=bool(env))
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


def figures(report: Mapping[str, Any], times_s: Sequence[float], *, card: bool) -> dict[str, Any]:
    """Everything that is written. An answer is the first one that was decided after its question."""
    said = [entry for entry in report["announced"] if entry["why"] == "asked" or entry["text"].startswith(ANSWERS)]
    found, waits_s, texts = 0, [], dict[str, int]()
    for t_s, until_s in zip(times_s, [*times_s[1:], float("inf")], strict=True):
        answers = [entry for entry in said if t_s <= entry["t_s"] < until_s and entry["heard_s"] is not None]
        if answers:
            found += 1
            waits_s.append(answers[0]["heard_s"] - t_s)
            texts[answers[0]["text"]] = texts.get(answers[0]["text"], 0) + 1
    return {
        "machine": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "model": report["model_version"],
        "fps": FPS,
        "sink": "sound card" if card else "WAV file",
        "asked": len(times_s),
        "answered": found,
        "press_to_sound_ms": percentiles_ms(waits_s),
        "bar": {"p95_at_most_ms": BAR_MS},
        "answers": texts,
    }


ANSWERS = ("Nothing recognised.", "Cannot see")

if __name__ == "__main__":
    main()
