"""The picture, the sound and the earlier picture of a row, read from the dataset's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.dataset import pictures
from server.dataset.sample_row import SampleRow
from server.labelling import footage
from shared.chunk_format import CHUNK_S
from shared.errors import MediaError
from shared.wav import decode_sound

BEFORE_S = 0.25
"""How long before a picture the one before it was taken: one look, at the 4 a second that a device takes."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What a model is given beside the newest picture."""

    before: bool = False
    """The picture one look before."""
    sound: bool = False


def picture(folder: Path, row: SampleRow) -> NDArray[np.uint8]:
    """The frame of a row, uint8 [h, w, 3] RGB. Raises: DatasetError where the file is missing or broken."""
    return pictures.read(folder / row.frame_path, of=f" of sample {row.sample_id}")


def readable(folder: Path, rows: Sequence[SampleRow], senses: Senses) -> tuple[list[SampleRow], list[str]]:
    """(rows whose picture is whole, one line for each file that is not).

    A row without its picture is put aside. One without its sound, or its clip, still teaches what it shows.
    """
    whole, aside = list[SampleRow](), list[str]()
    for row in rows:
        _, why = pictures.load(folder / row.frame_path)
        if why:
            aside.append(f"put aside: sample {row.sample_id}, {row.frame_path}: {why}")
            continue
        whole.append(row)
        for kind, path, wanted, read in (
            ("sound", row.audio_path, senses.sound, sound),
            ("clip", row.clip_path, senses.before, before),
        ):
            if wanted and path and read(folder, row) is None:
                aside.append(f"without its {kind}: sample {row.sample_id}, {path}: it cannot be read")
    return whole, aside


def sound(folder: Path, row: SampleRow) -> NDArray[np.float32] | None:
    """What the microphone heard in the two seconds around the row's picture.

    float32 [samples] at 16 kHz; None where there is no sound, or none that can be read.
    """
    file = folder / row.audio_path
    if not row.audio_path or not file.is_file():
        return None
    try:
        heard = decode_sound(file.read_bytes())
    except (MediaError, OSError):
        return None
    return heard if heard.size else None


def before(folder: Path, row: SampleRow) -> NDArray[np.uint8] | None:
    """The picture one look before the row's own, uint8 [h, w, 3] RGB, out of its clip; None where it cannot be read."""
    if not row.clip_path or not (folder / row.clip_path).is_file():
        return None
    try:
        clip = footage.find(folder / row.clip_path)
        return footage.picture_at(clip, max(0.0, (row.duration_s or CHUNK_S) / 2 - BEFORE_S))
    except (MediaError, OSError):
        return None
