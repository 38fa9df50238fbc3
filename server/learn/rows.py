"""Which rows of the dataset teach, and how they become examples."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server import footage
from server.dataset import SampleRow
from server.learn import pictures
from server.learn.batches import Example, Layout, from_sentence, mirror, vary
from server.speech.sound import read_wav
from shared import vocabulary
from shared.errors import MediaError

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
    return pictures.read(file, of=of)


def judged(rows: Sequence[SampleRow]) -> list[SampleRow]:
    """Rows that a night is judged or calibrated on: confirmed ones that are held out or golden, and every verified
    correction."""
    kept = (row for row in rows if row.reviewed and may_teach(row.ground_truth))
    return [row for row in kept if row.split != "train" or row.golden or row.correction_id]


def tonight(teaching: Sequence[SampleRow], new: Sequence[SampleRow], *, most: int, seed: int) -> list[SampleRow]:
    """The rows that teach in one night, in the order of `teaching`: all, or `most` of them where there are more.

    A night draws so many pictures and no more, whatever the dataset holds. Half of the places then go to rows that no
    version has seen yet, the others to any: what is new comes in over some nights, what was learnt is not forgotten.
    """
    if len(teaching) <= most:
        return list(teaching)
    rng = np.random.default_rng([seed, len(teaching) - len(new)])
    first = {new[at].row_id for at in rng.permutation(len(new))[: most // 2]}
    others = [row.row_id for row in teaching if row.row_id not in first]
    chosen = first | {others[at] for at in rng.permutation(len(others))[: most - len(first)]}
    return [row for row in teaching if row.row_id in chosen]


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
            ("sound", row.audio_path, senses.sound, sound), ("clip", row.clip_path, senses.before, before),
        ):  # fmt: skip
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
        heard = read_wav(file.read_bytes())
    except (MediaError, OSError):
        return None
    return heard if heard.size else None


def before(folder: Path, row: SampleRow) -> NDArray[np.uint8] | None:
    """The picture one look before the row's own, out of its clip; None where there is no clip that can be read."""
    if not row.clip_path or not (folder / row.clip_path).is_file():
        return None
    try:
        clip = footage.find(folder / row.clip_path)
        return footage.picture_at(clip, max(0.0, (row.duration_s or footage.CHUNK_S) / 2 - BEFORE_S))
    except (MediaError, OSError):
        return None


def examples(
    folder: Path,
    rows: Sequence[SampleRow],
    layout: Layout,
    *,
    variations: int,
    seed: int,
    senses: Senses | None = None,
    most: int | None = None,
) -> list[Example]:
    """Each row as itself, in a mirror, and as changed pictures: `variations` in all.

    most: of all rows together; each then gives fewer of its views, at least one, drawn by lot
    raises: DatasetError
    """
    given = senses or Senses()
    each = variations if most is None else min(variations, max(1, most // max(1, len(rows))))
    return [view for row in rows for view in _views(folder, row, layout, (variations, each), seed, given)]


def _views(
    folder: Path, row: SampleRow, layout: Layout, counts: tuple[int, int], seed: int, senses: Senses
) -> Iterator[Example]:
    """counts: how many views there are, and how many are wanted"""
    image, text = picture(folder, row), row.ground_truth
    earlier = before(folder, row) if senses.before else None
    heard = sound(folder, row) if senses.sound else None
    flipped, mirrored = mirror(image, text)
    views = ((image, text, earlier), (flipped, mirrored, None if earlier is None else mirror(earlier, "")[0]))
    number = int.from_bytes(row.sample_id.encode()[-6:], "big")
    rng = np.random.default_rng([seed, number])
    variations, each = counts
    wanted = range(variations) if each >= variations else sorted(rng.permutation(variations)[:each])
    for index in wanted:
        view, words, previous = views[index % 2]
        if index >= len(views):
            twin = copy.deepcopy(rng)  # both pictures of a moment are changed alike
            view = vary(view, rng)
            previous = None if previous is None else vary(previous, twin)
        deaf = index % DEAF == DEAF - 1
        yield from_sentence(view, words, layout, previous=previous, sound=None if deaf else heard)
