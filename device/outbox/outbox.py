"""What waits to reach the server, so that no power cut, full disk or lost network takes a flagged moment away.

    <folder>/<record id>/{record.json, frame.jpg, audio.wav, clip.mp4}     sealed, never changed again
    <folder>/.<record id>.sealing/                                         being sealed; a leftover is deleted on open
    <folder>/failed/<record id>/{…, reason.json}                           refused for good; kept for a person
    <folder>/.retry/<record id>                                            a person asks to send this refused one again
    <folder>/lost.jsonl                                                    what was given up, by name and why
    <folder>/.reserve                                                      disk space held back, to empty a full disk
    <folder>/index.sqlite                                                  built again from the folders when damaged

Promises:

1. When `seal_*` returns, the record is on disk and will be sent, whatever happens. When it raises, nothing is left.
2. A record is deleted only after the server said `merged` for it and for every one of its payload files,
   or by `prune`, which takes what is merged first and names everything else that it takes.
3. What is refused for good goes to failed/ with its reason. It is never counted as sent, and not sent again unless a
   person says so (`retry`).
4. Uploader and retention share one registry of claims: what is being sent is not deleted under its hands.
5. Order of sending: everything small before clips; corrections, then what the wearer flagged, then the rest; then age.

`record.json` is exactly the message that travels on `up/event`.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from device.boot import kernel_boot
from device.outbox import folder as outbox_folder
from device.outbox import index as outbox_index
from device.outbox import inspect
from device.outbox.folder import FAILED, FILE_NAMES, INDEX, LOST, REASON, RECORD_KIND, REQUESTS, SIDECAR
from device.outbox.index import Damaged, Index, ItemRow, RecordRow
from device.outbox.inspect import peek as peek
from device.outbox.reserve import FULL, Reserve
from device.outbox.types import Counts as Counts
from device.outbox.types import Failure as Failure
from device.outbox.types import Item as Item
from device.outbox.types import Pruned as Pruned
from device.outbox.types import Recovery as Recovery
from shared import atomic, file_lock, messages, topics
from shared.atomic import Step, no_step
from shared.errors import ConfigError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord, Envelope

STEPS = (
    "seal:files_written", "seal:files_synced", "seal:renamed", "seal:indexed",
    "ack:marked", "forget:moved_aside", "forget:deleted", "forget:counted",
    "fail:marked", "fail:reason_written", "fail:moved", "fail:recorded",
    "retry:moved", "retry:decided", "retry:queued",
    "prune:marked", "prune:told", "prune:moved_aside", "prune:deleted", "prune:counted",
)  # fmt: skip
"""Every durable step, in order; a crash test kills the process at each."""

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Outbox:
    """The open outbox of one agent. Any thread may call any method.

    step: called with the name of each durable step (STEPS) right after it. boot: what names this run of the machine's
    kernel; "" = ask it. raises: ConfigError where another process has it open, OSError.
    """

    def __init__(self, folder: Path, *, step: Step = no_step, boot: str = "") -> None:
        self.folder = folder
        self._boot = boot or kernel_boot()
        self._step = step
        self._lock = threading.RLock()
        self._open = True
        self._claimed: dict[str, str] = {}  # item name → record id
        self._listeners: list[Callable[[], None]] = []
        self._reserve = Reserve(folder)
        atomic.make_dirs(folder / FAILED)
        self._lock_file = _lock_folder(folder)
        try:
            leftovers = [*atomic.remove_leftovers(folder), *atomic.remove_leftovers(folder / FAILED)]
            atomic.drop_torn_tail(folder / LOST)
            self._index, fresh = self._opened_index()
            found = self._recover(resumed=fresh)
            rebuilt = fresh and found != Recovery()
            self.recovered = replace(found, leftovers=tuple(leftovers), rebuilt=rebuilt or found.rebuilt)
            self._reserve.hold()
            self.take_requests()
        except BaseException:
            self._lock_file.close()
            raise
        if self.recovered != Recovery():
            _log.warning("The outbox was put right after an interruption: %s.", self.recovered.summary())

    def close(self) -> None:
        """Let another process open it. Idempotent."""
        with self._lock:
            if self._open:
                self._note_closed()
            self._open = False
            self._index.close()
            self._lock_file.close()

    def _note_closed(self) -> None:
        try:
            self._index.closed()
        except (Damaged, OSError) as error:
            _log.info("The outbox is closed as if by a crash: %s", error)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` (any thread, quick) whenever there is more to send."""
        self._listeners.append(listener)

    # sealing

    def seal_chunk(self, record: ChunkRecord, payloads: Mapping[str, bytes]) -> ChunkRecord:
        """Keep a flagged chunk. payloads: part kind (frame, audio, clip) → bytes. Returns the record with its parts.

        Durable when it returns; sealing the same again does nothing.
        raises: OSError (ENOSPC too, and nothing is left behind), MessageError for what cannot travel.
        """
        sealed = replace(record, parts=outbox_folder.parts(payloads))
        self._seal(record.chunk_id, Envelope("chunk", record.chunk_id, messages.to_dict(sealed)), payloads)
        return sealed

    def seal_correction(self, record: CorrectionRecord, wav: bytes) -> CorrectionRecord:
        """Keep a spoken correction. As seal_chunk."""
        payloads = {"correction_audio": wav}
        sealed = replace(record, parts=outbox_folder.parts(payloads))
        envelope = Envelope("correction", record.correction_id, messages.to_dict(sealed))
        self._seal(record.correction_id, envelope, payloads)
        return sealed

    def _seal(self, record_id: str, envelope: Envelope, payloads: Mapping[str, bytes]) -> None:
        sidecar = messages.encode(envelope)
        outbox_folder.check_names(record_id, payloads)
        # What the server would refuse must fail here, where the agent can still say so.
        record, items = outbox_folder.rows(record_id, sidecar)
        folder = self.folder / record_id
        if (self.folder / FAILED / record_id).exists():
            raise MessageError(f"{record_id} was refused by the server before.")
        if folder.exists():
            if (folder / SIDECAR).read_bytes() != sidecar:
                raise MessageError(f"{record_id} was sealed before with other content.")
            return
        files = {FILE_NAMES[part]: data for part, data in payloads.items()} | {SIDECAR: sidecar}
        try:
            atomic.write_folder(folder, files, step=lambda name: self._step(f"seal:{name}"))
            self._use(lambda index: index.add(record, items), spend=False)
        except OSError:
            atomic.remove_tree(folder)
            raise
        self._step("seal:indexed")
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()

    # sending

    def claim(self, count: int, *, bulk: bool = False) -> list[Item]:
        """Up to `count` items to send now, in order; clips only with bulk=True. They are the caller's until it calls
        `merged`, `refused` or `release`."""
        if count < 1:
            return []
        with self._lock:
            rows = self._use(lambda index: index.next_items(count + len(self._claimed), bulk=bulk))
            items = [item for item in map(self._item, rows) if item.name not in self._claimed][:count]
            fresh = [(item.record_id, item.kind) for item in items if not item.resumed]
            if fresh:
                self._mark_sending(fresh)
            self._claimed.update({item.name: item.record_id for item in items})
        return items

    def _mark_sending(self, fresh: list[tuple[str, str]]) -> None:
        """So that a later process asks what is there. Where the disk does not take it, a window may be sent twice after
        a crash; not to send at all would keep a full disk full."""
        try:
            self._use(lambda index: index.mark_sending(fresh))
        except OSError as error:
            _log.warning("What is being sent cannot be written down, and is sent all the same: %s", error)

    def release(self, items: Iterable[Item]) -> None:
        """Hand claimed items back unsent."""
        with self._lock:
            for item in items:
                self._claimed.pop(item.name, None)

    def merged(self, items: Iterable[Item]) -> None:
        """The server has these durably. Their folders stay until `forget_merged` or `prune`. Raises: OSError."""
        done = list(items)
        with self._lock:
            self._use(lambda index: index.mark_merged([(item.record_id, item.kind) for item in done]))
            self._step("ack:marked")
            self.release(done)
            for record_id in {item.record_id for item in done}:
                self._move_if_refused(record_id)

    def refused(self, item: Item, reason: str) -> None:
        """The server will never take this. Once nothing else of its record is to be sent, it goes to failed/."""
        with self._lock:
            self._use(lambda index: index.mark_refused(item.record_id, item.kind, reason))
            self._step("fail:marked")
            self.release([item])
            self._move_if_refused(item.record_id)

    def forget_merged(self) -> tuple[str, ...]:
        """Delete every record that the server has as a whole. Returns their ids. Raises: OSError."""
        with self._lock:
            ids = [row.record_id for row in self._use(lambda index: index.records("deletable"))]
            self._delete(ids, "forget", count_as="merged")
            self._reserve.hold()
        return tuple(ids)

    # looking, and making room

    def counts(self) -> Counts:
        """How full it is now."""
        with self._lock:
            sending = len(set(self._claimed.values()))
            return replace(self._use(inspect.counts), sending=sending)

    def failures(self) -> list[Failure]:
        """What the server refused for good, oldest first."""
        with self._lock:
            rows = self._use(lambda index: index.records("failed"))
        return [Failure(row.record_id, row.reason) for row in rows]

    def prune(self, limit_bytes: int) -> Pruned:
        """Delete until at most `limit_bytes` lie here: merged records first, then refused ones, then unsent ones, of
        these the least important and oldest first. What is being sent is left alone. Raises: OSError."""
        with self._lock:
            excess = self.counts().disk_bytes - limit_bytes
            merged, excess = self._enough(self._use(lambda index: index.records("deletable")), excess)
            self._delete(merged, "prune", count_as="merged")
            unsent = [
                *self._use(lambda index: index.records("failed")),
                *self._use(lambda index: index.records("queued", order="least")),
            ]
            lost, _ = self._enough(unsent, excess)
            self._give_up(lost, "deleted to make room")
        return Pruned(tuple(merged), tuple(lost))

    def give_way(self, need_bytes: int, importance: int) -> Pruned:
        """Delete refused and unsent records that matter less than `importance` until `need_bytes` are free: for a disk
        that is full. Raises: OSError."""
        with self._lock:
            rows = [
                *self._use(lambda index: index.records("failed")),
                *self._use(lambda index: index.records("queued", order="least")),
            ]
            lost, _ = self._enough([row for row in rows if row.importance > importance], need_bytes)
            self._give_up(lost, "deleted to make room for something that matters more")
        return Pruned(lost=tuple(lost))

    def note_lost(self, record_ids: Iterable[str], why: str) -> None:
        """Name what never got in here: the disk did not take it. Raises: OSError."""
        ids = list(record_ids)
        with self._lock:
            self._tell_lost(ids, why)
            self._use(lambda index: index.count("lost", len(ids)))

    def _enough(self, rows: list[RecordRow], excess: int) -> tuple[list[str], int]:
        """The first unclaimed records that together free `excess` bytes, and what is then left of it."""
        busy = set(self._claimed.values())
        chosen = []
        for row in rows:
            if excess <= 0:
                break
            if row.record_id not in busy:
                chosen.append(row.record_id)
                excess -= row.size_bytes
        return chosen, excess

    def _give_up(self, ids: list[str], why: str) -> None:
        if not ids:
            return
        self._use(lambda index: index.set_state(ids, "dropped", reason=why))
        self._step("prune:marked")
        self._tell_lost(ids, why)
        self._delete(ids, "prune", count_as="lost")

    def _tell_lost(self, ids: Iterable[str], why: str) -> None:
        path = self.folder / LOST
        fresh = not path.exists()
        with open(path, "ab") as log:
            for record_id in ids:
                _log.warning("%s is lost: %s.", record_id, why)
                atomic.append_line(log, {"record_id": record_id, "why": why})
        if fresh:
            atomic.fsync_dir(self.folder)
        self._step("prune:told")

    def _delete(self, ids: list[str], story: str, *, count_as: str) -> None:
        if not ids:
            return
        self._use(lambda index: index.make_durable())  # else power loss would make what is merged look lost
        places = [self.folder / record_id for record_id in ids]
        places = [place if place.exists() else self.folder / FAILED / place.name for place in places]
        atomic.remove_trees(places, step=lambda name: self._step(f"{story}:{name}"))
        self._step(f"{story}:deleted")
        self._use(lambda index: index.forget(ids, count_as=count_as))
        self._step(f"{story}:counted")

    # refusals

    def _move_if_refused(self, record_id: str) -> None:
        if self._use(lambda index: index.is_refused(record_id)):
            self._move_to_failed(record_id, self._use(lambda index: index.refusals(record_id)))

    def _move_to_failed(self, record_id: str, reasons: Mapping[str, str]) -> None:
        folder, target = self.folder / record_id, self.folder / FAILED / record_id
        # The reason goes in first: a folder that has one is refused, whatever the index says after a crash.
        atomic.write_json(folder / REASON, {"record_id": record_id, "reasons": dict(reasons)})
        self._step("fail:reason_written")
        atomic.move(folder, target)
        self._step("fail:moved")
        reason = outbox_folder.summary(reasons)
        self._use(lambda index: index.set_state([record_id], "failed", reason=reason))
        self._step("fail:recorded")
        _log.warning("%s was refused for good and is kept in %s: %s", record_id, target, reason)

    def retry(self, record_id: str) -> None:
        """Send a refused record again: it waits once more, and the server is asked what it has of it.

        raises: MessageError where it is not among the refused ones or cannot be read, OSError
        """
        with self._lock:
            folder, source = self.folder / record_id, self.folder / FAILED / record_id
            if not topics.NAME.match(record_id) or not source.is_dir():
                raise MessageError(f"{record_id!r} is not among the refused records.")
            self._check_whole(source)
            # While it has its reason it is refused, wherever it lies: taking that out is what decides.
            atomic.move(source, folder)
            self._step("retry:moved")
            (folder / REASON).unlink(missing_ok=True)
            atomic.fsync_dir(folder)
            self._step("retry:decided")
            self._take_in(folder, resumed=True)
            self._step("retry:queued")
        self._tell_listeners()

    def _check_whole(self, folder: Path) -> None:
        try:
            _, items = outbox_folder.rows(folder.name, (folder / SIDECAR).read_bytes())
            outbox_folder.check_sizes(folder, items)
        except (OSError, MessageError) as error:
            raise MessageError(f"{folder.name} is damaged and cannot be sent: {error}") from None

    def take_requests(self) -> None:
        """Do what `waycue-device outbox retry` asked for while this process has the outbox. Raises: OSError."""
        for name in outbox_folder.requests(self.folder):
            try:
                self.retry(name)
            except MessageError as error:
                _log.warning("%s", error)
            (self.folder / REQUESTS / name).unlink(missing_ok=True)

    # recovery

    def _use(self, work: Callable[[Index], _Result], *, spend: bool = True) -> _Result:
        """Work on the index; where it turns out damaged, or (spend) the disk full, do something about it and try once
        more."""
        with self._lock:
            if not self._open:
                raise OSError(errno.EBADF, "the outbox is closed", str(self.folder))
            try:
                return work(self._index)
            except Damaged as error:
                self._rebuild(str(error))
            except OSError as error:
                if not spend or error.errno not in FULL or not self._reserve.spend():
                    raise
            return work(self._index)

    def _recover(self, *, resumed: bool) -> Recovery:
        try:
            resumed |= self._note_open()
            return self._reconcile(resumed=resumed)
        except Damaged as error:
            return replace(self._rebuild(str(error)), rebuilt=True)

    def _opened_index(self) -> tuple[Index, bool]:
        try:
            return outbox_index.open_or_replace(self.folder / INDEX)
        except OSError:  # SQLite says EIO where a full disk has no room for the file that it shares with readers
            if not self._reserve.spend():
                raise
        return outbox_index.open_or_replace(self.folder / INDEX)

    def _note_open(self) -> bool:
        """Whether power loss may have taken back what the index knew."""
        try:
            return self._index.opened(self._boot)
        except OSError as error:
            _log.warning("That the outbox is open cannot be written down: %s", error)
            return True

    def _rebuild(self, why: str) -> Recovery:
        _log.warning("The outbox index is damaged (%s) and is built again.", why)
        self._index.close()
        outbox_index.set_aside(self.folder / INDEX)
        self._index, _ = outbox_index.open_or_replace(self.folder / INDEX)
        self._note_open()
        return self._reconcile(resumed=True)

    def _reconcile(self, *, resumed: bool) -> Recovery:
        """Make the index say what the folders say. resumed: the server may have some of what is taken in."""
        rows = {row.record_id: row for row in self._index.records()}
        taken_in: list[str] = []
        damaged: list[str] = []
        lost: list[str] = []
        for folder in outbox_folder.folders(self.folder):
            if (folder / REASON).exists():
                atomic.move(folder, self.folder / FAILED / folder.name)
            elif folder.name not in rows or rows[folder.name].state == "failed":  # failed, without a reason: retried
                (taken_in if self._take_in(folder, resumed=resumed) else damaged).append(folder.name)
        self._reconcile_failed(rows)
        for row in rows.values():
            if not (self.folder / row.record_id).exists() and not (self.folder / FAILED / row.record_id).exists():
                lost += self._row_without_folder(row)
        self._finish([row for row in rows.values() if row.state == "dropped"])
        for row in rows.values():
            if row.state == "queued" and self._index.is_refused(row.record_id):
                self._move_to_failed(row.record_id, self._index.refusals(row.record_id))
        return Recovery(taken_in=tuple(taken_in), lost=tuple(lost), damaged=tuple(damaged))

    def _take_in(self, folder: Path, *, resumed: bool) -> bool:
        try:
            record, items = outbox_folder.rows(folder.name, (folder / SIDECAR).read_bytes())
            outbox_folder.check_sizes(folder, items)
        except (OSError, MessageError) as error:
            self._move_to_failed(folder.name, {RECORD_KIND: f"the sealed folder is damaged ({error})"})
            self._note_failed(self.folder / FAILED / folder.name)
            return False
        state = "sending" if resumed else "queued"
        self._index.add(record, [replace(item, state=state) for item in items])
        return True

    def _reconcile_failed(self, rows: Mapping[str, RecordRow]) -> None:
        for folder in outbox_folder.folders(self.folder / FAILED):
            row = rows.get(folder.name)
            if row is None:
                self._note_failed(folder)
            elif row.state == "queued":
                self._index.set_state([folder.name], "failed", reason=outbox_folder.read_reason(folder))

    def _note_failed(self, folder: Path) -> None:
        size = sum(file.stat().st_size for file in folder.iterdir())
        self._index.add(RecordRow(folder.name, "", 2, size, "failed", outbox_folder.read_reason(folder)), [])

    def _row_without_folder(self, row: RecordRow) -> list[str]:
        if row.state == "deletable":
            self._index.forget([row.record_id], count_as="merged")
            return []
        if row.state != "dropped":  # those were told when they were given up, or are in _finish
            self._tell_lost([row.record_id], "its folder is gone from the disk")
            self._index.forget([row.record_id], count_as="lost")
            return [row.record_id]
        return []

    def _finish(self, dropped: list[RecordRow]) -> None:
        """Complete a `prune` that was interrupted."""
        ids = [row.record_id for row in dropped]
        if ids:
            self._tell_lost(ids, "deleted to make room")
            self._delete(ids, "prune", count_as="lost")

    def _item(self, row: ItemRow) -> Item:
        return Item(
            record_id=row.record_id,
            kind=row.kind,
            path=self.folder / row.record_id / row.file,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            bulk=row.bulk,
            resumed=row.state == "sending",
            order=(int(row.bulk), row.importance, row.seq, row.rank),
        )


def _lock_folder(folder: Path) -> BinaryIO:
    hint = "Stop that one, or give this one --state."
    busy = ConfigError(f"The outbox {folder} is in use by another waycue-device.", hint=hint)
    return file_lock.acquire(folder / ".lock", busy=busy)
