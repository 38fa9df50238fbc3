"""Reads QVED-type `fine_grained_labels.json`: videos with labels, grouped by what is done in them.

One list of {"video_path", "exercise"?, "labels_descriptive"?, "labels"?}. The class is `exercise`, else the folder that
the video lies in. The text is `labels_descriptive`, else the first of `labels`.

source: QVED's conversion for Mobile-VideoGPT, https://github.com/Amshaker/Mobile-VideoGPT
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.datasets.rows import LeftOut, Row
from shared.errors import DatasetError


def read(file: Path, *, videos: Path) -> tuple[list[Row], LeftOut]:
    """Rows in the file's order, and what was left out. `context` of a row is its class.

    videos: the folder that relative paths start from
    raises: DatasetError where the file is not such a list; OSError
    """
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error}).") from None
    if not isinstance(records, list):
        raise DatasetError(f"{file} is not a list of labels.", hint="Name a fine_grained_labels.json.")
    rows, left_out = [], LeftOut()
    for number, record in enumerate(records):
        record = record if isinstance(record, dict) else {}
        path, text = record.get("video_path"), label(record)
        if not isinstance(path, str) or not path:
            left_out["no video_path"] += 1
        elif not text:
            left_out["no label"] += 1
        elif not inside(videos, path):
            left_out[f"{file}, entry {number + 1}: {path!r:.200} is missing, or lies outside of {videos}"] += 1
        else:
            stem = f"{number:05d}_{Path(path).stem}"
            rows.append(Row(name=stem, text=text, clip=videos / path, context=class_of(record)))
    return rows, left_out


def inside(root: Path, path: str) -> bool:
    """Whether a path leads to a file below the root, links followed: nothing else of this machine is ever read."""
    try:
        found = (root / path).resolve()
        return found.is_file() and found.is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        return False


def label(record: Mapping[str, Any]) -> str:
    """The most descriptive label, "" = none. Pure."""
    descriptive, labels = record.get("labels_descriptive"), record.get("labels")
    text = descriptive or (labels[0] if isinstance(labels, list) and labels else labels) or ""
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)


def class_of(record: Mapping[str, Any]) -> str:
    """What the video shows: `exercise`, else its folder's name. Pure."""
    named = record.get("exercise")
    return str(named or Path(str(record.get("video_path", ""))).parent.name or "unknown").replace("_", " ")
