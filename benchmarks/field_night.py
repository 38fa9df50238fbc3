"""A first field model's nights on real pictures: what the gate says, told through waycue's own commands.

    .venv/bin/python -m benchmarks.field_night [--data DIR] [--out DIR] [--steps N] [--nights 1|2]

The starter's weights, declared a field model, on three street drives (../shared/data/streets, no part of waycue; where
they are absent, this says so and ends well). The first night has whatever the drives' names made of them, the second
follows the first one's advice and holds a drive out. Both must end on trial: pictures from a car, labelled by a rule,
and a model of 4 M parameters are not good enough for anybody's street, and the reasons say by how much.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from server.learn.bases import STARTER_FOLDER as STARTER
from shared import atomic, vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from tests.server.dataset.moments import wav

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "streets"
OUT = ROOT / "build" / "field_night"
HELD_OUT = "0006R0"
EXPECTED = "trial"
GOING_ON = "Continue straight."
"""What the rule that labelled the pictures writes where nothing is in the way."""
FPS = 30.0
"""CamVid numbers its frames at this rate."""


def main(argv: Sequence[str] | None = None) -> None:
    options = parser().parse_args(argv)
    if not (options.data / "train" / "labels.jsonl").is_file():
        print(f"field_night: skipped, there are no pictures in {options.data}")
        return
    shutil.rmtree(options.out, ignore_errors=True)
    said = Transcript(options.out)
    prepare(said, options)
    ended = [night(said)]
    if options.nights > 1:
        said.run("samples", "hold-out", HELD_OUT)
        ended.append(night(said))
    print(f"\nThe nights ended: {', '.join(ended)}. Transcript: {said.file}")
    if ended != [EXPECTED] * options.nights:
        raise SystemExit(1)


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(prog="python -m benchmarks.field_night", description=__doc__.splitlines()[0])
    add = parsed.add_argument
    add("--data", type=Path, default=DATA, help="folder with train/ and sequence/ (default %(default)s)")
    add("--out", type=Path, default=OUT, help="folder for the server's home (default %(default)s)")
    add("--steps", type=int, default=120, help="optimiser steps of a night (default %(default)s)")
    add("--nights", type=int, choices=(1, 2), default=2, help="how many (default %(default)s)")
    add("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    return parsed


class Transcript:
    """Commands and what they printed."""

    def __init__(self, out: Path) -> None:
        self.home, self.out, self.file = out / "home", out, out / "transcript.txt"
        out.mkdir(parents=True)

    def run(self, *arguments: str, show: bool = True) -> str:
        """Run one command of waycue-server to its end. Raises: CalledProcessError."""
        command = [sys.executable, "-m", "server", "--home", str(self.home), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ, check=False)
        text = f"$ waycue-server {' '.join(arguments)}\n{done.stdout}"
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(text + "\n")
        if show:
            print(text, flush=True)
        done.check_returncode()
        return done.stdout


def prepare(said: Transcript, options: argparse.Namespace) -> None:
    """A server with the starter as champion, a field base, and the drives as confirmed moments."""
    said.run("init", show=False)
    base = said.out / "base"
    shutil.copytree(STARTER, base)
    about = json.loads((base / "waycue.json").read_text())
    atomic.write_json(base / "waycue.json", {**about, "intended_use": "field", "name": "streets-base"})
    settings = f'[learn]\nbase = "{base}"\nsteps = {options.steps}\nreplay = 400\nthreads = {options.threads}\n'
    (said.home / "waycue.toml").write_text(settings)
    said.run("models", "add", "starter")
    bring_in(said, options)


def bring_in(said: Transcript, options: argparse.Namespace) -> None:
    """The drives, as a person's labels."""
    for name in ("train", "sequence"):
        for drive in labelled(options.data / name, said.out / "labelled", "" if name == "train" else "-sequence"):
            said.run("samples", "import", str(drive), "--as", "rule")


def night(said: Transcript) -> str:
    """One night, and every rule. Returns how it ended."""
    printed = said.run("retrain", "--force")
    outcome, version = re.findall(r"^(\w+): (\S+)$", printed, re.MULTILINE)[-1]
    said.run("gate", "--explain", version)
    said.run("models", "list")
    return str(outcome)


def labelled(source: Path, target: Path, suffix: str) -> list[Path]:
    """One folder a drive, as `waycue-server label` writes it: pictures, silence, sentences; at its own times."""
    rows = [json.loads(line) for line in (source / "labels.jsonl").read_text().splitlines()]
    silence = wav([0] * (2 * SAMPLE_RATE_HZ))
    folders = []
    for walk in dict.fromkeys(str(row["walk_id"]) for row in rows):
        folder = target / f"{walk}{suffix}"
        for part in ("frames", "audio"):
            (folder / part).mkdir(parents=True)
        lines = []
        for number, row in enumerate(row for row in rows if row["walk_id"] == walk):
            stem = f"{walk}{suffix}_chunk{number:04d}"
            frame = folder / "frames" / f"{stem}.jpg"
            shutil.copyfile(source / row["frame_path"], frame)
            at_s = 1_700_000_000 + int(row["frame_path"].rpartition("_")[2].strip("f.jpg")) / FPS
            os.utime(frame, (at_s, at_s))
            (folder / "audio" / f"{stem}.wav").write_bytes(silence)
            text = vocabulary.CLEAR if row["instruction"] == GOING_ON else row["instruction"]
            lines.append({"frame_path": f"frames/{stem}.jpg", "audio_path": f"audio/{stem}.wav", "instruction": text})
        (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folders.append(folder)
    return folders


if __name__ == "__main__":
    main()
