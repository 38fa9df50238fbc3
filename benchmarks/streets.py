"""Guidance on real pictures: the packaged eyes untaught and taught, and the starter's night, on a drive never seen.

    make bench NAME=streets
    .venv/bin/python -m benchmarks.streets [--data DIR] [--held-out DRIVE] [--eyes FILE] [--no-night]

    zero            the packaged detector's boxes and geometry; nothing was taught
    zero, PX px     the same on smaller pictures (--sizes), with the processor time of a look
    taught          the same, its four numbers between a box and a score fitted on the sentences of the other drives
    starter_night   the starter after a LoRA night on the same sentences
    starter         the starter as it ships
    on_eyes, on_eyes_night       the starter over the packaged eyes, as it ships and after the same night
    perfect, silent, constant    the labels themselves; always silence; the other drives' most frequent words

The pictures (../shared/data/streets/train: three drives of CamVid, from a car) are no part of waycue. Where they are
absent, or the eyes cannot be fetched, this says so and ends well. The bundles are quantised and run through the
device's own runtime. Where a car's camera sits nobody wrote down: its pitch is taken from the drives that teach, as an
installer would set it. Intervals are bootstrapped over runs of CLUSTER pictures: neighbours are alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import _box_fit as box_fit
from benchmarks import _street_parity, _street_report
from benchmarks._retrained import VISION as VISION_256M
from benchmarks._vision_cost import cpu_ms, vision_256m_ms
from exporters.onnx.bundle import Label, export_bundle
from exporters.onnx.eyes import export_eyes
from server import config
from server.evaluation import annotated, sentences, slots
from server.evaluation.facts import Course, Truth
from server.eyes import packaged
from server.gate import golden
from server.learn import eyes_bundle, lora
from server.learn.bases import replay, starter
from server.learn.batches import Example, Layout, from_sentence, mirror, vary
from server.learn.bundles import exportable
from server.learn.recipe import Recipe
from server.model.checkpoint import Checkpoint
from server.releases.registry import Registry
from shared import atomic, bundle, vocabulary
from shared.errors import WaycueError
from shared.runtime import Execution, GuidanceModel
from shared.sight import BoxScoring, Camera

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "streets" / "train"
WORK = ROOT / "build" / "streets"
HOME = ROOT / "build" / "bench" / "server"
OUT = ROOT / "build" / "bench" / "streets.json"
CLUSTER = 10
"""Pictures in a row that are drawn together: a second apart, they show much the same."""
CAR_HEIGHT_M, CAR_FOV_DEG = 1.4, 52.0
PITCHES_DEG = (-2.0, 0.0, 1.0, 2.0, 3.0, 4.0)
Say = Callable[[NDArray[np.uint8]], str]
Shots = Sequence[tuple[NDArray[np.uint8], Truth]]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write streets.json and streets.html."""
    options, console = parser().parse_args(argv), Console()
    if not (options.data / annotated.LABELS).is_file():
        console.print(f"streets: skipped, there are no pictures in {options.data}")
        return
    drives = {course.group: _shots(course) for course in annotated.courses(options.data, looks_per_s=4.0)}
    unseen = drives[options.held_out]
    others = [shot for name, shots in drives.items() if name != options.held_out for shot in shots]
    try:
        eyes = eyes_folder(options.eyes, console)
    except WaycueError as error:
        console.print(f"streets: skipped, {error}")
        return
    camera = mounted(eyes, others, options.threads)
    scoring = box_fit.fit(_moments(eyes, others, options.threads), camera)
    console.print(f"camera {camera}; fitted {scoring}")
    smaller = {f"zero, {px} px": eyes_bundle.register(HOME, size_px=px, progress=console.print) for px in options.sizes}
    rows: dict[str, Say] = {
        "zero": _saying(eyes, camera, options.threads),
        **{name: _saying(model.bundle_folder, camera, options.threads) for name, model in smaller.items()},
        "taught": _saying(eyes, camera, options.threads, scoring),
        "silent": lambda image: vocabulary.CLEAR,
        "constant": _constant(others),
    }
    if not options.no_night:
        for name in ("starter", "starter_night", "on_eyes", "on_eyes_night"):
            folder = _starter(name, drives, options)
            model = GuidanceModel.load(folder, threads=options.threads, allow_demo=True, camera=camera)
            rows[name] = _words_of(model)
    answers = {name: [(say(image), truth) for image, truth in unseen] for name, say in rows.items()}
    answers["perfect"] = [(truth.references[0], truth) for _, truth in unseen]
    scored = {name: sentences.worth(list(sentences.stretches(said, CLUSTER))) for name, said in answers.items()}
    for row in scored.values():
        row["of_perfect"] = round(row["slot_f1"][0] / scored["perfect"]["slot_f1"][0], 4)
    console.print(table(scored))
    found = {
        "held_out": options.held_out,
        "pictures": len(unseen),
        "camera": asdict(camera),
        "scoring": scoring.to_dict(),
        "unseen": scored,
        "look": cost(eyes, unseen),
        "look_cpu_ms": {name: look_ms(model.bundle_folder, unseen) for name, model in smaller.items()},
        "parity": parity(eyes, options, [*others, *unseen], camera),
    }
    console.print(f"int8 beside float32 on real pictures: {found['parity']}")
    atomic.write_json(OUT, found)
    _street_report.write(OUT.with_suffix(".html"), found, unseen, answers)
    console.print(f"{OUT}, {OUT.with_suffix('.html')}")


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(prog="python -m benchmarks.streets", description=(__doc__ or "").splitlines()[0])
    add = parsed.add_argument
    add("--data", type=Path, default=DATA, help="folder with labels.jsonl (default %(default)s)")
    add("--eyes", type=Path, help="the eyes' package, where there is no registry: a file as for models add eyes --from")
    add("--held-out", default="0006R0", help="drive to judge on; the others teach (default %(default)s)")
    add("--no-night", action="store_true", help="leave out the starter and its night, which take most of the time")
    add("--sizes", type=int, nargs="*", default=[], metavar="PX", help="smaller pictures to try the eyes on as well")
    add("--steps", type=int, default=240, help="optimiser steps of that night (default %(default)s)")
    add("--variations", type=int, default=8, help="views of each picture (default %(default)s)")
    add("--replay", type=int, default=1000, help="rendered frames among them (default %(default)s)")
    add("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    return parsed


# --- the eyes ---------------------------------------------------------------------------------------------------------


def eyes_folder(brought: Path | None, console: Console) -> Path:
    """The bundle of the packaged eyes, fetched and exported once. Raises: WaycueError."""
    config.init(HOME)
    packaged.add(HOME, brought=brought, progress=console.print)
    version = eyes_bundle.register(HOME, progress=console.print).version
    return Registry(HOME).bundle_folder(version)


def mounted(eyes: Path, shots: Shots, threads: int) -> Camera:
    """Where the camera sits: the pitch under which the untaught eyes agree best with the drives that teach."""

    def agreement(camera: Camera) -> float:
        say = _saying(eyes, camera, threads)
        return slots.scores([(say(image), truth.references) for image, truth in shots[::3]]).f1 or 0.0

    return max((Camera(CAR_HEIGHT_M, pitch, CAR_FOV_DEG) for pitch in PITCHES_DEG), key=agreement)


def _saying(eyes: Path, camera: Camera, threads: int, scoring: BoxScoring | None = None) -> Say:
    manifest = bundle.verify(eyes)
    if scoring is not None:
        look = {**manifest.model["look"], "scoring": scoring.to_dict()}
        manifest = replace(manifest, model={**manifest.model, "look": look})
    return _words_of(GuidanceModel(eyes, manifest, execution=Execution(threads), camera=camera))


def _words_of(model: GuidanceModel) -> Say:
    return lambda image: model.word(model.look(image)).text


def _moments(eyes: Path, shots: Shots, threads: int) -> list[box_fit.BoxMoment]:
    model = GuidanceModel.load(eyes, threads=threads, allow_demo=True)
    return [
        box_fit.BoxMoment(model.look(image).boxes, image.shape[1] / image.shape[0], truth.references[0])
        for image, truth in shots
    ]


def cost(eyes: Path, shots: Shots) -> dict[str, float]:
    """CPU milliseconds of a look on one thread, and as a share of one pass of the 256M's vision encoder, here."""
    ours_ms, theirs_ms = look_ms(eyes, shots), vision_256m_ms(VISION_256M)[1]
    return {"cpu_ms": ours_ms, "share_of_256m_vision": round(ours_ms / theirs_ms, 4)}


def look_ms(eyes: Path, shots: Shots) -> float:
    """CPU milliseconds of a look on one thread."""
    look = GuidanceModel.load(eyes, threads=1, allow_demo=True).look
    return round(cpu_ms(lambda at: look(shots[at % len(shots)][0])), 1)


def parity(eyes: Path, options: argparse.Namespace, shots: Shots, camera: Camera) -> dict[str, Any]:
    """The int8 bundles beside themselves in float32, on pictures of all drives."""
    pairs = {"zero": (_full_eyes(eyes), eyes)}
    if not options.no_night:
        folder = _work(options) / "on_eyes"
        pairs["on_eyes"] = (_full(starter("packaged", HOME, print), folder.with_name("on_eyes-float")), folder)
    return {name: _street_parity.parity(*folders, shots, camera) for name, folders in pairs.items()}


def _full_eyes(eyes: Path) -> Path:
    folder = WORK / "eyes-float"
    if not folder.is_dir():
        what = eyes_bundle.detector(packaged.load(HOME))
        label = Label("streets-eyes-float", "", "", bundle.TRIAL, bundle.verify(eyes).thresholds, 0.0)
        export_eyes(what, label, folder, golden_chunks=(), pictures=(), quantised=False)
    return folder


def _full(base: Checkpoint, folder: Path) -> Path:
    if not folder.is_dir():
        label = Label("streets-on-eyes-float", base.name, "", base.intended_use, dict(base.thresholds), 0.0)
        export_bundle(exportable(base), label, folder, golden_chunks=(), quantised=False)
    return folder


# --- the starter ------------------------------------------------------------------------------------------------------


def _starter(name: str, drives: Mapping[str, Shots], options: argparse.Namespace) -> Path:
    """The starter's bundle, as shipped or after its night: made once and kept."""
    work = _work(options)
    folder = work / name
    if folder.is_dir():
        return folder
    base = starter("packaged" if name.startswith("on_eyes") else "none", HOME, print)
    chunks = golden.drawn(base)
    if name.endswith("night"):
        recipe = Recipe(
            steps=options.steps, variations=options.variations, replay=options.replay, threads=options.threads
        )
        taught = [shots for drive, shots in drives.items() if drive != options.held_out]
        known = replay(base, Layout.of(base), recipe, print, cache=work / "replay")
        lora.train(
            base, examples(taught, Layout.of(base), recipe), known, recipe, work / f"{name}-training", progress=print
        )
    label = Label(f"streets-{name}".replace("_", "-"), base.name, "", base.intended_use, dict(base.thresholds), 0.0)
    export_bundle(exportable(base), label, folder, golden_chunks=chunks, progress=print)
    return folder


def _work(options: argparse.Namespace) -> Path:
    return WORK / f"{options.held_out}-{options.steps}"


def examples(taught: Sequence[Shots], layout: Layout, recipe: Recipe) -> list[Example]:
    """Each picture as itself, in a mirror, and changed, as a night makes them of a dataset's rows."""
    out = []
    for number, shots in enumerate(taught):
        for index, (picture, truth) in enumerate(shots):
            rng = np.random.default_rng([recipe.seed, number, index])
            text = "" if truth.silent else truth.references[0]
            views = ((picture, text), mirror(picture, text))
            for variation in range(recipe.variations):
                image, words = views[variation % 2]
                out.append(from_sentence(vary(image, rng) if variation > 1 else image, words, layout))
    return out


# --- judging ----------------------------------------------------------------------------------------------------------


def _shots(course: Course) -> Shots:
    """The annotated pictures of a drive, each once."""
    return [(frame.image, frame.truth) for frame in course.frames() if frame.sampled and frame.truth is not None]


def _constant(shots: Shots) -> Say:
    sentence = sentences.most_frequent(truth for _, truth in shots)
    return lambda image: sentence


def table(scored: Mapping[str, Mapping[str, Any]]) -> Table:
    """All rows, each slot F1 also as a share of the perfect row."""
    out = Table("", "slot F1", "of perfect", "silence right", "false stops", "stops seen", "false clear")
    for name, row in scored.items():
        value, low, high = row["slot_f1"]
        out.add_row(
            name,
            f"{value:.3f} ({low:.3f} to {high:.3f})",
            f"{row['of_perfect']:.2f}",
            *(_percent(row[key]) for key in ("silence_right", "false_stops", "stop_recall", "false_clear")),
        )
    return out


def _percent(value: Any) -> str:
    share = value[0] if isinstance(value, list) else value
    return "–" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    main()
