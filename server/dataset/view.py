"""A view of the dataset beside its log: `metadata.parquet`, the newest row of each confirmed moment, and README.md.

`datasets.load_dataset(<home>/dataset)` reads it: README.md names it, and not the log, whose older rows were superseded.
It can be deleted at any time; nothing of waycue reads it.

Rules that it keeps:

1. It is a fold of the whole log as it was at one moment: never a row that was superseded then, or not confirmed.
2. It is replaced whole, durably, under the lock of those who append (`Dataset.still`); they wait for that alone, not
   for the log to be read.
3. What is erased is out of it before its files are deleted: erasing removes the view, and the next `refresh` makes it
   anew without.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from exporters.datasets import card
from exporters.datasets.card import DatasetCard
from server.dataset import line_log
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, foreign_fields
from server.dataset.teaching import may_teach
from shared import atomic, vocabulary
from shared.clock import Clock, SystemClock
from shared.errors import DatasetError

NAME = "metadata.parquet"  # the name by which Hugging Face's imagefolder reader finds it
RESTS, LONG_S = 20, 3.0
_NEW = f"{NAME}.new"
_AT_ONCE = 2000  # rows of one group of the file
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
    clock: Clock = field(default_factory=SystemClock)
    write: Callable[[Dataset], object] = field(default=lambda dataset: write(dataset))
    _seen: LogMark | None = field(default=None, init=False)
    """The log when it was last read."""
    _rests_until_s: float = field(default=0.0, init=False)

    def refresh(self) -> bool:
        """Make it anew where it is not of this log; returns whether it did. One that took long is not made again for
        RESTS times as long: the log is read whole. Raises: DatasetError, OSError."""
        began_s = self.clock.monotonic_s()
        if not line_log.exists(self.dataset.log) or began_s < self._rests_until_s:
            return False
        seen = _mark(self.dataset)
        if seen == self._seen:
            return False
        self.write(self.dataset)
        self._seen = seen
        took_s = self.clock.monotonic_s() - began_s
        self._rests_until_s = began_s + took_s + (RESTS * took_s if took_s > LONG_S else 0.0)
        return True


LogMark = tuple[int, int]
"""(how often lines were blanked, bytes)."""


def _mark(dataset: Dataset) -> LogMark:
    return line_log.rewritten(dataset.log), line_log.size(dataset.log)


def write(dataset: Dataset) -> Counter[str]:
    """Write the view; returns its rows by split. It is read beside those who append, and put in its place under their
    lock: where lines were blanked meanwhile, it is made once more. Raises: DatasetError naming a line of the log;
    OSError."""
    while True:
        with dataset.still():
            rewritten = line_log.rewritten(dataset.log)
        try:
            splits = _write_beside(dataset)
        except (DatasetError, ValueError):
            if line_log.rewritten(dataset.log) == rewritten:
                raise
            continue  # lines were taken back while they were read
        if _placed(dataset, splits, rewritten):
            return splits


def _placed(dataset: Dataset, splits: Counter[str], rewritten: int) -> bool:
    """Put what was written in its place; False where it was read from a log that lines were blanked in since."""
    with dataset.still():
        if line_log.rewritten(dataset.log) != rewritten:
            remove(dataset)
            return False
        if splits:
            atomic.move(dataset.folder / _NEW, dataset.folder / NAME)
        else:
            remove(dataset)
        atomic.write_bytes(dataset.folder / card.NAME, card.text(_about(splits)).encode())
        return True


def remove(dataset: Dataset) -> None:
    """Take the view away, durably, and what is left of one that was being made. Its card stays: without it readers
    would take the log. Raises: OSError."""
    paths = list(dataset.folder.glob(f"{NAME}*"))
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        atomic.fsync_dir(dataset.folder)


def _write_beside(dataset: Dataset) -> Counter[str]:
    """Write the rows into a file beside the view, some at a time; by split. No rows, no file."""
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
    splits = Counter[str]()
    confirmed = (
        row
        for row in dataset.newest()
        if row.reviewed and may_teach(row.ground_truth) and dataset.blobs.size(row.frame_path) is not None
    )
    first = list(islice(confirmed, _AT_ONCE))
    if not first:
        return splits
    with atomic.writing(dataset.folder / _NEW) as out, pq.ParquetWriter(out, schema) as writer:
        some = first
        while some:
            writer.write_table(pa.Table.from_pylist([_values(row) for row in some], schema=schema))
            splits.update(row.split for row in some)
            some = list(islice(confirmed, _AT_ONCE))
    return splits


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
        notes=["metadata.jsonl and closed/ beside it are the log that this is made of: it holds superseded rows too."],
    )
