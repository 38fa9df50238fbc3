"""Rows of an export without what says whose they are.

names        walks and wearers become numbers; ids, places and fields of other tools go
times        count from the beginning of their walk
voices       every sound becomes silence of the same length
pictures     stay as they are kept, but for what cameras write into the file (place, time, owner). What the device hid
             in them stays hidden (privacy.blur); faces that it did not hide are there
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    walks = {walk: f"walk{number:04d}" for number, walk in enumerate(dict.fromkeys(map(_walk_of, rows)), start=1)}
    begins = {walk: min((_time_of(row) for row in rows if _walk_of(row) == walk), default=0.0) for walk in walks}
    speakers = dict.fromkeys(row.sample.speaker for row in rows if row.sample is not None)
    called = {name: f"speaker_{number}" if name else "" for number, name in enumerate(speakers, start=1)}
    out = []
    for row in rows:
        walk = _walk_of(row)
        name = f"{walks[walk]}{row.name[len(walk) :]}"
        sample = None if row.sample is None else _sample(row.sample, name, called, begins[walk])
        frame = None if row.frame is None else _picture(row.frame, scratch / f"{name}.jpg")
        audio = None if row.audio is None else _silence(row.audio, scratch / f"{name}.wav")
        out.append(replace(row, name=name, frame=frame, audio=audio, context="", fields={}, sample=sample))
    return out


def _walk_of(row: Row) -> str:
    return row.name.rpartition("_chunk")[0]


def _time_of(row: Row) -> float:
    return 0.0 if row.sample is None else row.sample.timestamp


def _sample(sample: CollectedSample, name: str, called: dict[str, str], begins_s: float) -> CollectedSample:
    return replace(
        sample, id=name, speaker=called[sample.speaker], context="", more={}, timestamp=sample.timestamp - begins_s
    )


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
