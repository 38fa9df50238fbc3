"""Which rows of the dataset teach, and how they become examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server.dataset import SampleRow
from server.learn.batches import Example, Layout, from_sentence, mirror, vary
from server.learn.evaluate import Case
from shared import vocabulary
from shared.errors import DatasetError


def teaching(rows: Sequence[SampleRow]) -> list[SampleRow]:
    """Rows of the training split that a person confirmed with words the vocabulary knows, or as silence."""
    return [row for row in rows if row.reviewed and row.split == "train" and may_teach(row.ground_truth)]


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


def examples(folder: Path, rows: Sequence[SampleRow], layout: Layout, *, variations: int, seed: int) -> list[Example]:
    """Each row as itself, in a mirror, and as changed pictures: `variations` in all. Raises: DatasetError."""
    out = []
    for row in rows:
        image = picture(folder, row)
        rng = np.random.default_rng([seed, int.from_bytes(row.sample_id.encode()[-6:], "big")])
        views = ((image, row.ground_truth), mirror(image, row.ground_truth))
        for index in range(variations):
            view, text = views[index % 2]
            out.append(from_sentence(vary(view, rng) if index >= len(views) else view, text, layout))
    return out


def cases(folder: Path, rows: Sequence[SampleRow]) -> list[Case]:
    """What a night is judged on besides rendered frames: held-out rows, and every verified correction."""
    out = []
    for row in rows:
        held_out, correction = row.split == "held_out", bool(row.correction_id)
        if row.reviewed and may_teach(row.ground_truth) and (held_out or correction):
            group = "held_out" if held_out else "correction"
            out.append(Case(row.sample_id, group, picture(folder, row), row.ground_truth or vocabulary.CLEAR))
    return out
