"""Files that are still arriving, on disk: what was acknowledged survives a restart and goes on in another process.

    <folder>/<device>/<transfer>.data       bytes at their offsets, sparse
    <folder>/<device>/<transfer>.ranges     what the file is to become, then its durable ranges, a JSON line each
    <folder>/<device>/<transfer>.opened     the content of a whole file that was sealed (server.ingest.unsealing), and
                                            <transfer>.<kind>.opened a file out of a container (server.ingest.unpacking)

Rules that it keeps:

1. Bytes → fdatasync → a line of ranges → fdatasync → acknowledgement: the ranges never claim what is not there.
2. `.ranges` only grows, by one write each, which begins with a newline: a line that a power cut tore is no JSON, and is
   left out.
3. Who writes bytes locks the `.data` file shared, who verifies, moves or deletes it locks it exclusively; both then
   check that it still is the file of that name. So nobody writes into a file that was moved into the dataset.
4. A small file that comes whole in one batch never gets its `.ranges`.
5. One process at a time has a device's folder (server.ingest.share). One that wakes after its lease has ended finds the
   others by these locks, and writes no line into `.ranges` that are not its own.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from server.ingest.failures import unforeseen
from shared import atomic, container, file_lock, messages, strict, topics
from shared.atomic import Step, no_step
from shared.clock import Clock
from shared.errors import MessageError
from shared.messages import CONTAINER, Begin
from shared.transfer import WINDOW_BYTES, Ranges, Receiver

CRASH_POINTS = ("arrivals:data_synced", "arrivals:ranges_written", "arrivals:dropped")
SYNC_THREADS = 8  # eight fdatasync at once cost the journal one commit: 0.9 ms where one after another takes 5 ms
_MAX_BEGIN_BYTES = 16 * 1024
MAX_RANGES_BYTES = 8 * 1024 * 1024  # of a .ranges: 256 MiB in pieces of 700 bytes; smaller pieces are refused
logger = logging.getLogger(__name__)

TransferId = tuple[str, str]
"""(device, transfer)"""


class Verdict(StrEnum):
    """What a check of a whole file found."""

    MATCHES = "matches"
    """Its bytes are those that were announced; it is locked exclusively."""
    MISMATCH = "mismatch"
    LOCKED = "locked"
    """A process whose lease has ended is still at work on it."""
    MOVED = "moved"
    """Its bytes were moved into the dataset, but nobody deleted its ranges yet."""
    FINISHED = "finished"
    """Another process, whose lease has ended, merged it still."""


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
    """Inode and last change of the file when this process last wrote into it."""

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

    def write(self, offset: int, payload: bytes) -> bool:
        """Write bytes at their offset; not durable yet. False where another process has locked the file (rule 5).

        Raises: OSError, and then nothing counts as written.
        """
        if self._fd is None and not self._open(shared=True):
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
        """Where another process has written into it, or moved it away, what was hashed is not what is there."""
        assert self._fd is not None
        if self._digested and _standing(self._fd) != self._left:
            self._read_all()

    def _read_all(self) -> None:
        self._digest, self._digested = hashlib.sha256(), 0

    def sync(self) -> None:
        """Make all bytes written in this batch durable. Raises: OSError."""
        if self._fd is not None:
            os.fdatasync(self._fd)

    @property
    def is_ours(self) -> bool:
        """Whether no other process has ended it meanwhile, as far as its .ranges tell."""
        try:
            return self._own_ranges is None or os.stat(self.sidecar).st_ino == self._own_ranges[0]
        except FileNotFoundError:
            return False

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
        with open(self._fd, "rb", closefd=False) as file:
            if self.begin.part.kind == CONTAINER:
                return container.begins_with(file.read(container.MAX_HEAD_BYTES), self.begin.part.sha256)
            self._doubt()
            file.seek(self._digested)  # what came in its order was hashed while it came
            return hashlib.file_digest(file, self._digest.copy).hexdigest() == self.begin.part.sha256

    def close(self) -> None:
        """Unlock it; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self, *, shared: bool, create: bool = True) -> bool:
        if create:
            atomic.make_dirs(self.folder)
        try:
            fd = os.open(self.data, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            return False
        try:
            locked = file_lock.try_lock(fd, shared=shared)
            same = locked and os.fstat(fd).st_ino == os.stat(self.data).st_ino
        except FileNotFoundError:
            same = False
        if same:
            self._fd = fd
        else:
            os.close(fd)
        return same

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


class Arrivals:
    """All arrivals of all devices. One thread. Raises: OSError.

    restores: go on at once with what an earlier process left; else `restore` does it, device by device
    """

    def __init__(self, folder: Path, *, clock: Clock, restores: bool = True, crash_point: Step = no_step) -> None:
        self.folder, self.clock = folder, clock
        self._crash_point = crash_point
        self._open: dict[str, dict[str, Arrival]] = {}  # device → name → arrival
        self._uses = 0
        self._syncing = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="arrivals-sync")
        atomic.make_dirs(folder)
        if restores:
            self.restore(lambda _device: True)

    def restore(self, mine: Callable[[str], bool]) -> None:
        """Go on with what an earlier process, or another, left of these devices. Raises: OSError."""
        for device in sorted(self.folder.iterdir()):
            if topics.DEVICE_NAME.match(device.name) and mine(device.name) and device.is_dir():
                self._restore(device)

    @property
    def devices(self) -> list[str]:
        """Those with files on their way."""
        return list(self._open)

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def get(self, device: str, name: str) -> Arrival | None:
        """The arrival of that name, which then counts as heard of now."""
        arrival = self._open.get(device, {}).get(name)
        if arrival is not None:
            self._heard_of(arrival)
        return arrival

    def of(self, device: str) -> Iterator[Arrival]:
        """A device's arrivals, the one that was quiet for longest first."""
        yield from sorted(self._open.get(device, {}).values(), key=lambda arrival: arrival.last_use)

    def load_of(self, device: str) -> tuple[int, int]:
        """How many files of a device are on their way, and their announced bytes."""
        arrivals = self._open.get(device, {})
        return len(arrivals), sum(arrival.begin.part.size_bytes for arrival in arrivals.values())

    def silent_since(self, time_s: float) -> list[Arrival]:
        """Arrivals of which nothing was heard after that monotonic time."""
        return [a for of_device in self._open.values() for a in of_device.values() if a.heard_at_s < time_s]

    def add(self, device: str, name: str, begin: Begin) -> Arrival:
        """A new, empty arrival. Raises: OSError."""
        state = Receiver(begin.part.size_bytes)
        arrival = Arrival(device, name, begin, state, self.folder / device, key=secrets.token_hex(8))
        arrival.sidecar.unlink(missing_ok=True)  # of a process that wrote it after its lease had ended
        self._insert(arrival)
        self._heard_of(arrival)
        return arrival

    def holds(self, arrival: Arrival) -> bool:
        """Whether it is still on its way, here."""
        return self._open.get(arrival.device, {}).get(arrival.name) is arrival

    def settle(
        self, partial: Iterable[Arrival], whole: Iterable[Arrival] = ()
    ) -> tuple[list[OSError | None], list[Verdict | OSError]]:
        """Many at once, on threads: make what was written of the partial ones durable, and then record it; make the
        whole ones durable, and check their hashes. Returns what went wrong for each of the former, and what was found
        of each of the latter: those that match are then locked exclusively, until they are closed or dropped.

        Any thread. Meanwhile partial ones may be written to, and nothing else may be done to any of them.
        """
        verdicts = self._syncing.map(self._verify, whole)
        return list(self._syncing.map(self._settle, partial)), list(verdicts)

    def side_by_side(self, work: Callable[[Path], object], paths: Iterable[Path]) -> list[OSError | None]:
        """Work on many files at once; what went wrong for each. Any thread."""

        def error_of(path: Path) -> OSError | None:
            try:
                work(path)
            except OSError as error:
                return error
            return None

        return list(self._syncing.map(error_of, paths))

    def drop(self, arrival: Arrival) -> None:
        """Forget it and delete what is left of it on disk. Raises: OSError."""
        self.forget(arrival)
        # The ranges go first: bytes without ranges are nothing, ranges without bytes would be a lie.
        arrival.sidecar.unlink(missing_ok=True)
        arrival.data.unlink(missing_ok=True)
        arrival.opened.unlink(missing_ok=True)
        self._crash_point("arrivals:dropped")

    def forget(self, arrival: Arrival) -> None:
        """Leave it on disk, to another process."""
        arrival.close()
        of_device = self._open.get(arrival.device, {})
        if of_device.get(arrival.name) is arrival:
            del of_device[arrival.name]
            if not of_device:
                del self._open[arrival.device]

    def close(self) -> None:
        """End the threads and unlock all files. Idempotent."""
        self._syncing.shutdown()
        for of_device in self._open.values():
            for arrival in of_device.values():
                arrival.close()

    def _settle(self, arrival: Arrival) -> OSError | None:
        try:
            self._sync(arrival)
            self._record(arrival)
        except Exception as error:  # noqa: BLE001  the top of one file's work
            return _of_this_file(arrival, error)
        return None

    def _verify(self, arrival: Arrival) -> Verdict | OSError:
        size_bytes = arrival.begin.part.size_bytes
        try:
            if size_bytes == 0:
                arrival.write(0, b"")
            if not arrival.lock_exclusively():
                if arrival.data.exists():
                    return Verdict.LOCKED
                return Verdict.MOVED if arrival.is_ours else Verdict.FINISHED
            if arrival.begin.part.kind != CONTAINER:  # of a container what is in it is written and synced
                self._sync(arrival)
            if size_bytes > WINDOW_BYTES:  # a crash from here on must not cost more than a window
                self._record(arrival)
            return Verdict.MATCHES if arrival.matches() else Verdict.MISMATCH
        except Exception as error:  # noqa: BLE001  the top of one file's work
            return _of_this_file(arrival, error)

    def _sync(self, arrival: Arrival) -> None:
        arrival.sync()
        self._crash_point("arrivals:data_synced")

    def _record(self, arrival: Arrival) -> None:
        if arrival.record():
            self._crash_point("arrivals:ranges_written")

    def _insert(self, arrival: Arrival) -> None:
        self._open.setdefault(arrival.device, {})[arrival.name] = arrival

    def _heard_of(self, arrival: Arrival) -> None:
        self._uses += 1
        arrival.last_use = self._uses
        arrival.heard_at_s = self.clock.monotonic_s()

    def _load(self, sidecar: Path) -> Arrival | None:
        """An arrival that another process recorded, or None."""
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
        self._insert(arrival)
        return arrival

    def _restore(self, folder: Path) -> None:
        atomic.remove_leftovers(folder)
        for opened in folder.glob("*.opened"):
            opened.unlink()
        for sidecar in sorted(folder.glob("*.ranges"), key=_changed_at):
            arrival = self._load(sidecar)
            if arrival is None or not _has_its_bytes(arrival):
                logger.warning("%s cannot be used; the device will send the file again.", sidecar)
                if arrival is not None:
                    self.forget(arrival)
                sidecar.unlink(missing_ok=True)
                continue
            self._heard_of(arrival)
            arrival.heard_at_s -= max(0.0, self.clock.utc_s() - _changed_at(sidecar))
        for data in folder.glob("*.data"):
            _delete_unless_in_use(data)
        for old in folder.glob("*.json"):  # ranges as an earlier version kept them: the device sends these files again
            old.unlink()


def _standing(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_ino, found.st_mtime_ns


def _of_this_file(arrival: Arrival, error: Exception) -> OSError:
    """What went wrong with one of many, also what nobody foresaw: it costs the others nothing."""
    return error if isinstance(error, OSError) else unforeseen(arrival.id, error)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _has_its_bytes(arrival: Arrival) -> bool:
    """False where ranges claim what is not there. Whole and gone is fine: it was moved into the dataset, but the answer
    was cut off, and Merge finds it there."""
    if not arrival.data.exists():
        return arrival.whole or not arrival.recorded.spans
    return not arrival.recorded.spans or arrival.data.stat().st_size >= arrival.recorded.spans[-1][1]


def _delete_unless_in_use(data: Path) -> None:
    """Delete bytes that have no ranges, unless a live process is just writing them."""
    try:
        fd = os.open(data, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if file_lock.try_lock(fd) and not data.with_suffix(".ranges").exists():
            data.unlink(missing_ok=True)
    finally:
        os.close(fd)


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
