"""Rows of an export without what says whose they are.

names        walks and wearers become numbers; ids, places and fields of other tools go
times        count from the beginning of their walk
voices       every sound becomes silence of the same length
pictures     stay as they are kept, but for what cameras write into the file (place, time, owner). Who is to be seen in
             them is hidden afterwards (server.privacy.anonymous)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporters.datasets.collection import CollectedSample
from exporters.datasets.rows import Row
from shared.errors import DatasetError
from shared.jpeg import decode_picture, encode_jpeg
from shared.wav import decode_sound, encode_wav

_PLAIN = frozenset((0xE0, 0xEE))
"""Application segments of a JPEG that are no notes: JFIF, and how Adobe's colours are meant."""


def nameless(rows: Sequence[Row], scratch: Path) -> list[Row]:
    """The same moments, in the same order. scratch: a folder for the media that are made anew; it has to stay until
    the export is written. Raises: DatasetError naming a picture or sound that cannot be read; OSError."""
    numbers = _Numbers.of(rows)
    return [_row(row, numbers, scratch) for row in rows]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What walks and wearers are called instead, and when each walk began."""

    walks: Mapping[str, str]
    begins_s: Mapping[str, float]
    speakers: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Numbers:
        """In the order of the rows."""
        walks = {walk: f"walk{number:04d}" for number, walk in enumerate(dict.fromkeys(map(_walk_of, rows)), start=1)}
        samples = [(_walk_of(row), row.sample) for row in rows if row.sample is not None]
        begins = {walk: min(sample.timestamp for own, sample in samples if own == walk) for walk, _ in samples}
        names = dict.fromkeys(sample.speaker for _, sample in samples if sample.speaker)
        return cls(walks, begins, {"": ""} | {name: f"speaker_{n}" for n, name in enumerate(names, start=1)})


def _row(row: Row, numbers: _Numbers, scratch: Path) -> Row:
    walk = _walk_of(row)
    name = f"{numbers.walks[walk]}{row.name[len(walk) :]}"
    frame = None if row.frame is None else _picture(row.frame, scratch / f"{name}.jpg")
    audio = None if row.audio is None else _silence(row.audio, scratch / f"{name}.wav")
    sample = None if row.sample is None else _sample(row.sample, name, numbers, walk)
    return replace(row, name=name, frame=frame, audio=audio, context="", fields={}, sample=sample)


def _walk_of(row: Row) -> str:
    return row.name.rpartition("_chunk")[0]


def _sample(sample: CollectedSample, name: str, numbers: _Numbers, walk: str) -> CollectedSample:
    at_s = sample.timestamp - numbers.begins_s[walk]
    return replace(sample, id=name, speaker=numbers.speakers[sample.speaker], context="", more={}, timestamp=at_s)


def _picture(path: Path, made: Path) -> Path:
    """The picture, or where cameras' notes are in it, one without them. A missing one is the writer's to name."""
    data = path.read_bytes() if path.is_file() else b""
    if not _has_notes(data):
        return path
    image = decode_picture(data)
    if image is None:
        raise DatasetError(f"The picture {path.name} cannot be read.", hint="See: waycue-server check")
    made.write_bytes(encode_jpeg(image))
    return made


def _has_notes(data: bytes) -> bool:
    """Whether a JPEG has segments that say more than the picture: EXIF, XMP, IPTC, a comment."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == 0xFE or (0xE0 <= kind <= 0xEF and kind not in _PLAIN):
            return True
        at += 2 + max(2, length)
    return False


def _silence(path: Path, made: Path) -> Path:
    if not path.is_file():
        return path
    made.write_bytes(encode_wav(np.zeros(len(decode_sound(path.read_bytes())), np.int16)))
    return made
