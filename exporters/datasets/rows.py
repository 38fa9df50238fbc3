"""What every writer is given: one row per moment, and where its media lie now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from exporters.datasets.collection import CollectedSample

Media = Literal["frame", "audio", "clip"]
LeftOut = Counter[str]
"""Reason → how many rows were left out for it."""
SPLITS = {"train": "train", "held_out": "test", "golden": "validation"}
"""What a row's split is called by other tools."""
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
    fields: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it, "" = nothing; the same names in every row of an export (`evened`)."""
    split: Literal["train", "held_out", "golden"] = "train"
    duration_s: float = 0.0
    """Of the clip."""
    fps: float = 0.0
    """Of the clip."""
    sample: CollectedSample | None = None
    """What the collection layout says of it; its video is the writer's to name."""

    def file(self, kind: Media) -> Path:
        """A media file that it has."""
        path: Path | None = getattr(self, kind)
        assert path is not None, f"{self.name} has no {kind}"
        return path


def evened(rows: Sequence[Row]) -> list[Row]:
    """The rows with the same fields each: readers of tables want one set of columns, of one type. Pure."""
    names = dict.fromkeys(name for row in rows for name in sorted(row.fields))
    return [replace(row, fields={name: row.fields.get(name, "") for name in sorted(names)}) for row in rows]


def missing(row: Row, *kinds: Media) -> str:
    """Why a row can not be written, "" = it has all of these media, on disk."""
    for kind in kinds:
        path: Path | None = getattr(row, kind)
        if path is None:
            return f"no {_CALLED[kind]}"
        if not path.is_file():
            return f"its {_CALLED[kind]} is missing on disk"
    return ""


def usable(rows: Iterable[Row], *kinds: Media, left_out: LeftOut) -> Iterator[Row]:
    """The rows that have all of these media; the others are counted in `left_out`."""
    for row in rows:
        reason = missing(row, *kinds)
        if reason:
            left_out[reason] += 1
        else:
            yield row
