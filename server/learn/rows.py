"""Which rows of the dataset teach, and how they become examples."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server import footage
from server.dataset import SampleRow
from server.learn.batches import Example, Layout, from_sentence, mirror, vary
from server.speech.sound import read_wav
from shared import vocabulary
from shared.errors import DatasetError, MediaError

BEFORE_S = 0.25
"""How long before a picture the one before it was taken: one look, at the 4 a second that a device takes."""
DEAF = 4
"""Every fourth view of a moment is without its sound: a microphone that fails must not take guidance with it."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What a model is given beside the newest picture."""

    before: bool = False
    """The picture one look before."""
    sound: bool = False


def teaching(rows: Sequence[SampleRow]) -> list[SampleRow]:
    """Rows of the training split, golden moments left out, that a person confirmed with words the vocabulary knows, or
    as silence."""
    return [
        row for row in rows if row.reviewed and row.split == "train" and not row.golden and may_teach(row.ground_truth)
    ]


def may_teach(text: str) -> bool:
    """Whether a confirmed sentence can be a target: silence, or clean under the grammar."""
    return text == "" or not vocabulary.problems(text)


def picture(folder: Path, row: SampleRow) -> NDArray[np.uint8]:
    """The frame of a row, uint8 [h, w, 3] RGB. Raises: DatasetError where the file is missing or broken."""
    return read_picture(folder / row.frame_path, of=f" of sample {row.sample_id}")


def read_picture(file: Path, *, of: str = "") -> NDArray[np.uint8]:
    """A picture file as uint8 [h, w, 3] RGB. Raises: DatasetError where it is missing or broken."""
    try:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV takes, says its header
        image = None
    if image is None:
        raise DatasetError(
            f"The picture {file.name}{of} cannot be read.", hint="Restore it from a backup, or reject the sample."
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]  # uint8 as read


def sound(folder: Path, row: SampleRow) -> NDArray[np.float32] | None:
    """What the microphone heard in the two seconds around the row's picture.

    float32 [samples] at 16 kHz; None where there is no sound, or none that can be read.
    """
    file = folder / row.audio_path
    if not row.audio_path or not file.is_file():
        return None
    try:
        return read_wav(file.read_bytes())
    except MediaError:
        return None


def before(folder: Path, row: SampleRow) -> NDArray[np.uint8] | None:
    """The picture one look before the row's own, out of its clip; None where there is no clip that can be read."""
    if not row.clip_path or not (folder / row.clip_path).is_file():
        return None
    try:
        clip = footage.find(folder / row.clip_path)
        return footage.picture_at(clip, max(0.0, (row.duration_s or footage.CHUNK_S) / 2 - BEFORE_S))
    except MediaError:
        return None


def examples(
    folder: Path, rows: Sequence[SampleRow], layout: Layout, *, variations: int, seed: int, senses: Senses | None = None
) -> list[Example]:
    """Each row as itself, in a mirror, and as changed pictures: `variations` in all. Raises: DatasetError."""
    given = senses or Senses()
    return [view for row in rows for view in _views(folder, row, layout, variations, seed, given)]


def _views(
    folder: Path, row: SampleRow, layout: Layout, variations: int, seed: int, senses: Senses
) -> Iterator[Example]:
    image, text = picture(folder, row), row.ground_truth
    earlier = before(folder, row) if senses.before else None
    heard = sound(folder, row) if senses.sound else None
    flipped, mirrored = mirror(image, text)
    views = ((image, text, earlier), (flipped, mirrored, None if earlier is None else mirror(earlier, "")[0]))
    number = int.from_bytes(row.sample_id.encode()[-6:], "big")
    rng = np.random.default_rng([seed, number])
    for index in range(variations):
        view, words, previous = views[index % 2]
        if index >= len(views):
            twin = copy.deepcopy(rng)  # both pictures of a moment are changed alike
            view = vary(view, rng)
            previous = None if previous is None else vary(previous, twin)
        deaf = index % DEAF == DEAF - 1
        yield from_sentence(view, words, layout, previous=previous, sound=None if deaf else heard)
