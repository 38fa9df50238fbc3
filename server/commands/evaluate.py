"""`waycue-server evaluate`: how good is a bundle, as the wearer would have heard it?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.label import FILM_FPS
from shared import atomic
from shared.errors import ConfigError

if TYPE_CHECKING:
    from server.evaluation.facts import Course, Drive
    from shared.runtime import GuidanceModel
    from shared.sight import Camera

RENDERED_MINUTES = 1.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "evaluate",
        help="score a bundle on walks with known truth, through the device's own runtime and policy",
        description="Judges what the wearer would have heard: events warned of in time, false alarms, slot F1, "
        "calibration, and how long it took.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle folder, or a version of `models list`")
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        nargs="?",
        type=Path,
        help="a video with NAME.references.jsonl beside it, or a folder with such videos, labels.jsonl or "
        "metadata.jsonl; none with --rendered",
    )
    parser.add_argument("--rendered", type=int, metavar="N", help="judge on N rendered walks instead: exact truth")
    parser.add_argument(
        "--minutes",
        type=float,
        default=RENDERED_MINUTES,
        metavar="M",
        help="length of each rendered walk (%(default)g)",
    )
    parser.add_argument("--seed", type=int, default=1, help="other rendered walks for another number (%(default)s)")
    parser.add_argument("--looks", type=float, default=4.0, metavar="PER_S", help="looks a second (%(default)g)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of the model (%(default)s)")
    parser.add_argument(
        "--camera",
        metavar="HEIGHT,PITCH,FOV",
        help="where the camera of the recording was: metres above the ground, degrees down, degrees from edge to edge "
        "(1.3,10,62); distances of boxes follow from it",
    )
    parser.add_argument("--film-fps", type=float, default=0.0, metavar="N", help=FILM_FPS)
    parser.add_argument(
        "--timed",
        action="store_true",
        help="let the model's time pass on the walk too: looks that fall due while it works are skipped",
    )
    parser.add_argument(
        "--against",
        metavar="BUNDLE",
        help="drive another bundle on the same walks too, as a row beside this one: the shipped starter, the champion",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a one-page report with plots and pictures")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate and print; 0 also where a bar is missed: the figures are the result."""
    from server.evaluation import page, summary

    _check(options)
    model, other = _load(options.bundle, options), _load(options.against, options) if options.against else None
    drives, beside = _drive(model, other, options)
    manifest = model.manifest
    about = {"version": manifest.version, "base": manifest.base, "thresholds": dict(manifest.thresholds)}
    whole = summary.summarise(drives, bundle=about, dataset=_name(options), beside=beside)
    if options.json:
        atomic.write_json(options.json, whole)
    if options.html:
        atomic.write_bytes(options.html, page.render(whole, drives).encode())
    print("\n".join(_lines(summary.headlines(whole), whole["bars"])))
    print("\n".join(["", *_table(summary.compared(whole))]))
    return 0


def _load(bundle: str, options: argparse.Namespace) -> GuidanceModel:
    from shared.runtime import GuidanceModel

    return GuidanceModel.load(
        _folder(bundle, options.home), threads=options.threads, allow_demo=True, camera=_camera(options)
    )


def _drive(
    model: GuidanceModel, other: GuidanceModel | None, options: argparse.Namespace
) -> tuple[list[Drive], dict[str, list[Drive]]]:
    """The model's drives, and those of the rows beside it."""
    from server.evaluation.drive import DriveSettings, drive
    from server.evaluation.rows import KeptCourse, drive_rows
    from shared.policy import PolicySettings

    settings = DriveSettings(looks_per_s=options.looks, timed=options.timed, pictures=options.html is not None)
    drives: list[Drive] = []
    kept: list[KeptCourse] = []
    against: list[Drive] = []
    for course in _courses(options):
        kept.append(KeptCourse(course))
        drives.append(drive(model, kept[-1].first, PolicySettings(), settings))
        if other is not None:
            against.append(drive(other, course, PolicySettings(), replace(settings, pictures=False)))
        print(f"{course.name}: {len(drives[-1].utterances)} spoken", file=sys.stderr, flush=True)
    rows = drive_rows(kept, settings)
    return drives, rows if other is None else {**rows, other.manifest.version: against}


def _check(options: argparse.Namespace) -> None:
    if (options.dataset is None) == (options.rendered is None):
        raise ConfigError("Nothing to evaluate on, or two things.", hint="Give either DATASET or --rendered N.")
    if options.rendered is not None and (options.rendered < 1 or options.minutes <= 0):
        raise ConfigError(
            f"--rendered {options.rendered} of {options.minutes:g} minutes is no walk.", hint="Give 1 or more."
        )
    if options.looks <= 0 or options.threads < 1:
        raise ConfigError("--looks and --threads must be above 0.")
    if options.dataset is not None and not options.dataset.exists():
        raise ConfigError(f"There is no {options.dataset}.", hint="Name a video or a folder.")


def _camera(options: argparse.Namespace) -> Camera | None:
    if options.camera is None:
        return None
    from shared.sight import Camera

    try:
        height_m, pitch_deg, fov_deg = map(float, options.camera.split(","))
    except ValueError:
        raise ConfigError(f"--camera {options.camera} is no place.", hint="Three numbers: --camera 1.3,10,62") from None
    return Camera(height_m, pitch_deg, fov_deg)


def _folder(bundle: str, home: Path) -> Path:
    folder = Path(bundle)
    if folder.is_dir():
        return folder
    from server.releases.registry import Registry

    return Registry(home).bundle_folder(bundle)


def _courses(options: argparse.Namespace) -> Iterable[Course]:
    from server.evaluation import annotated, rendered

    if options.rendered is not None:
        return rendered.courses(options.rendered, minutes=options.minutes, seed=options.seed)
    return annotated.courses(options.dataset, looks_per_s=options.looks, untimed_fps=options.film_fps)


def _name(options: argparse.Namespace) -> str:
    if options.rendered is None:
        return str(options.dataset.resolve().name)
    return f"{options.rendered} rendered walks of {options.minutes:g} min, seed {options.seed}"


def _lines(rows: Iterable[tuple[str, str]], bars: Iterable[dict[str, object]]) -> Iterable[str]:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    yield from (f"{name:<{width}}  {value}" for name, value in rows)
    yield ""
    for bar in bars:
        yield f"{'met   ' if bar['met'] else 'MISSED'}  {bar['name']}: {bar['value']} ({bar['wanted']}){_perfect(bar)}"


def _perfect(bar: Mapping[str, object]) -> str:
    """What a perfect model reaches through the same policy."""
    if bar["perfect"] is None:
        return ""
    share = "" if bar["of_perfect"] is None else f", {bar['of_perfect']:.0%} of it"
    return f"; a perfect model: {bar['perfect']}{share}"


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Figure by figure, for a narrow terminal and a screen reader: each with the value of every row."""
    names = [row[0] for row in rows[1:]]
    width = max(map(len, names))
    for at, heading in enumerate(rows[0][1:], start=1):
        yield heading
        yield from (f"  {name:<{width}}  {row[at]}" for name, row in zip(names, rows[1:], strict=True))
