"""Hugging Face imagefolder: `load_dataset("imagefolder", data_dir=...)` reads pictures with their text.

    train/{walk}_chunk{NNNN}.jpg        the training split
    train/metadata.jsonl                {"file_name", "text"}
    validation/...  test/...            the golden set, and the held-out walks; a split without rows has no folder

source: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

from collections.abc import Sequence

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Progress, Row, count, no_progress, without

_SPLITS = {"train": "train", "held_out": "test", "golden": "validation"}


def write(rows: Sequence[Row], folder: ExportFolder, *, progress: Progress = no_progress) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    lines: dict[str, list[dict[str, str]]] = {}
    left_out = LeftOut()
    for done, row in enumerate(rows, start=1):
        progress(done)
        reason = without(row, "frame")
        if reason or row.frame is None:
            count(left_out, reason)
            continue
        split = _SPLITS[row.split]
        folder.place(row.frame, f"{split}/{row.name}.jpg")
        lines.setdefault(split, []).append({"file_name": f"{row.name}.jpg", "text": row.text})
    for split, entries in lines.items():
        folder.write_lines(f"{split}/metadata.jsonl", entries)
    return left_out
