"""People taken out of the pictures and clips of an export: hidden by one detector, checked by another.

What the second still finds a face in is left out, and named. Where there is no second one the export says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from exporters.datasets.rows import Row
from server.labelling import footage
from server.privacy import blurring
from server.privacy.blurring import PeopleFinder
from server.privacy.faces import FaceDetector
from shared.jpeg import decode_picture, encode_jpeg
from shared.veil import Image

CHECKED_EVERY = 4
"""Of the pictures of a clip: at ten a second nobody's face comes and goes in between."""


@dataclass(slots=True)
class PeopleReport:
    """What was done about people."""

    hidden_by: str
    checked_by: str
    """"" = there is no second detector."""
    faces: int = 0
    bodies: int = 0
    pictures: int = 0
    """In which something was hidden."""
    left: list[str] = field(default_factory=list)
    """Names of the moments in which the second detector still found a face: they are left out."""

    def in_words(self) -> str:
        """For the card and the terminal."""
        checked = (
            f"Checked by {self.checked_by}, which found {len(self.left)} more: these moments are left out."
            if self.checked_by
            else "No second detector checked that (waycue-server consent faces adds one)."
        )
        return (
            f"{self.faces} faces and {self.bodies} parts of persons and vehicles in {self.pictures} pictures are"
            f" hidden, as far as {self.hidden_by} found them. {checked}"
        )


def without_people(
    rows: Sequence[Row], scratch: Path, finder: PeopleFinder, check: FaceDetector | None
) -> tuple[list[Row], PeopleReport]:
    """The rows with what was found in blocks, without those in which the check still finds a face.

    scratch: a folder for what is made anew; it has to stay until the export is written
    raises: MediaError, OSError
    """
    report = PeopleReport(finder.names, check.name if check else "")
    return [row for row in (_row(row, scratch, finder, check, report) for row in rows) if row is not None], report


def _row(row: Row, scratch: Path, finder: PeopleFinder, check: FaceDetector | None, report: PeopleReport) -> Row | None:
    frame, looked = _picture(row, scratch, finder, report)
    clip, played = _clip(row, scratch, finder)
    if check is not None and any(check.find(image) for image in (*looked, *played)):
        report.left.append(row.name)
        return None
    return replace(row, frame=frame, clip=clip)


def _picture(row: Row, scratch: Path, finder: PeopleFinder, report: PeopleReport) -> tuple[Path | None, list[Image]]:
    """(where the picture lies now, what it shows). A missing one is the writer's to name."""
    image = decode_picture(row.frame.read_bytes()) if row.frame is not None and row.frame.is_file() else None
    if image is None:
        return row.frame, []
    found = finder.hide(image)
    report.faces += found.faces
    report.bodies += found.bodies
    if not found.faces and not found.bodies:
        return row.frame, [image]
    report.pictures += 1
    made = scratch / f"{row.name}.hidden.jpg"
    made.write_bytes(encode_jpeg(found.image))
    return made, [found.image]


def _clip(row: Row, scratch: Path, finder: PeopleFinder) -> tuple[Path | None, Iterator[Image]]:
    if row.clip is None or not row.clip.is_file():
        return row.clip, iter(())
    data, count = blurring.hidden_clip(row.clip, finder)
    made = row.clip
    if count:
        made = scratch / f"{row.name}.hidden.mp4"
        made.write_bytes(data)
    return made, _some_of(made)


def _some_of(clip: Path) -> Iterator[Image]:
    played = footage.play(footage.find(clip), every_s=1 / blurring.CLIP_FPS)
    for number, (_, image) in enumerate(played):
        if number % CHECKED_EVERY == 0:
            yield np.asarray(image)
