"""`waycue-server evaluate`: how good is a bundle, as the wearer would have heard it?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from shared import atomic
from shared.errors import ConfigError

if TYPE_CHECKING:
    from server.evaluation.facts import Course
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
    parser.add_argument(
        "--timed",
        action="store_true",
        help="let the model's time pass on the walk too: looks that fall due while it works are skipped",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a one-page report with plots and pictures")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate and print; 0 also where a bar is missed: the figures are the result."""
    from server.evaluation import page, summary
    from server.evaluation.drive import DriveSettings, drive
    from shared.policy import PolicySettings
    from shared.runtime import GuidanceModel

    _check(options)
    folder = _bundle(options)
    model = GuidanceModel.load(folder, threads=options.threads, allow_demo=True, camera=_camera(options))
    settings = DriveSettings(looks_per_s=options.looks, timed=options.timed, pictures=options.html is not None)
    drives = []
    for course in _courses(options):
        drives.append(drive(model, course, PolicySettings(), settings))
        print(f"{course.name}: {len(drives[-1].utterances)} spoken", file=sys.stderr, flush=True)
    manifest = model.manifest
    about = {"version": manifest.version, "base": manifest.base, "thresholds": dict(manifest.thresholds)}
    whole = summary.summarise(drives, bundle=about, dataset=_name(options))
    if options.json:
        atomic.write_json(options.json, whole)
    if options.html:
        atomic.write_bytes(options.html, page.render(whole, drives).encode())
    print("\n".join(_lines(summary.headlines(whole), whole["bars"])))
    return 0


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


def _bundle(options: argparse.Namespace) -> Path:
    folder = Path(options.bundle)
    if folder.is_dir():
        return folder
    from server.releases.registry import Registry

    return Registry(options.home).bundle_folder(options.bundle)


def _courses(options: argparse.Namespace) -> Iterable[Course]:
    from server.evaluation import annotated, rendered

    if options.rendered is not None:
        return rendered.courses(options.rendered, minutes=options.minutes, seed=options.seed)
    return annotated.courses(options.dataset, looks_per_s=options.looks)


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
        yield f"{'met   ' if bar['met'] else 'MISSED'}  {bar['name']}: {bar['value']} ({bar['wanted']})"
