"""Hugging Face imagefolder: `load_dataset("imagefolder", data_dir=...)` reads pictures with their text.

    train/{walk}_chunk{NNNN}.jpg        the training split
    train/metadata.jsonl                {"file_name", "text"}
    validation/...  test/...            the golden set, and the held-out walks; a split without rows has no folder

source: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Row, usable

_SPLITS = {"train": "train", "held_out": "test", "golden": "validation"}


def write(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    lines: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    left_out = LeftOut()
    for row in usable(rows, "frame", left_out=left_out):
        split = _SPLITS[row.split]
        folder.place(row.file("frame"), f"{split}/{row.name}.jpg")
        lines[split].append({"file_name": f"{row.name}.jpg", "text": row.text})
    for split, entries in lines.items():
        folder.write_lines(f"{split}/metadata.jsonl", entries)
    return left_out
