"""A view of the dataset beside its log: `metadata.parquet`, the newest row of each confirmed moment, and README.md.

`datasets.load_dataset(<home>/dataset)` reads it: README.md names it, and not the log, whose older rows were superseded.
It can be deleted at any time; nothing of waycue reads it.

Rules that it keeps:

1. It is a fold of the whole log as it was at one moment: never a row that was superseded then, or not confirmed.
2. It is replaced whole, durably, under the lock of those who append (`Dataset.still`).
3. What is erased is out of it before its files are deleted: erasing removes the view, and the next `refresh` makes it
   anew without.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from exporters.datasets import card
from exporters.datasets.card import DatasetCard
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, foreign_fields
from server.dataset.teaching import may_teach
from shared import atomic, vocabulary

NAME = "metadata.parquet"  # the name by which Hugging Face's imagefolder reader finds it
_TEXTS = (
    "file_name",
    "frame_path",
    "audio_path",
    "instruction",
    "sample_id",
    "row_id",
    "walk_id",
    "split",
    "device",
    "speaker_id",
    "context",
    "consent",
    "raw_output",
    "spoken",
    "llm_correction",
    "model_version",
    "source",
    "author",
    "clip_path",
    "transcript",
    "extra",
)
_FILES = [{"split": "train", "path": [NAME, "frames/*.jpg"]}]


@dataclass(slots=True)
class LoadableView:
    """The view of one dataset, made anew where the log has changed since. One process keeps it up to date."""

    dataset: Dataset
    _seen: tuple[int, int] | None = field(default=None, init=False)
    """(size, time of change in ns) of the log when it was last read."""

    def refresh(self) -> bool:
        """Make it anew where it is not of this log; returns whether it did. Raises: DatasetError, OSError."""
        log = self.dataset.log
        if not log.exists():
            return False
        seen = (log.stat().st_size, log.stat().st_mtime_ns)
        if seen == self._seen:
            return False
        write(self.dataset)
        self._seen = seen
        return True


def write(dataset: Dataset) -> Counter[str]:
    """Write the view; returns its rows by split. Raises: DatasetError naming a line of the log; OSError."""
    with dataset.still():
        taught = [row for row in dataset.rows() if row.reviewed and may_teach(row.ground_truth)]
        rows = [row for row in taught if (dataset.folder / row.frame_path).is_file()]
        if rows:
            atomic.write_bytes(dataset.folder / NAME, _parquet(rows))
        else:
            remove(dataset)
        splits = Counter[str](row.split for row in rows)
        atomic.write_bytes(dataset.folder / card.NAME, card.text(_about(splits)).encode())
    return splits


def remove(dataset: Dataset) -> None:
    """Take the view away, durably. Its card stays: without it readers would take the log. Raises: OSError."""
    path = dataset.folder / NAME
    if path.exists():
        path.unlink()
        atomic.fsync_dir(dataset.folder)


def _parquet(rows: Sequence[SampleRow]) -> bytes:
    import pyarrow as pa  # 30 MB and 0.2 s: not for everybody who merges or erases
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            ("timestamp", pa.float64()),
            ("confidence", pa.float64()),
            ("was_correct", pa.bool_()),
            ("flags", pa.list_(pa.string())),
        ]
    )
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_values(row) for row in rows], schema=schema), out)
    return out.getvalue()


def _values(row: SampleRow) -> dict[str, object]:
    extra = foreign_fields(row.extra)
    return {
        **{
            name: getattr(row, name)
            for name in (*_TEXTS, "timestamp", "confidence", "was_correct")
            if hasattr(row, name)
        },
        "file_name": row.frame_path,
        "instruction": row.ground_truth or vocabulary.CLEAR,
        "flags": list(row.flags),
        "extra": json.dumps(extra, ensure_ascii=False) if extra else "",
    }


def _about(splits: Counter[str]) -> DatasetCard:
    return DatasetCard(
        title="The moments of a waycue server",
        data_files=_FILES,
        splits=Counter(splits),
        columns={**card.PICTURES, "split": "what its walk is good for: train, held_out or golden"},
        consent="It is the server's own: `waycue-server export --for others` writes what may be handed on.",
        notes=["metadata.jsonl beside it is the log that this is made of: it holds superseded rows too."],
    )
