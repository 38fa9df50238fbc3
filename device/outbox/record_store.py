"""The sealed folders of an outbox and their index, kept in agreement: deletion, refusal, recovery.

The folders are the truth. The index is built again from them where it is missing or damaged, while it is in use too.
Each change is ordered so that after a crash at any point `recover` can tell what was meant:

    delete    what is merged becomes durable in the index → folder aside → folder gone → row gone
    give up   row marked dropped → named in lost.jsonl → as delete
    erase     rows gone, durably → folders aside → folders gone
    rewrite   row gone, durably → record.json replaced → row from the folder
    refuse    reason.json into the folder → folder to failed/ → row marked failed
    retry     folder back from failed/ → reason.json out of it → row queued

Its caller holds `lock` around every call but `use`, which takes it, and `unlink`.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from device.outbox import folder as outbox_folder
from device.outbox import index as outbox_index
from device.outbox.folder import FAILED, INDEX, LOST, REASON, RECORD_KIND, SIDECAR
from device.outbox.index import Damaged, Index, RecordRow, Total
from device.outbox.reserve import FULL, Reserve
from device.outbox.types import Recovery
from shared import atomic, erasure, file_lock, topics
from shared.atomic import Step
from shared.errors import InUse, MessageError
from shared.messages import EraseRecord, HelpRecord, Record, SealedRecord

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class RecordStore:
    """boot: what names this run of the machine's kernel. crash_point: called with the name of each durable step.

    raises: InUse where another process has it open, OSError
    """

    def __init__(self, folder: Path, *, boot: str, crash_point: Step) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._boot = boot
        self._crash_point = crash_point
        self._open = True
        self._reserve = Reserve(folder)
        atomic.make_dirs(folder / FAILED)
        self._lock_file = _lock_folder(folder)
        try:
            leftovers = [*atomic.remove_leftovers(folder), *atomic.remove_leftovers(folder / FAILED)]
            atomic.drop_torn_tail(folder / LOST)
            self._index, fresh = self._opened_index()
            recovered = self._recover(resumed=fresh)
            rebuilt = recovered.rebuilt or (fresh and recovered != Recovery())
            self.recovered = replace(recovered, leftovers=tuple(leftovers), rebuilt=rebuilt)
            self.hold_reserve()
        except BaseException:
            self._lock_file.close()
            raise
        if self.recovered != Recovery():
            logger.warning("The outbox was put right after an interruption: %s.", self.recovered.summary())

    def close(self) -> None:
        if self._open:
            try:
                with self._translated():
                    self._index.closed()
            except (Damaged, OSError) as error:
                logger.info("The outbox is closed as if by a crash: %s", error)
        self._open = False
        self._index.close()
        self._lock_file.close()

    def use(self, work: Callable[[Index], _Result], *, spend: bool = True) -> _Result:
        """Work on the index. Where it turns out damaged it is built again, and (spend) where the disk is full the
        reserve is given up; then the work is tried once more. Raises: OSError."""
        with self.lock:
            if not self._open:
                raise OSError(errno.EBADF, "the outbox is closed", str(self.folder))
            try:
                with self._translated():
                    return work(self._index)
            except Damaged as error:
                self._rebuild(str(error))
            except OSError as error:
                if not spend or error.errno not in FULL or not self._reserve.spend():
                    raise
            with self._translated():
                return work(self._index)

    def _translated(self) -> AbstractContextManager[None]:
        return outbox_index.translated(self.folder / INDEX)

    def hold_reserve(self) -> None:
        """Take the disk space back that is held for a full disk, where there is room again."""
        self._reserve.hold()

    def delete(self, ids: list[str], story: str, *, count_as: Total) -> None:
        """Delete folders and rows. story: of the crash points. Raises: OSError."""
        self.unlink(self.move_aside(ids, story), story)
        self.forget_rows(ids, story, count_as=count_as)

    def move_aside(self, ids: list[str], story: str) -> list[Path]:
        """Where the folders of what is to be deleted now lie, durably: no crash brings them back. Raises: OSError."""
        if not ids:
            return []
        self.use(lambda index: index.make_durable())  # else power loss would make what is merged look lost
        places = [self.folder / record_id for record_id in ids]
        places = [place if place.exists() else self.folder / FAILED / place.name for place in places]
        return atomic.move_aside(places, step=lambda name: self._crash_point(f"{story}:{name}"))

    def unlink(self, aside: list[Path], story: str) -> None:
        """Free the space. Needs no lock: nobody else knows these names. Raises: OSError."""
        if aside:
            atomic.remove_aside(aside)
            self._crash_point(f"{story}:deleted")

    def forget_rows(self, ids: list[str], story: str, *, count_as: Total) -> None:
        """Remove the rows of what was deleted, and count it. Raises: OSError."""
        if ids:
            self.use(lambda index: index.forget(ids, count_as=count_as))
            self._crash_point(f"{story}:counted")

    def give_up(self, ids: list[str], why: str) -> None:
        """Delete what never reached the server, by name. Raises: OSError."""
        if not ids:
            return
        self.use(lambda index: index.set_state(ids, "dropped", reason=why))
        self._crash_point("prune:marked")
        self.log_lost(ids, why)
        self.delete(ids, "prune", count_as="lost")

    def log_lost(self, ids: Iterable[str], why: str) -> None:
        """Name what is lost in lost.jsonl. Raises: OSError."""
        path = self.folder / LOST
        fresh = not path.exists()
        with open(path, "ab") as lost:
            for record_id in ids:
                logger.warning("%s is lost: %s.", record_id, why)
                atomic.append_line(lost, {"record_id": record_id, "why": why})
        if fresh:
            atomic.fsync_dir(self.folder)
        self._crash_point("prune:logged")

    # what is heard of it, what the wearer has erased

    def erasures(self) -> list[EraseRecord]:
        """Those that wait for the server: what they cover may not have been deleted before a crash."""
        found = []
        for row in self.use(lambda index: index.records("queued")):
            if row.kind == "erase":
                record = self._read(row.record_id)
                found += [record] if isinstance(record, EraseRecord) else []
        return found

    def covered(self, erase: EraseRecord) -> list[str]:
        """Ids of the records here, refused ones too, that an erasure is about. Raises: OSError."""
        found = []
        for row in self.use(lambda index: index.records()):
            named, maybe = row.record_id in erase.record_ids, erasure.of_its_boot(erase, row.record_id)
            record = self._read(row.record_id) if maybe and not named else None
            if record is not None and not isinstance(record, EraseRecord | HelpRecord):
                named = erasure.in_time(erase, row.record_id, record)
            if named:
                found.append(row.record_id)
        return found

    def erase(self, erase: EraseRecord) -> None:
        """Delete what it covers. The rows go first: a folder without a row is found again and, as long as the erasure
        waits for the server, erased again. Raises: OSError."""
        ids = self.covered(erase)
        places = [
            place for name in ids for place in (self.folder / name, self.folder / FAILED / name) if place.exists()
        ]
        if not ids:
            return
        self.use(lambda index: index.forget(ids, count_as="erased"))
        self.use(lambda index: index.make_durable())
        self._crash_point("erase:unlisted")
        atomic.remove_trees(places, step=lambda name: self._crash_point(f"erase:{name}"))
        self._crash_point("erase:deleted")
        logger.info("Erased as the wearer wanted: %s", ", ".join(ids))

    def rewrite(self, record_id: str, sidecar: bytes) -> None:
        """Replace the record.json of a folder of which nothing was sent. Where that fails, the old one stays queued.

        raises: OSError
        """
        folder = self.folder / record_id
        self.use(lambda index: index.forget([record_id], count_as=None))
        try:
            self.use(lambda index: index.make_durable())
            self._crash_point("words:unlisted")
            atomic.write_bytes(folder / SIDECAR, sidecar)
            self._crash_point("words:written")
        finally:
            self.use(lambda index: self._add_folder(folder, resumed=False))
        self._crash_point("words:listed")

    def _read(self, record_id: str) -> Record | SealedRecord | None:
        """A record that lies here; None where it cannot be read."""
        for folder in (self.folder, self.folder / FAILED):
            try:
                return outbox_folder.read_sidecar(record_id, (folder / record_id / SIDECAR).read_bytes())[1]
            except FileNotFoundError:
                continue
            except MessageError:
                return None
        return None

    # refusal and retry

    def refuse_if_answered(self, record_id: str) -> None:
        """Move a record to failed/ once all of it was answered and some of it refused. Raises: OSError."""
        if self.use(lambda index: index.is_refused(record_id)):
            self._move_to_failed(record_id, self.use(lambda index: index.refusals(record_id)))

    def _move_to_failed(self, record_id: str, reasons: Mapping[str, str]) -> None:
        folder, target = self.folder / record_id, self.folder / FAILED / record_id
        # The reason goes in first: a folder that has one is refused, whatever the index says after a crash.
        atomic.write_json(folder / REASON, {"record_id": record_id, "reasons": dict(reasons)})
        self._crash_point("fail:reason_written")
        atomic.move(folder, target)
        self._crash_point("fail:moved")
        reason = outbox_folder.summary(reasons)
        self.use(lambda index: index.set_state([record_id], "failed", reason=reason))
        self._crash_point("fail:recorded")
        logger.warning("%s was refused for good and is kept in %s: %s", record_id, target, reason)

    def retry(self, record_id: str) -> None:
        """Queue a refused record again. Raises: MessageError where it is not refused or not whole, OSError."""
        folder, refused = self.folder / record_id, self.folder / FAILED / record_id
        if not topics.NAME.match(record_id) or not refused.is_dir():
            raise MessageError(f"{record_id!r} is not among the refused records.")
        try:
            outbox_folder.read_whole(refused)
        except (OSError, MessageError) as error:
            raise MessageError(f"{record_id} is damaged and cannot be sent: {error}") from None
        # While it has its reason it is refused, wherever it lies: taking that out is what decides.
        atomic.move(refused, folder)
        self._crash_point("retry:moved")
        (folder / REASON).unlink(missing_ok=True)
        atomic.fsync_dir(folder)
        self._crash_point("retry:decided")
        with self._translated():
            self._add_folder(folder, resumed=True)
        self._crash_point("retry:queued")

    # recovery

    def _opened_index(self) -> tuple[Index, bool]:
        try:
            return outbox_index.open_or_replace(self.folder / INDEX)
        except OSError:  # SQLite says EIO where a full disk has no room for the file that it shares with readers
            if not self._reserve.spend():
                raise
        return outbox_index.open_or_replace(self.folder / INDEX)

    def _recover(self, *, resumed: bool) -> Recovery:
        try:
            resumed |= self._note_open()
            with self._translated():
                return self._reconcile(resumed=resumed)
        except Damaged as error:
            return replace(self._rebuild(str(error)), rebuilt=True)

    def _note_open(self) -> bool:
        """Whether power loss may have taken back what the index knew."""
        try:
            with self._translated():
                return self._index.opened(self._boot)
        except OSError as error:
            logger.warning("That the outbox is open cannot be written down: %s", error)
            return True

    def _rebuild(self, why: str) -> Recovery:
        logger.warning("The outbox index is damaged (%s) and is built again.", why)
        self._index.close()
        outbox_index.set_aside(self.folder / INDEX)
        self._index, _ = outbox_index.open_or_replace(self.folder / INDEX)
        self._note_open()
        with self._translated():
            return self._reconcile(resumed=True)

    def _reconcile(self, *, resumed: bool) -> Recovery:
        """Make the index say what the folders say. resumed: the server may have some of what is added."""
        rows = {row.record_id: row for row in self._index.records()}
        added, damaged = self._reconcile_folders(rows, resumed=resumed)
        self._reconcile_failed(rows)
        lost = [row.record_id for row in rows.values() if self._is_lost(row)]
        dropped = [row.record_id for row in rows.values() if row.state == "dropped"]
        if dropped:  # complete what was interrupted while it was given up
            self.log_lost(dropped, "deleted to make room")
            self.delete(dropped, "prune", count_as="lost")
        for row in rows.values():
            if row.state == "queued" and self._index.is_refused(row.record_id):
                self._move_to_failed(row.record_id, self._index.refusals(row.record_id))
        return Recovery(added=tuple(added), lost=tuple(lost), damaged=tuple(damaged))

    def _reconcile_folders(self, rows: Mapping[str, RecordRow], *, resumed: bool) -> tuple[list[str], list[str]]:
        """Ids of what was added to the index, and of what cannot be read."""
        added, damaged = list[str](), list[str]()
        for folder in outbox_folder.folders(self.folder):
            row = rows.get(folder.name)
            if (folder / REASON).exists():
                atomic.move(folder, self.folder / FAILED / folder.name)
            elif row is None or row.state == "failed":  # failed, without a reason: retried
                (added if self._add_folder(folder, resumed=resumed) else damaged).append(folder.name)
        return added, damaged

    def _add_folder(self, folder: Path, *, resumed: bool) -> bool:
        """Queue a sealed folder; one that cannot be read goes to failed/."""
        try:
            record, items = outbox_folder.read_whole(folder)
        except (OSError, MessageError) as error:
            self._move_to_failed(folder.name, {RECORD_KIND: f"the sealed folder is damaged ({error})"})
            self._add_failed(self.folder / FAILED / folder.name)
            return False
        state = "sending" if resumed else "queued"
        self._index.add(record, [replace(item, state=state) for item in items])
        return True

    def _reconcile_failed(self, rows: Mapping[str, RecordRow]) -> None:
        for folder in outbox_folder.folders(self.folder / FAILED):
            row = rows.get(folder.name)
            if row is None:
                self._add_failed(folder)
            elif row.state == "queued":
                self._index.set_state([folder.name], "failed", reason=outbox_folder.read_reason(folder))

    def _add_failed(self, folder: Path) -> None:
        size = sum(file.stat().st_size for file in folder.iterdir())
        kind = "erase" if isinstance(self._read(folder.name), EraseRecord) else ""
        self._index.add(RecordRow(folder.name, kind, 2, size, "failed", outbox_folder.read_reason(folder)), [])

    def _is_lost(self, row: RecordRow) -> bool:
        """Whether the folder of a row is gone, with nobody having meant it; the row then goes too."""
        if (self.folder / row.record_id).exists() or (self.folder / FAILED / row.record_id).exists():
            return False
        if row.state == "deletable":
            self._index.forget([row.record_id], count_as="merged")
        if row.state in ("deletable", "dropped"):
            return False
        self.log_lost([row.record_id], "its folder is gone from the disk")
        self._index.forget([row.record_id], count_as="lost")
        return True


def _lock_folder(folder: Path) -> BinaryIO:
    hint = "Stop that one, or give this one --state."
    busy = InUse(f"The outbox {folder} is in use by another waycue-device.", hint=hint)
    return file_lock.acquire(folder / ".lock", busy=busy)
