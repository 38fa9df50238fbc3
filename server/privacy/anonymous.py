"""People taken out of the pictures and clips of an export: hidden by one detector, checked by another.

What a second one still finds a face or a number plate in is left out, and named. Where there is none the export says
so.
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
from shared.veil import Image, Region

CHECKED_EVERY = 4
"""Of the pictures of a clip: at ten a second nobody's face comes and goes in between."""
HIDDEN_LEAST = 0.5
"""Of what a check finds: so much in blocks, and it is hidden."""
Checked = tuple[Image, Sequence[Region]]
"""A picture, and what of it is in blocks."""


@dataclass(slots=True)
class PeopleReport:
    """What was done about people."""

    hidden_by: str
    checked_by: str
    """"" = there is no second detector of anything."""
    faces: int = 0
    bodies: int = 0
    pictures: int = 0
    """In which something was hidden."""
    left: list[str] = field(default_factory=list)
    """Names of the moments in which a second detector still found something: they are left out."""
    still: dict[str, str] = field(default_factory=dict)
    """Name → what was still found, and by what."""

    def in_words(self) -> str:
        """For the card and the terminal."""
        checked = (
            f"Checked by {self.checked_by}; {len(self.left)} moments in which more was found are left out."
            if self.checked_by
            else "No second detector checked that (waycue-server consent faces, and plates, add them)."
        )
        return (
            f"{self.faces} faces and {self.bodies} parts of persons and vehicles, plates and other writing in"
            f" {self.pictures} pictures are hidden, as far as {self.hidden_by} found them. {checked}"
        )


def without_people(
    rows: Sequence[Row], scratch: Path, finder: PeopleFinder, checks: Sequence[FaceDetector]
) -> tuple[list[Row], PeopleReport]:
    """The rows with what was found in blocks, without those in which a check still finds something.

    scratch: a folder for what is made anew; it has to stay until the export is written
    raises: MediaError, OSError
    """
    report = PeopleReport(finder.names, " and ".join(check.name for check in checks))
    return [row for row in (_row(row, scratch, finder, checks, report) for row in rows) if row is not None], report


def _row(
    row: Row, scratch: Path, finder: PeopleFinder, checks: Sequence[FaceDetector], report: PeopleReport
) -> Row | None:
    frame, looked = _picture(row, scratch, finder, report)
    clip, played = _clip(row, scratch, finder)
    for image, covered in (*looked, *played) if checks else ():
        for check in checks:
            if any(not is_hidden(region, covered) for region in check.find(image)):
                report.left.append(row.name)
                report.still[row.name] = f"{check.name} still finds {check.finds} in it"
                return None
    return replace(row, frame=frame, clip=clip)


def is_hidden(region: Region, covered: Sequence[Region]) -> bool:
    """Whether most of what a check found lies in blocks already: blocks in the place of a plate still look like one."""
    left, top, right, bottom = region
    seen = np.zeros((bottom - top, right - left), bool)
    for one in covered:
        seen[max(0, one[1] - top) : max(0, one[3] - top), max(0, one[0] - left) : max(0, one[2] - left)] = True
    return bool(seen.mean() >= HIDDEN_LEAST)


def _picture(row: Row, scratch: Path, finder: PeopleFinder, report: PeopleReport) -> tuple[Path | None, list[Checked]]:
    """(where the picture lies now, what it shows and what of it is hidden). A missing one is the writer's to name."""
    image = decode_picture(row.frame.read_bytes()) if row.frame is not None and row.frame.is_file() else None
    if image is None:
        return row.frame, []
    found = finder.hide(image)
    report.faces += found.faces
    report.bodies += found.bodies
    if not found.regions:
        return row.frame, [(image, ())]
    report.pictures += 1
    made = scratch / f"{row.name}.hidden.jpg"
    made.write_bytes(encode_jpeg(found.image))
    return made, [(found.image, found.regions)]


def _clip(row: Row, scratch: Path, finder: PeopleFinder) -> tuple[Path | None, Iterator[Checked]]:
    if row.clip is None or not row.clip.is_file():
        return row.clip, iter(())
    found = blurring.hidden_clip(row.clip, finder)
    made = row.clip
    if found.count:
        made = scratch / f"{row.name}.hidden.mp4"
        made.write_bytes(found.data)
    return made, _some_of(made, found.regions)


def _some_of(clip: Path, covered: Sequence[Sequence[Region]]) -> Iterator[Checked]:
    played = footage.play(footage.find(clip), every_s=1 / blurring.CLIP_FPS)
    for number, (_, image) in enumerate(played):
        if number % CHECKED_EVERY == 0:
            yield np.asarray(image), covered[number] if number < len(covered) else ()
