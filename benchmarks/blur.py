"""What blurring costs, and what it misses, on real pictures (../shared/data/streets, which is no part of waycue).

    make bench NAME=blur [a minute or two; writes build/bench/blur.json]
    .venv/bin/python -m benchmarks.blur [--data DIR] [--eyes FILE]

The packaged eyes look at each picture; a labelled person or vehicle counts as hidden where a blurred region covers the
middle of what blurring is about: of a person's head, of a vehicle's lower half. The labels come from masks: a middle,
the lowest edge and an area, so that heights are taken from typical shapes. Persons of a street scene from a car are
small: what is found of them is told by size. Without the pictures, or the eyes, this says so and ends well.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.streets import DATA, eyes_folder
from server.evaluation.annotated import LABELS
from shared import atomic
from shared.errors import WaycueError
from shared.runtime import GuidanceModel
from shared.veil import Region, blurred, regions

OUT = Path("build/bench/blur.json")
SIZES = (0.002, 0.005, 0.02, 1.0)
"""Upper bounds of the area, as shares of the picture."""
ASPECT = {"person": 2.6, "vehicle": 0.8}
"""Height / width of a typical one, in pixels."""
MIDDLE = {"person": 0.85, "vehicle": 0.25}
"""How far above its lowest edge, as a share of its height, lies what must be hidden."""

ELSEWHERE = 40
"""Pictures before: a different place of the drive."""


@dataclass(frozen=True, slots=True)
class Found:
    """Of one kind and size."""

    object: str
    area_most: float
    labelled: int
    hidden: int
    by_chance: int
    """With the regions of another place: the control."""


Tally = dict[tuple[str, float], list[tuple[bool, bool]]]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write blur.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--eyes", type=Path)
    options, console = parser.parse_args(argv), Console()
    if not (options.data / LABELS).is_file():
        console.print(f"blur: skipped, there are no pictures in {options.data}")
        return
    try:
        model = GuidanceModel.load(eyes_folder(options.eyes, console), allow_demo=True, threads=1)
    except WaycueError as error:
        console.print(f"blur: skipped, {error}")
        return
    tally, spent_ms, covered = _measured(model, options.data)
    rows = [
        Found(name, most, len(hits), sum(hit for hit, _ in hits), sum(chance for _, chance in hits))
        for (name, most), hits in sorted(tally.items())
    ]
    _show(console, rows, float(np.mean(spent_ms)), float(np.mean(covered)), len(spent_ms))


def _measured(model: GuidanceModel, folder: Path) -> tuple[Tally, list[float], list[float]]:
    """Per kind and size what was hidden, and by chance; per picture, ms of blurring and the share in blocks."""
    tally, spent_ms, covered, before = Tally(), list[float](), list[float](), list[list[Region]]()
    for image, labels in _pictures(folder):
        height, width = image.shape[:2]
        found = regions(model.look(image).boxes, width=width, height=height)
        elsewhere = before[-ELSEWHERE] if len(before) >= ELSEWHERE else []
        began_s = time.process_time()
        out = blurred(image, found)
        spent_ms.append((time.process_time() - began_s) * 1000)
        covered.append(float((out != image).any(axis=2).mean()))
        before.append(found)
        for label in (one for one in labels if one["object"] in ASPECT):
            size = next(most for most in SIZES if label["area"] <= most)
            hits = (_hidden(label, parts, width=width, height=height) for parts in (found, elsewhere))
            tally.setdefault((label["object"], size), []).append((next(hits), next(hits)))
    return tally, spent_ms, covered


def _pictures(folder: Path) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    for line in (folder / LABELS).read_text().splitlines():
        row = json.loads(line)
        image = cv2.imread(str(folder / row["frame_path"]))
        if image is not None:
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), row["objects"]


def _hidden(label: dict[str, Any], found: Sequence[Region], *, width: int, height: int) -> bool:
    """Whether a region covers what must not be seen of it."""
    name = label["object"]
    tall_px = (label["area"] * width * height * ASPECT[name]) ** 0.5
    x, y = label["cx"] * width, label["bottom"] * height - MIDDLE[name] * tall_px
    return any(left <= x < right and top <= y < bottom for left, top, right, bottom in found)


def _show(console: Console, rows: Sequence[Found], ms: float, covered: float, pictures: int) -> None:
    table = Table("object", "area at most", "labelled", "hidden", "by chance")
    for row in rows:
        shares = (f"{row.hidden / row.labelled:.0%}", f"{row.by_chance / row.labelled:.0%}")
        table.add_row(row.object, f"{row.area_most:g}", str(row.labelled), *shares)
    console.print(table)
    console.print(f"{ms:.2f} ms of processor time a picture, {covered:.1%} of it in blocks, {pictures} pictures")
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, {"ms": ms, "covered": covered, "pictures": pictures, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
