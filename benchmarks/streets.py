"""Learning on real pictures: the starter fine-tuned on two street drives, judged on the third, before and after.

    .venv/bin/python -m benchmarks.streets [--data DIR] [--held-out DRIVE] [--steps N]

The pictures (../shared/data/streets/train: three drives of CamVid, from a car) are no part of waycue. Where they are
absent, this says so and ends well. Bundles and training are kept under build/streets, and taken up again where cut off.
Both bundles are quantised and run through the device's own runtime; the sentence for each picture is compared with the
reference that a rule derived from the picture's masks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from exporters.onnx.bundle import Label, export_bundle
from server.evaluation import annotated, slots
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Course
from server.gate import golden
from server.learn import lora
from server.learn.batches import Example, Layout, from_sentence, mirror, vary
from server.learn.nightly import STARTER_FOLDER, exportable, replay
from server.model import checkpoint as checkpoints
from shared import atomic
from shared.policy import PolicySettings
from shared.runtime import GuidanceModel

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "streets" / "train"
WORK = ROOT / "build" / "streets"
OUT = ROOT / "build" / "bench" / "streets.json"


def main(argv: Sequence[str] | None = None) -> None:
    options = parser().parse_args(argv)
    if not (options.data / annotated.LABELS).is_file():
        print(f"streets: skipped, there are no pictures in {options.data}")
        return
    drives = {course.group: course for course in annotated.courses(options.data, looks_per_s=4.0)}
    held_out, taught = drives[options.held_out], [c for name, c in drives.items() if name != options.held_out]
    work = WORK / f"{options.held_out}-{options.steps}"
    recipe = lora.Recipe(
        steps=options.steps, variations=options.variations, replay=options.replay, threads=options.threads
    )
    scored = {}
    for name in ("before", "after"):
        folder = work / name
        if not folder.is_dir():
            _make(folder, name, taught, recipe, work)
        scored[name] = score(GuidanceModel.load(folder, threads=options.threads, allow_demo=True), held_out)
        print(f"{name}: {headline(scored[name])}", flush=True)
    about = {"held_out": options.held_out, "taught": [c.group for c in taught], "recipe": asdict(recipe)}
    atomic.write_json(OUT, {**about, **scored})


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(prog="python -m benchmarks.streets", description=__doc__.splitlines()[0])
    add = parsed.add_argument
    add("--data", type=Path, default=DATA, help="folder with labels.jsonl (default %(default)s)")
    add("--held-out", default="0006R0", help="drive to judge on; the others teach (default %(default)s)")
    add("--steps", type=int, default=240, help="optimiser steps, as a night's (default %(default)s)")
    add("--variations", type=int, default=8, help="views of each picture (default %(default)s)")
    add("--replay", type=int, default=1000, help="rendered frames among them (default %(default)s)")
    add("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    return parsed


def score(model: GuidanceModel, course: Course) -> dict[str, Any]:
    """Slot F1 of the sentence for every picture, with its interval, and the share of right silences."""
    done = drive(model, course, PolicySettings(), DriveSettings(pictures=False))
    pairs = [(m.words.text, m.truth.references) for m in done.moments if m.sampled and m.words and m.truth]
    return {"slots": asdict(slots.scores(pairs)), "actions": asdict(slots.confusion(pairs))}


def headline(scores: dict[str, Any]) -> str:
    words = scores["slots"]
    silence = words["silence"]
    return (
        f"slot F1 {words['f1']} {words['interval']}, whole instruction {words['whole']['share']}, "
        f"silence right {silence['hits']} of {silence['count']}"
    )


def _make(folder: Path, name: str, taught: list[Course], recipe: lora.Recipe, work: Path) -> None:
    base = checkpoints.load(STARTER_FOLDER)
    chunks = golden.drawn(base)
    if name == "after":
        fresh = examples(taught, Layout.of(base), recipe)
        known = replay(base, Layout.of(base), recipe, print)
        lora.train(base, fresh, known, recipe, work / "training", progress=print)
    label = Label(f"streets-{name}", base.name, "", base.intended_use, dict(base.thresholds), 0.0)
    export_bundle(exportable(base), label, folder, golden_chunks=chunks, progress=print)


def examples(taught: list[Course], layout: Layout, recipe: lora.Recipe) -> list[Example]:
    """Each picture as itself, in a mirror, and changed, as a night makes them of a dataset's rows."""
    out = []
    for number, course in enumerate(taught):
        for index, frame in enumerate(course.frames()):
            assert frame.truth is not None
            rng = np.random.default_rng([recipe.seed, number, index])
            text = "" if frame.truth.silent else frame.truth.references[0]
            views = ((frame.image, text), mirror(frame.image, text))
            for variation in range(recipe.variations):
                image, words = views[variation % 2]
                out.append(from_sentence(vary(image, rng) if variation > 1 else image, words, layout))
    return out


if __name__ == "__main__":
    main()
