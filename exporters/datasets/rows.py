"""What every writer is given: one row per moment, and where its media lie now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Media = Literal["frame", "audio", "clip"]
Progress = Callable[[int], None]
"""Called with the number of rows done so far."""
LeftOut = dict[str, int]
"""Reason → how many rows were left out for it."""
_CALLED: dict[Media, str] = {"frame": "picture", "audio": "sound", "clip": "clip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One moment, ready to be written."""

    name: str
    """Stem of its files, unique in one export: {walk}_chunk{NNNN}."""
    text: str
    """What should be said."""
    frame: Path | None = None
    audio: Path | None = None
    clip: Path | None = None
    raw: str = ""
    """What the model worded, "" = nothing."""
    context: str = ""
    split: Literal["train", "held_out", "golden"] = "train"
    duration_s: float = 0.0
    """Of the clip."""
    fps: float = 0.0
    """Of the clip."""


def without(row: Row, *kinds: Media) -> str:
    """Why a row can not be written, "" = it has all of these media, on disk."""
    for kind in kinds:
        path: Path | None = getattr(row, kind)
        if path is None:
            return f"no {_CALLED[kind]}"
        if not path.is_file():
            return f"its {_CALLED[kind]} is missing on disk"
    return ""


def count(left_out: LeftOut, reason: str) -> None:
    """Note one more row that was left out."""
    left_out[reason] = left_out.get(reason, 0) + 1


def no_progress(_done: int) -> None:
    """For callers that do not watch."""
