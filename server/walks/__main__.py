"""`python -m server.walks`: look at rendered walks, write them as videos, print their truth."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server.walks.chunks import chunk_truths
from server.walks.frames import random_frame
from server.walks.route import ROUTES, walk_from_name
from server.walks.truth import DRAWN, HELD_BACK, KNOWN, Rendered
from server.walks.video import write_video
from server.walks.walk import Walk
from shared import atomic
from shared.errors import ConfigError, WaycueError

_EPILOG = """examples:
  python -m server.walks list
  python -m server.walks frame --object bollard --seed 3 --out bollard.png --mask bollard-mask.png
  python -m server.walks sheet --out sheet.png
  python -m server.walks video --route works --seed 1 --duration 60 --out works.mp4
  python -m server.walks truth --route works --seed 1 --duration 60 > works.jsonl
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    options = parser().parse_args(argv)
    try:
        options.run(options)
    except ConfigError as error:
        return _complain(str(error), 2)
    except (WaycueError, OSError) as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("Interrupted; no half-written file is left.", 130)
    return 0


def _complain(message: str, status: int) -> int:
    print(f"waycue-walks: {message}", file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(
        prog="python -m server.walks",
        description="Rendered first-person walks with exact truth, made of code only.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the routes, and the things that can be drawn")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=_list)
    frame = commands.add_parser("frame", help="one random frame as PNG; prints what it should make the device say")
    _seeded(frame)
    frame.add_argument("--object", metavar="NAME", help="make this the thing that is named (default: any)")
    _sized(frame, "160x120")
    frame.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    frame.add_argument(
        "--mask", type=Path, help="also write the class mask (gray PNG: 0 nothing, i the i-th of `list`)"
    )
    frame.set_defaults(run=_frame)
    sheet = commands.add_parser("sheet", help="a contact sheet: every thing, several times, as PNG")
    _seeded(sheet)
    sheet.add_argument("--columns", type=int, default=8, help="pictures of each thing (default %(default)s)")
    _sized(sheet, "160x120")
    sheet.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    sheet.set_defaults(run=_sheet)
    video = commands.add_parser("video", help="a whole walk as MP4 with sound")
    _routed(video)
    _sized(video, "640x480")
    video.add_argument("--fps", type=int, default=15, help="frames a second (default %(default)s)")
    video.add_argument("--out", type=Path, required=True, help="the MP4 file to write")
    video.set_defaults(run=_video)
    truth = commands.add_parser("truth", help="the truth of a walk, one JSON line per chunk of 2 s")
    _routed(truth)
    truth.add_argument("--out", type=Path, help="the file to write (default: print)")
    truth.set_defaults(run=_truth)
    return root


def _seeded(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same result (default %(default)s)")


def _sized(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--size", type=_size, default=_size(default), metavar="WxH", help=f"pixels (default {default})")


def _routed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--route", choices=tuple(ROUTES), default="town", help="where it goes; see `list` (default %(default)s)"
    )
    _seeded(parser)
    parser.add_argument("--duration", type=float, default=60.0, metavar="S", help="seconds (default %(default)g)")


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 640x480") from error
    if not (96 <= width <= 4096 and 72 <= height <= 4096):
        raise argparse.ArgumentTypeError(f"{text} is outside 96x72 to 4096x4096")
    return width, height


def _list(options: argparse.Namespace) -> None:
    if options.json:
        routes = {name: {"about": r.about, "objects": list(r.objects), "light": r.light} for name, r in ROUTES.items()}
        print(json.dumps({"routes": routes, "drawn": list(DRAWN), "held_back": list(HELD_BACK)}, indent=1))
        return
    print("Routes:")
    for name, route in ROUTES.items():
        print(f"  {name:9} {route.about}")
    print("Things, with their number in a mask:")
    for i, name in enumerate(DRAWN, start=1):
        print(f"  {i:2} {name}{'  (held back from the starter)' if name in HELD_BACK else ''}")


def _render(seed: int, wanted: str | None, size: tuple[int, int]) -> Rendered:
    objects = (*KNOWN, wanted) if wanted in HELD_BACK else KNOWN
    return random_frame(np.random.default_rng(seed), objects=objects, want=wanted, width_px=size[0], height_px=size[1])


def _frame(options: argparse.Namespace) -> None:
    frame = _render(options.seed, options.object, options.size)
    _write_png(options.out, frame.image)
    if options.mask is not None:
        _write_png(options.mask, frame.mask)
    print(frame.instruction)
    for seen in frame.seen:
        print(f"  {seen.object} {seen.side}, {seen.distance_m:.1f} m, {100 * seen.area:.1f} % of the picture")


def _sheet(options: argparse.Namespace) -> None:
    if options.columns < 1:
        raise ConfigError(f"A sheet of {options.columns} columns is empty.", hint="Give --columns 1 or more.")
    rows = []
    for number, name in enumerate(DRAWN):
        pictures = [
            _captioned(_render(options.seed * 1000 + 50 * number + k, name, options.size))
            for k in range(options.columns)
        ]
        rows.append(np.hstack(pictures))
    _write_png(options.out, np.vstack(rows))
    print(f"{options.out}: {len(DRAWN)} things, {options.columns} pictures each")


def _captioned(frame: Rendered) -> NDArray[np.uint8]:
    picture = np.asarray(cv2.resize(frame.image, (256, 192), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    for tone, thick in (((0, 0, 0), 2), ((255, 255, 90), 1)):
        cv2.putText(picture, frame.instruction, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, tone, thick, cv2.LINE_AA)
    return picture


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    _, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    atomic.write_bytes(path, data.tobytes())


def _planned(options: argparse.Namespace) -> Walk:
    return walk_from_name(options.route, seed=options.seed, duration_s=options.duration)


def _video(options: argparse.Namespace) -> None:
    walk = _planned(options)
    width_px, height_px = options.size
    shown = -1

    def progress(share: float) -> None:
        nonlocal shown
        if sys.stderr.isatty() and int(100 * share) != shown:
            shown = int(100 * share)
            print(f"\r{shown:3} %", end="\n" if share >= 1.0 else "", file=sys.stderr, flush=True)

    write_video(walk, options.out, fps=options.fps, width_px=width_px, height_px=height_px, progress=progress)
    print(f"{options.out}: route {walk.name}, {walk.duration_s:g} s, {width_px} x {height_px}, {options.fps} frames/s")


def _truth(options: argparse.Namespace) -> None:
    lines = "".join(json.dumps(chunk.as_json()) + "\n" for chunk in chunk_truths(_planned(options)))
    if options.out is None:
        sys.stdout.write(lines)
    else:
        atomic.write_bytes(options.out, lines.encode())


if __name__ == "__main__":
    sys.exit(main())
