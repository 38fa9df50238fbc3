"""The dataset on disk: content-addressed files and one append-only log of rows.

    dataset/
    ├── frames/<sha256>.jpg
    ├── audio/<sha256>.wav
    ├── clips/<sha256>.mp4
    ├── metadata.jsonl        one JSON object a line: frame_path, audio_path, instruction and the sample's other fields
    ├── records.jsonl         what devices sent, as the database knows it (server.dataset.record_log)
    └── closed/               earlier lines of both, compressed (server.dataset.line_log)

Rules that it keeps:

1. A file is known by the SHA-256 of its bytes, never by a position: two rows can not mix up their media.
2. `metadata.jsonl` only grows, but for lines that are blanked in place with as many bytes, of what a wearer has had
   erased. A correction, a review or an edit is a new row that supersedes the sample's older one.
3. A row is on disk when `append` returns. A last line that power cut short is dropped before the next append, and
   readers leave it out.
4. A dataset version is (length of the log in bytes, SHA-256 of those bytes): the rows name their files by hash, so the
   pair fixes every byte that a training run could see. What is compressed of it makes no difference.
5. Readers keep fields that they do not know.

Only `server.dataset.row_log` appends here for samples that have a database; this module needs no database to be read.
Whoever reads or writes a payload file does so through `Dataset.blobs` (server.dataset.blobs).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from server.dataset import line_log
from server.dataset.blobs import PLACES, Blobs, FolderBlobs
from server.dataset.line_index import LineIndex
from server.dataset.sample_row import SampleRow, fold, from_dict, number_in
from shared import atomic, file_lock, topics
from shared.atomic import Step, no_step
from shared.errors import DatasetError

LOG_NAME = "metadata.jsonl"
RECORDS_NAME = "records.jsonl"
FOLDERS = {
    "frame": ("frames", ".jpg"),
    "audio": ("audio", ".wav"),
    "clip": ("clips", ".mp4"),
    "correction_audio": ("audio", ".wav"),
}


class Dataset:
    """The folder. Reading needs nothing else; appending is serialised between processes by a lock file.

    blobs: where its payload files lie; None = in the folder
    """

    def __init__(self, folder: Path, blobs: Blobs | None = None, *, step: Step = no_step) -> None:
        self.folder = folder
        self.blobs: Blobs = blobs or FolderBlobs(folder)
        self.log = folder / LOG_NAME
        self.records = folder / RECORDS_NAME
        self._step = step
        self._ends: dict[Path, int] = {}
        """Log → where the plain end began that was last written to: it is a new file after each cut."""
        self._named: dict[Path, int] = {}
        """The same of those whose entry in the folder is known to be durable."""

    def create(self) -> None:
        """Make the folders; does nothing where they exist."""
        for name in PLACES:
            atomic.make_dirs(self.folder / name)

    def rows(self) -> list[SampleRow]:
        """The newest row of every sample. Raises: DatasetError naming a line that can not be read."""
        return [row for row in fold(self.history()).values() if not row.erased]

    def newest(self) -> Iterator[SampleRow]:
        """The same one after the other, with flat memory, in the order in which they were written: at a million
        moments a list takes gigabytes. The log is read as long as it is when this begins. Raises: as `rows`."""
        with LineIndex(self.log) as index:
            found = heads(self.log, up_to=index.size)
            index.add((head.sample_id, number_in(head.row_id), head.at, head.size) for head in found)
            for line in index.newest():
                row = from_dict(json.loads(line), where=str(self.log))
                if not row.erased:
                    yield row

    def history(self, *, from_byte: int = 0) -> Iterator[SampleRow]:
        """Every row in the order written, from the line that starts at `from_byte`. Raises: DatasetError."""
        for where, line in log_lines(self.log, from_byte=from_byte):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                hint = "The file was changed by hand: restore it, or take that line out."
                raise DatasetError(f"{where} is not JSON ({error}).", hint=hint) from None
            yield from_dict(value, where=where)

    def version(self) -> tuple[int, str]:
        """(length of the whole lines in bytes, hex SHA-256 of those bytes)."""
        digest, size = hashlib.sha256(), 0
        for block in line_log.blocks(self.log):
            if block.damage:
                raise line_log.unreadable(self.log, block)
            digest.update(block.text)
            size += block.size
        return size, digest.hexdigest()

    def path_of(self, kind: str, sha256: str) -> str:
        """Where a payload of that kind and hash lies, relative to the folder. Raises: KeyError, DatasetError."""
        folder, suffix = FOLDERS[kind]
        if not topics.SHA256.match(sha256):
            raise DatasetError(f"{sha256!r:.70} is not a SHA-256.")
        return f"{folder}/{sha256}{suffix}"

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Hold the right to append, between threads and processes; a torn last line is dropped first, and afterwards
        a log that became long is cut, and some of it compressed."""
        self.create()
        with self.still():
            self._drop_torn()
            yield
            with suppress(OSError):  # what was added is committed by now, and whole; `pack` says what is wrong
                self._tidy()

    def pack(self, *, going_on: Callable[[], bool] = lambda: True) -> None:
        """Compress all that is closed, a second of it at a time, so that writers come in between. Raises: OSError."""
        while going_on():
            with self.still():
                self._drop_torn()
                if not self._tidy():
                    return

    def _drop_torn(self) -> None:
        for log in (self.log, self.records):
            atomic.drop_torn_tail(log)

    def _tidy(self) -> bool:
        more = [line_log.tidy(log, step=self._step) for log in (self.log, self.records)]
        return any(more)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody appends meanwhile, and nothing is changed."""
        with file_lock.locked(self.folder / ".lock"):
            yield

    @contextmanager
    def taken_back(self, unless: Callable[[Exception], bool]) -> Iterator[None]:
        """Inside `appending()`: where the block raises, what it added to the logs is cut off again, as it was in no
        transaction, and whoever has read it is told; else the next writer takes it in, and fails as this one. unless:
        that one shall go on with it."""
        before = {log: log.stat().st_size if log.exists() else 0 for log in (self.log, self.records)}
        try:
            yield
        except Exception as error:
            for log, size in () if unless(error) else before.items():
                if log.exists() and log.stat().st_size > size:
                    with suppress(OSError):  # the disk may be full
                        line_log.tell_of_it(log)
                    os.truncate(log, size)
            raise

    def append(self, values: Iterable[Mapping[str, Any]]) -> int:
        """Add rows, durably, inside `appending()`; returns the log's length in bytes afterwards. Raises: OSError."""
        return self._append_synced(self.log, values)

    def append_records(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """The same for records.jsonl; see server.dataset.record_log."""
        return self._append_synced(self.records, lines)

    def append_soon(self, log: Path, values: Iterable[Mapping[str, Any]]) -> int:
        """Add to one of the logs, inside `appending()`, for a caller who then makes it durable with `sync_log`."""
        data = b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
        self._ends[log] = line_log.begins_at(log)
        with open(log, "ab", buffering=0) as file:
            written = file.write(data)
            if written != len(data):  # disk full: leave no half row behind for the next writer
                file.truncate(file.tell() - written)
                raise OSError(f"{log}: {written} of {len(data)} bytes were written. Free some disk space.")
            return self._ends[log] + file.tell()

    def blank(self, log: Path, about: Collection[str], blanked: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Write lines of one of the logs anew, inside `appending()`, each with as many bytes: the log stays as long.

        about: only lines that have one of these ids in them are looked at. blanked: what a line says then, not longer.
        raises: OSError, ValueError for a line that became longer
        """
        if not about:  # most wishes are about what never came; the logs are long
            return
        wanted = re.compile(b"|".join(re.escape(name.encode()) for name in sorted(about)))
        line_log.rewrite(log, about, lambda line: _blanked(line, blanked) if wanted.search(line) else line)

    def sync_log(self, log: Path) -> None:
        """Make what was added durable. Raises: OSError."""
        with open(log, "rb") as file:
            os.fsync(file.fileno())
        if self._named.get(log) != self._ends[log]:
            atomic.fsync_dir(log.parent)
            self._named[log] = self._ends[log]

    def _append_synced(self, log: Path, values: Iterable[Mapping[str, Any]]) -> int:
        size = self.append_soon(log, values)
        self.sync_log(log)
        return size


def _blanked(line: bytes, blanked: Callable[[dict[str, Any]], Mapping[str, Any]]) -> bytes:
    value = json.loads(line)
    after = blanked(value)
    if after == value:
        return line
    text = json.dumps(after, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) >= len(line):
        raise ValueError(f"a line of {len(line)} bytes would become {len(text)}")
    return text.ljust(len(line) - 1) + b"\n"


class _Ids(msgspec.Struct):
    row_id: str
    sample_id: str


_IDS = msgspec.json.Decoder(_Ids)


@dataclass(frozen=True, slots=True)
class RowHead:
    """What tells the rows of a log apart, and where each stands. The rest of a line is not looked at, which takes a
    tenth of the time."""

    row_id: str
    sample_id: str
    at: int
    size: int


def heads(log: Path, *, up_to: int | None = None) -> Iterator[RowHead]:
    """The rows of metadata.jsonl. up_to: bytes of it that are looked at. Raises: DatasetError."""
    for number, (at, line) in enumerate(line_log.lines(log), start=1):
        if up_to is not None and at >= up_to:
            return
        try:
            ids = _IDS.decode(line)
        except msgspec.MsgspecError as error:
            hint = "The file was changed by hand: restore it, or take that line out."
            raise DatasetError(f"{log}, line {number} is no row ({error}).", hint=hint) from None
        yield RowHead(ids.row_id, ids.sample_id, at, len(line))


def log_lines(log: Path, *, from_byte: int = 0) -> Iterator[tuple[str, bytes]]:
    """(where it stands, line) of each whole line of a log, from the line that starts at `from_byte`. Raises:
    DatasetError where closed lines cannot be read."""
    after = f" after byte {from_byte}" if from_byte else ""
    for number, (_, line) in enumerate(line_log.lines(log, from_byte=from_byte), start=1):
        yield f"{log}, line {number}{after}", line
