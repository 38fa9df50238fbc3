"""One file on its way in: its bytes, its ranges, its locks. server.ingest.arrivals says what rules they keep."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared import atomic, container, file_lock, messages, strict
from shared.errors import MessageError
from shared.messages import CONTAINER, Begin
from shared.receiving import Receiver
from shared.transfer import Ranges

_MAX_BEGIN_BYTES = 16 * 1024
MAX_RANGES_BYTES = 8 * 1024 * 1024  # of a .ranges: 256 MiB in pieces of 700 bytes; smaller pieces are refused
logger = logging.getLogger(__name__)

TransferId = tuple[str, str]
"""(device, transfer)"""


@dataclass(slots=True)
class Arrival:
    """One file on its way in. shared.transfer decides its `state`; this holds where its bytes are."""

    device: str
    name: str
    begin: Begin
    state: Receiver
    folder: Path
    key: str
    """Random: tells it from another beginning of the same name."""
    last_use: int = 0
    """Rises with every message: the smallest was quiet for longest."""
    heard_at_s: float = 0.0
    """Monotonic time of the last message."""
    recorded: Ranges = field(default_factory=Ranges)
    """What the .ranges on disk says."""
    _fd: int | None = None
    _own_ranges: tuple[int, int] | None = None
    """Inode and length of its .ranges; None = it has none yet."""
    _folder_synced: bool = False
    """The folder's entries for it are durable."""
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    """Of the first `_digested` bytes, as this process wrote them one after the other."""
    _digested: int = 0
    _left: tuple[int, int] | None = None
    """Inode and last change of the file when this process last wrote into it, or found it."""
    disturbed: bool = False
    """Another process has written into it."""

    @property
    def id(self) -> TransferId:
        return self.device, self.name

    @property
    def data(self) -> Path:
        """The file's bytes so far."""
        return self.folder / f"{self.name}.data"

    @property
    def opened(self) -> Path:
        """What was sealed in them, until it is merged."""
        return self.folder / f"{self.name}.opened"

    @property
    def sidecar(self) -> Path:
        return self.folder / f"{self.name}.ranges"

    @property
    def whole(self) -> bool:
        """Whether every byte came."""
        return self.state.written.covers(0, self.begin.part.size_bytes)

    @property
    def too_scattered(self) -> bool:
        """Whether it comes in so many pieces that its .ranges grows out of bounds."""
        return self._own_ranges is not None and self._own_ranges[1] > MAX_RANGES_BYTES

    @property
    def has_its_bytes(self) -> bool:
        """False where ranges claim what is not there. Whole and gone is fine: it was moved into the dataset, but the
        answer was cut off, and Merge finds it there."""
        if not self.data.exists():
            return self.whole or not self.recorded.spans
        return not self.recorded.spans or self.data.stat().st_size >= self.recorded.spans[-1][1]

    def write(self, offset: int, payload: bytes) -> bool:
        """Write bytes at their offset; not durable yet. False where another process has locked the file, moved it away
        or deleted it (rule 5).

        Raises: OSError, and then nothing counts as written.
        """
        if self._fd is None and not self._open(shared=True, create=not self.state.written.spans):
            return False
        assert self._fd is not None
        self._doubt()
        at, view = offset, memoryview(payload)
        while view:
            written = os.pwrite(self._fd, view, at)
            at, view = at + written, view[written:]
        self._left = _standing(self._fd)
        self._follow(offset, payload)
        return True

    def _follow(self, offset: int, payload: bytes) -> None:
        if offset < self._digested:  # written anew, perhaps with other bytes: all of it is read in the end
            self._read_all()
        if offset == self._digested and self.begin.part.kind != CONTAINER:
            self._digest.update(payload)
            self._digested += len(payload)

    def _doubt(self) -> None:
        """Where another process has written into it, what was hashed is not what is there."""
        assert self._fd is not None
        if _standing(self._fd) != self._left:
            self.disturbed = True
            self._read_all()

    def _read_all(self) -> None:
        self._digest, self._digested = hashlib.sha256(), 0

    def sync(self) -> None:
        """Make all bytes written in this batch durable. Raises: OSError."""
        if self._fd is not None:
            os.fdatasync(self._fd)
        elif self.state.to_record != self.recorded:  # closed to be verified, which then failed
            with open(self.data, "rb") as file:
                os.fdatasync(file.fileno())

    @property
    def has_its_data(self) -> bool:
        """Whether the file of its bytes is the one that this process last saw."""
        return self._left is None or _inode(self.data) == self._left[0]

    @property
    def has_its_sidecar(self) -> bool:
        """Whether its .ranges, or that there are none, are of this process."""
        return _inode(self.sidecar) == (None if self._own_ranges is None else self._own_ranges[0])

    def check(self) -> None:
        """Before anything is acknowledged. Raises: FileNotFoundError where another process has ended it or begun it
        anew."""
        if not (self.has_its_data and self.has_its_sidecar):
            raise FileNotFoundError(errno.ENOENT, "Another process has ended it", str(self.data))

    def delete(self, *, whosever: bool = False) -> None:
        """Delete its files, unless they are another process's by now. whosever: these, too. Raises: OSError."""
        if not (self.has_its_sidecar or whosever):
            return
        # The ranges go first: bytes without ranges are nothing, ranges without bytes would be a lie.
        self.sidecar.unlink(missing_ok=True)
        if self.has_its_data or whosever:
            self.data.unlink(missing_ok=True)
            self.opened.unlink(missing_ok=True)

    def record(self) -> bool:
        """Append the ranges that are durable, after `sync`. Returns whether there were new ones.

        Raises: OSError, and FileExistsError or FileNotFoundError where its .ranges are another process's, or gone.
        """
        ranges = self.state.to_record
        if ranges == self.recorded:
            return False
        own = self._own_ranges or self._make_sidecar()
        new = ranges.minus(self.recorded)
        self._own_ranges = self._append(own, b"".join(b"\n" + json.dumps(span).encode() for span in new.spans) + b"\n")
        if not self._folder_synced:
            atomic.fsync_dir(self.folder)
            self._folder_synced = True
        self.recorded = ranges
        return True

    def lock_exclusively(self) -> bool:
        """Lock its bytes in order to verify, move or delete them, until `close`. False where another process has locked
        them, or they are no longer there."""
        self.close()
        return self._open(shared=False, create=False)

    def matches(self) -> bool:
        """Whether the bytes, which are locked exclusively, are those that were announced. Raises: OSError."""
        assert self._fd is not None
        if os.fstat(self._fd).st_size != self.begin.part.size_bytes:
            return False
        self._doubt()
        with open(self._fd, "rb", closefd=False) as file:
            if self.begin.part.kind == CONTAINER:
                return container.begins_with(file.read(container.MAX_HEAD_BYTES), self.begin.part.sha256)
            file.seek(self._digested)  # what came in its order was hashed while it came
            return hashlib.file_digest(file, self._digest.copy).hexdigest() == self.begin.part.sha256

    def close(self) -> None:
        """Unlock it; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self, *, shared: bool, create: bool) -> bool:
        if create:
            atomic.make_dirs(self.folder)
        try:
            fd = os.open(self.data, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            return False
        try:
            locked = file_lock.try_lock(fd, shared=shared)
            found = _standing(fd)
            same = locked and _inode(self.data) == found[0] and (self._left is None or self._left[0] == found[0])
        except BaseException:
            os.close(fd)
            raise
        if not same:
            os.close(fd)
            return False
        self._fd, self._left = fd, self._left or found
        return True

    def _make_sidecar(self) -> tuple[int, int]:
        """Begin its .ranges; not durable yet."""
        head = json.dumps({"begin": messages.to_dict(self.begin), "key": self.key}, ensure_ascii=False).encode() + b"\n"
        temp = self.folder / f"{self.name}.{self.key}{atomic.TEMP_SUFFIX}"
        try:
            with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(head)
                inode = os.fstat(file.fileno()).st_ino
            os.link(temp, self.sidecar)  # whole at once, and never in the place of another
        finally:
            temp.unlink(missing_ok=True)
        self._own_ranges = inode, len(head)
        return self._own_ranges

    def _append(self, own: tuple[int, int], lines: bytes) -> tuple[int, int]:
        inode, length = own
        fd = os.open(self.sidecar, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_ino != inode:
                raise FileExistsError(errno.EEXIST, "Another process has begun it anew", str(self.sidecar))
            if os.write(fd, lines) != len(lines):  # what was written of it is durable ranges, or no JSON
                raise OSError(f"{self.sidecar}: a line was not written as a whole. Free some disk space.")
            os.fdatasync(fd)
        finally:
            os.close(fd)
        return inode, length + len(lines)


def load(sidecar: Path) -> Arrival | None:
    """An arrival that another process recorded, or None. Raises: OSError."""
    try:
        with open(sidecar, "rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            content = file.read()
    except FileNotFoundError:
        return None
    parsed = _parse(content)
    if parsed is None:
        return None
    begin, key, ranges = parsed
    state = Receiver(begin.part.size_bytes, ranges, ranges)
    arrival = Arrival(sidecar.parent.name, sidecar.stem, begin, state, sidecar.parent, key, recorded=ranges)
    arrival._own_ranges = (inode, len(content))
    arrival._folder_synced = bool(ranges.spans)
    arrival._left = _standing_if_there(arrival.data)
    return arrival


def _parse(content: bytes) -> tuple[Begin, str, Ranges] | None:
    """A .ranges: what the file is to become, its key, its durable ranges. None where the first line is damaged."""
    head, *lines = content.split(b"\n")
    try:
        if not lines or len(head) > _MAX_BEGIN_BYTES:
            raise MessageError("it has no first line")
        value = json.loads(head)
        begin, key = strict.read(Begin, value["begin"]), value["key"]
        if not isinstance(key, str):
            raise MessageError("it has no key")
    except (MessageError, ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning("An arrival cannot be read (%s).", error)
        return None
    spans = [span for span in map(_parse_span, lines[:-1]) if span is not None]
    ranges = Ranges.of(spans)
    return (begin, key, ranges) if ranges.within(begin.part.size_bytes) else None


def _parse_span(line: bytes) -> tuple[int, int] | None:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None  # torn
    match value:
        case [int(start), int(end)] if 0 <= start <= end:
            return start, end
    return None


def _standing(file: int | Path) -> tuple[int, int]:
    """Inode and last change."""
    found = os.stat(file)
    return found.st_ino, found.st_mtime_ns


def _standing_if_there(path: Path) -> tuple[int, int] | None:
    try:
        return _standing(path)
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int | None:
    found = _standing_if_there(path)
    return None if found is None else found[0]
