"""Files that are still arriving, on disk: what was acknowledged survives a restart and goes on in another process.

    <folder>/<device>/<transfer>.data       bytes at their offsets, sparse
    <folder>/<device>/<transfer>.ranges     what the file is to become, then its durable ranges, a JSON line each
    <folder>/<device>/<transfer>.opened     the content of a whole file that was sealed (server.ingest.unsealing), and
                                            <transfer>.<kind>.opened a file out of a container (server.ingest.unpacking)

Rules that it keeps:

1. Bytes → fdatasync → a line of ranges → fdatasync → acknowledgement: the ranges never claim what is not there.
2. `.ranges` only grows, by one write each, which begins with a newline: a line that a power cut tore is no JSON, and is
   left out.
3. Who writes bytes locks the `.data` file shared, who verifies or moves it locks it exclusively; both then check that
   it still is the file of that name. So nobody writes into a file that was moved into the dataset.
4. A small file that comes whole in one batch never gets its `.ranges`.
5. One process at a time has a device's folder (server.ingest.share). One that wakes after its lease has ended finds the
   others by these locks, writes no line into `.ranges` that are not its own, and deletes no file beside them. It may
   merge what was whole: so nothing is acknowledged before a look at both files, and none is created where some of its
   bytes were there already. What is another's by now is forgotten and answered with `unknown`.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

from server.ingest.arrival import Arrival, load
from server.ingest.failures import unforeseen
from shared import atomic, file_lock, topics
from shared.atomic import Step, no_step
from shared.clock import Clock
from shared.messages import CONTAINER, Begin
from shared.receiving import Receiver
from shared.transfer import WINDOW_BYTES

CRASH_POINTS = ("arrivals:data_synced", "arrivals:ranges_written", "arrivals:dropped")
SYNC_THREADS = 8  # eight fdatasync at once cost the journal one commit: 0.9 ms where one after another takes 5 ms
logger = logging.getLogger(__name__)


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
    """Another process, whose lease has ended, merged it still, or has begun it anew."""


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

    def drop(self, arrival: Arrival, *, whosever: bool = False) -> None:
        """Forget it and delete what is left of it on disk, unless that is another process's by now. whosever: that,
        too. Raises: OSError."""
        try:
            arrival.delete(whosever=whosever)
        finally:
            self.forget(arrival)  # now, so that nobody begins it anew meanwhile: until then it is locked
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
            arrival.check()
        except Exception as error:  # noqa: BLE001  the top of one file's work
            return _of_this_file(arrival, error)
        return None

    def _verify(self, arrival: Arrival) -> Verdict | OSError:
        size_bytes = arrival.begin.part.size_bytes
        try:
            if size_bytes == 0:
                arrival.write(0, b"")
            if not arrival.lock_exclusively():
                return self._elsewhere(arrival)
            if arrival.begin.part.kind != CONTAINER:  # of a container what is in it is written and synced
                self._sync(arrival)
            if size_bytes > WINDOW_BYTES:  # a crash from here on must not cost more than a window
                self._record(arrival)
            return Verdict.MATCHES if arrival.matches() else Verdict.MISMATCH
        except Exception as error:  # noqa: BLE001  the top of one file's work
            return _of_this_file(arrival, error)

    def _elsewhere(self, arrival: Arrival) -> Verdict:
        """Of a whole file that cannot be locked."""
        if arrival.data.exists():
            return Verdict.LOCKED if arrival.has_its_data else Verdict.FINISHED
        return Verdict.MOVED if arrival.has_its_sidecar else Verdict.FINISHED

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

    def _restore(self, folder: Path) -> None:
        atomic.remove_leftovers(folder)
        for opened in folder.glob("*.opened"):
            opened.unlink()
        for sidecar in sorted(folder.glob("*.ranges"), key=_changed_at):
            arrival = load(sidecar)
            if arrival is None or not arrival.has_its_bytes:
                logger.warning("%s cannot be used; the device will send the file again.", sidecar)
                sidecar.unlink(missing_ok=True)
                continue
            self._insert(arrival)
            self._heard_of(arrival)
            arrival.heard_at_s -= max(0.0, self.clock.utc_s() - _changed_at(sidecar))
        for data in folder.glob("*.data"):
            _delete_unless_in_use(data)
        for old in folder.glob("*.json"):  # ranges as an earlier version kept them: the device sends these files again
            old.unlink()


def _of_this_file(arrival: Arrival, error: Exception) -> OSError:
    """What went wrong with one of many, also what nobody foresaw: it costs the others nothing."""
    return error if isinstance(error, OSError) else unforeseen(arrival.id, error)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


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
