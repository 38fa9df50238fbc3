"""What waits to reach the server, so that no power cut, full disk or lost network takes a flagged moment away.

    <folder>/<record id>/{record.json, frame.jpg, audio.wav, clip.mp4}     sealed, not changed once any of it was sent
    <folder>/.<record id>.sealing/                                         being sealed; a leftover is deleted on open
    <folder>/failed/<record id>/{…, reason.json}                           refused for good; kept for a person
    <folder>/.retry/<record id>                                            a person asks to send this refused one again
    <folder>/lost.jsonl                                                    what was given up, by name and why
    <folder>/.reserve                                                      disk space held back, to empty a full disk
    <folder>/index.sqlite                                                  built again from the folders when damaged

Promises:

1. When `seal_*` returns, the record is on disk and will be sent, whatever happens. When it raises, nothing is left.
2. A record is deleted only after the server said `merged` for it and for every one of its payload files,
   or by `prune` and `evict`, which delete what is merged first and name everything else that they delete.
3. What is refused for good goes to failed/ with its reason. It is never counted as sent, and not sent again unless a
   person says so (`retry`).
   What the wearer has erased (`seal_erase`) is deleted at once, also what is being sent; after a crash in between, the
   rest of it at the next opening.
4. Uploader and retention share one registry of claims: what is being sent is not deleted under its hands.
5. Order of sending: everything small before clips that do not fit into their record's container; corrections, then what
   the wearer flagged, then the rest; then age.

`record.json` is exactly the message that travels on `up/event`. With a key of the server's it and the payload files are
encrypted before they touch the disk (device.outbox.enclosed).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from device.boot import kernel_boot
from device.outbox import containers, inspect
from device.outbox import folder as outbox_folder
from device.outbox.enclosed import enclose, enclosed_record
from device.outbox.folder import FAILED, FILE_NAMES, RECORD_KIND, REQUESTS, SIDECAR, wire_name
from device.outbox.index import ItemRow, RecordRow
from device.outbox.inspect import peek as peek
from device.outbox.record_store import RecordStore
from device.outbox.types import Counts as Counts
from device.outbox.types import OutboxItem as OutboxItem
from device.outbox.types import Pruned as Pruned
from device.outbox.types import Recovery as Recovery
from shared import atomic, messages
from shared.atomic import Step, no_step
from shared.errors import MessageError
from shared.messages import ChunkRecord, CorrectionRecord, Envelope, EraseRecord, HelpRecord, SealedRecord

STEPS = (
    "seal:files_written", "seal:files_synced", "seal:renamed", "seal:indexed",
    "claim:marked", "ack:marked", "forget:moved_aside", "forget:deleted", "forget:counted",
    "fail:marked", "fail:reason_written", "fail:moved", "fail:recorded",
    "retry:moved", "retry:decided", "retry:queued",
    "erase:unlisted", "erase:moved_aside", "erase:deleted", "words:unlisted", "words:written", "words:listed",
    "prune:marked", "prune:logged", "prune:moved_aside", "prune:deleted", "prune:counted",
)  # fmt: skip
"""Every durable step, in order; a crash test kills the process at each."""

MOST_ITEMS = 4  # a record and its files
logger = logging.getLogger(__name__)


class Outbox:
    """The open outbox of one agent. Any thread may call any method.

    crash_point: called with the name of each durable step (STEPS) right after it. boot: what names this run of the
    machine's kernel; None = ask it. key: the server's, which alone can then read what is sealed from now on; None = it
    is not encrypted. raises: InUse where another process has it open, OSError.
    """

    def __init__(
        self, folder: Path, *, crash_point: Step = no_step, boot: str | None = None, key: X25519PublicKey | None = None
    ) -> None:
        self.folder = folder
        self._crash_point = crash_point
        self._key = key
        self._claimed: dict[str, str] = {}  # item name → record id
        self._held: set[str] = set()
        """Record ids that are not handed out yet."""
        self._apart: set[str] = set()
        """Record ids that are not sent as containers."""
        self._listeners: list[Callable[[], None]] = []
        self.on_help: Callable[[str, bool], None] = lambda record_id, taken: None
        """Called with each call for help that the server answered (any thread, quick): its id, whether it was taken."""
        self._forgetting = threading.Lock()
        """Taken before `_lock`, never the other way round."""
        self._forgotten: tuple[str, ...] = ()
        """By the last `forget_merged`."""
        self._store = RecordStore(folder, boot=boot or kernel_boot(), crash_point=crash_point)
        self._lock = self._store.lock
        self.recovered = self._store.recovered
        try:
            self.retry_requested()
            self._retry_erasures()
            for record in self._store.erasures():
                self._store.erase(record)
        except BaseException:
            self.close()
            raise

    def use_key(self, key: X25519PublicKey | None) -> None:
        """Encrypt to this key from now on."""
        self._key = key

    def close(self) -> None:
        """Let another process open it. Idempotent."""
        with self._lock:
            self._store.close()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` (any thread, quick) whenever there is more to send."""
        self._listeners.append(listener)

    # sealing

    def seal_chunk(self, record: ChunkRecord, payloads: Mapping[str, bytes]) -> ChunkRecord:
        """Store a flagged chunk. payloads: part kind (frame, audio, clip) → bytes. Returns the record with its parts.

        Durable when it returns; sealing the same again does nothing.
        raises: OSError (ENOSPC too, and nothing is left behind), MessageError for what cannot travel.
        """
        sealed = replace(record, parts=outbox_folder.parts(payloads))
        self._seal(sealed, Envelope("chunk", record.chunk_id, messages.to_dict(sealed)), payloads)
        return sealed

    def seal_correction(self, record: CorrectionRecord, wav: bytes) -> CorrectionRecord:
        """Store a spoken correction. As seal_chunk."""
        payloads = {"correction_audio": wav}
        sealed = replace(record, parts=outbox_folder.parts(payloads))
        envelope = Envelope("correction", record.correction_id, messages.to_dict(sealed))
        self._seal(sealed, envelope, payloads)
        return sealed

    def seal_erase(self, record: EraseRecord) -> EraseRecord:
        """Delete every sealed record that this covers, and store the wish for the server, which may have some of them.

        Durable when it returns; the same again does nothing more. Returns it with the ids of what lay here.
        raises: OSError, MessageError
        """
        with self._lock:
            ids = tuple(dict.fromkeys((*record.record_ids, *self._store.covered(record))))
            sealed = replace(record, record_ids=ids)
            if not (self.folder / record.erase_id).exists():
                self._seal(sealed, Envelope("erase", record.erase_id, messages.to_dict(sealed)), {})
            self._store.erase(sealed)
        return sealed

    def seal_help(self, record: HelpRecord) -> HelpRecord:
        """Store a call for help: it is sent before everything else, and given up for nothing. As seal_chunk."""
        self._seal(record, Envelope(messages.HELP, record.help_id, messages.to_dict(record)), {})
        return record

    def hold(self, record_id: str) -> None:
        """Do not send this correction, which is about to be sealed, before `let_go`, or the next opening. Waits for
        nothing, not for the lock either."""
        self._held.add(record_id)

    def let_go(self, record_id: str, heard: CorrectionRecord | None = None) -> None:
        """Send a correction that was held, with what was heard in it in the meantime. heard: the record as `seal_*`
        returned it, with its words; where it is no longer held, was erased, or was sent before, they are left out.

        raises: OSError, MessageError; it is sent all the same
        """
        try:
            if heard is not None:
                self._add_words(record_id, heard)
        finally:
            with self._lock:
                self._held.discard(record_id)
            self._call_listeners()

    def _add_words(self, record_id: str, heard: CorrectionRecord) -> None:
        with self._lock:
            folder = self.folder / record_id
            row = self._store.use(lambda index: index.record(record_id))
            if record_id not in self._held or row is None or row.state != "queued" or self._is_under_way(record_id):
                return
            _, kept = outbox_folder.read_sidecar(record_id, (folder / SIDECAR).read_bytes())
            envelope = Envelope("correction", record_id, messages.to_dict(heard))
            if isinstance(kept, SealedRecord) and self._key is not None:
                envelope = enclosed_record(heard, envelope, kept.parts, self._key)
            self._store.rewrite(record_id, messages.encode(envelope))

    def _is_under_way(self, record_id: str) -> bool:
        """Whether the server may have some of it: then it stays as it is."""
        rows = self._store.use(lambda index: index.items(record_id))
        return record_id in self._claimed.values() or any(row.state != "queued" for row in rows)

    def _seal(self, sealed: messages.Record, envelope: Envelope, payloads: Mapping[str, bytes]) -> None:
        record_id, sidecar = envelope.record_id, messages.encode(envelope)
        outbox_folder.check_names(record_id, payloads)
        # What the server would refuse must fail here, where the agent can still say so.
        record, items = outbox_folder.rows(record_id, sidecar)
        folder = self.folder / record_id
        if (self.folder / FAILED / record_id).exists():
            raise MessageError(f"{record_id} was refused by the server before.")
        if folder.exists():
            if not outbox_folder.is_same((folder / SIDECAR).read_bytes(), sidecar):
                raise MessageError(f"{record_id} was sealed before with other content.")
            return
        if self._key is not None and isinstance(sealed, ChunkRecord | CorrectionRecord):
            envelope, payloads = enclose(sealed, envelope, payloads, self._key)
            sidecar = messages.encode(envelope)
            record, items = outbox_folder.rows(record_id, sidecar)
        files = {FILE_NAMES[part]: data for part, data in payloads.items()} | {SIDECAR: sidecar}
        try:
            atomic.write_folder(folder, files, step=lambda name: self._crash_point(f"seal:{name}"))
            self._store.use(lambda index: index.add(record, items), spend=False)
        except OSError:
            atomic.remove_tree(folder)
            raise
        self._crash_point("seal:indexed")
        self._call_listeners()

    def _call_listeners(self) -> None:
        for listener in self._listeners:
            listener()

    # sending

    def claim_whole(self, count: int, *, clips: bool) -> list[OutboxItem]:
        """As `claim`, of what is small, records and their files in containers. clips: whether in one there may be a
        small clip."""
        if count < 1:
            return []
        found, of = list[OutboxItem](), set[str]()
        with self._lock:
            busy = len(self._claimed) + MOST_ITEMS * len(self._held)
            for row in self._store.use(lambda index: index.next_items(count * MOST_ITEMS + busy, bulk=False)):
                if row.record_id in of or not self._is_free(row):
                    continue
                item = self._container(row, clips=clips)
                if item is not None:
                    of.add(row.record_id)
                found.append(item or self._item(row))
                if len(found) == count:
                    break
            self._hand_out(found)
        return found

    def _container(self, row: ItemRow, *, clips: bool) -> OutboxItem | None:
        """The container that begins with this record; None = it is sent by itself."""
        if row.kind != RECORD_KIND or row.record_id in self._apart:
            return None
        rows = self._store.use(lambda index: index.items(row.record_id))
        if any(one.state not in ("queued", "sending") for one in rows):
            return None
        items = list(map(self._item, rows))
        if any(item.name in self._claimed for item in items):
            return None
        try:
            return containers.contained(items, clips=clips)
        except OSError as error:
            logger.warning("%s cannot be read now (%s).", row.record_id, error)
            return None

    def apart(self, item: OutboxItem) -> None:
        """Hand a container back that cannot be sent as one: until the next opening its record travels as files."""
        with self._lock:
            self._apart.add(item.record_id)
            self.release([item])

    def claim(self, count: int, *, bulk: bool = False) -> list[OutboxItem]:
        """Up to `count` items to send now, in order; clips only with bulk=True. They are the caller's until it calls
        `merged`, `refused` or `release`."""
        if count < 1:
            return []
        with self._lock:
            more = len(self._claimed) + MOST_ITEMS * len(self._held)
            rows = self._store.use(lambda index: index.next_items(count + more, bulk=bulk))
            items = list(map(self._item, islice(filter(self._is_free, rows), count)))
            self._hand_out(items)
        return items

    def _is_free(self, row: ItemRow) -> bool:
        return row.record_id not in self._held and wire_name(row.record_id, row.kind) not in self._claimed

    def _hand_out(self, items: Iterable[OutboxItem]) -> None:
        single = [one for item in items for one in item.single]
        fresh = [(one.record_id, one.kind) for one in single if not one.resumed]
        if fresh:
            self._mark_sending(fresh)
        self._claimed.update({one.name: one.record_id for one in single})

    def _mark_sending(self, fresh: list[tuple[str, str]]) -> None:
        """So that a later process asks what is there. Where the disk does not take it, a window may be sent twice after
        a crash; not to send at all would keep a full disk full."""
        try:
            self._store.use(lambda index: index.mark_sending(fresh))
            self._crash_point("claim:marked")
        except OSError as error:
            logger.warning("What is being sent cannot be written down, and is sent all the same: %s", error)

    def _item(self, row: ItemRow) -> OutboxItem:
        return OutboxItem(
            record_id=row.record_id,
            kind=row.kind,
            path=self.folder / row.record_id / row.file,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            bulk=row.bulk,
            resumed=row.state == "sending",
            order=(int(row.bulk), row.importance, row.seq, row.rank),
        )

    def release(self, items: Iterable[OutboxItem]) -> None:
        """Hand claimed items back unsent."""
        with self._lock:
            for item in items:
                for one in item.single:
                    self._claimed.pop(one.name, None)

    def merged(self, items: Iterable[OutboxItem]) -> None:
        """The server has these durably. Their folders stay until `forget_merged` or `prune`. Raises: OSError."""
        done = [one for item in items for one in item.single]
        with self._lock:
            self._store.use(lambda index: index.mark_merged([(item.record_id, item.kind) for item in done]))
            self._crash_point("ack:marked")
            self.release(done)
            for record_id in {item.record_id for item in done}:
                self._store.refuse_if_answered(record_id)
        self._answered(item.record_id for item in done)

    def refused(self, item: OutboxItem, reason: str) -> None:
        """The server will never take this. Once nothing else of its record is to be sent, it goes to failed/."""
        with self._lock:
            self._store.use(lambda index: index.mark_refused(item.record_id, item.kind, reason))
            self._crash_point("fail:marked")
            self.release([item])
            self._store.refuse_if_answered(item.record_id)
        self._answered([item.record_id], taken=False)

    def _answered(self, record_ids: Iterable[str], *, taken: bool = True) -> None:
        for record_id in filter(messages.is_help, record_ids):
            self.on_help(record_id, taken)

    def forget_merged(self) -> tuple[str, ...]:
        """Delete every record that the server has as a whole. Returns their ids. Raises: OSError.

        Others may seal, claim and send while the files are unlinked. Where another thread is just deleting, this waits
        for it, and returns what it deleted if nothing is left.
        """
        waited = not self._forgetting.acquire(blocking=False)
        if waited:
            self._forgetting.acquire()
        try:
            with self._lock:
                ids = [row.record_id for row in self._store.use(lambda index: index.records("deletable"))]
                aside = self._store.move_aside(ids, "forget")
            self._store.unlink(aside, "forget")
            with self._lock:
                self._store.forget_rows(ids, "forget", count_as="merged")
                self._store.hold_reserve()
            if ids or not waited:
                self._forgotten = tuple(ids)
            return self._forgotten
        finally:
            self._forgetting.release()

    def retry(self, record_id: str) -> None:
        """Send a refused record again: it waits once more, and the server is asked what it has of it.

        raises: MessageError where it is not among the refused ones or cannot be read, OSError
        """
        with self._lock:
            self._store.retry(record_id)
        self._call_listeners()

    def retry_requested(self) -> None:
        """Do what `waycue-device outbox retry` asked for while this process has the outbox. Raises: OSError."""
        for name in outbox_folder.requests(self.folder):
            try:
                self.retry(name)
            except MessageError as error:
                logger.warning("%s", error)
            (self.folder / REQUESTS / name).unlink(missing_ok=True)

    def _retry_erasures(self) -> None:
        """Send refused wishes again, at each start: an older server refused them, and it may have been updated."""
        for row in self.failures():
            if row.kind == "erase":
                try:
                    self.retry(row.record_id)
                except (MessageError, OSError) as error:
                    logger.warning("%s is not sent again: %s", row.record_id, error)

    # how full it is, and making room

    def counts(self) -> Counts:
        with self._lock:
            sending = len(set(self._claimed.values()))
            return replace(self._store.use(inspect.counts), sending=sending)

    def failures(self) -> list[RecordRow]:
        """What the server refused for good, oldest first."""
        return self._store.use(lambda index: index.records("failed"))

    def prune(self, limit_bytes: int) -> Pruned:
        """Delete until at most `limit_bytes` lie here: merged records first, then refused ones, then unsent ones, of
        these the least important and oldest first. What is being sent is left alone. Raises: OSError."""
        with self._lock:
            excess = self.counts().disk_bytes - limit_bytes
            merged, excess = self._enough(self._store.use(lambda index: index.records("deletable")), excess)
            self._store.delete(merged, "prune", count_as="merged")
            lost, _ = self._enough(self._unsent(), excess)
            self._store.give_up(lost, "deleted to make room")
        return Pruned(tuple(merged), tuple(lost))

    def evict(self, need_bytes: int, importance: int) -> Pruned:
        """Delete refused and unsent records less important than `importance` until `need_bytes` are freed: for a disk
        that is full (ENOSPC). Raises: OSError."""
        with self._lock:
            lost, _ = self._enough([row for row in self._unsent() if row.importance > importance], need_bytes)
            self._store.give_up(lost, "deleted to make room for something that matters more")
        return Pruned(lost=tuple(lost))

    def note_lost(self, record_ids: Iterable[str], why: str) -> None:
        """Name what never got in here: the disk did not take it. Raises: OSError."""
        ids = list(record_ids)
        with self._lock:
            self._store.log_lost(ids, why)
            self._store.use(lambda index: index.count("lost", len(ids)))

    def _unsent(self) -> list[RecordRow]:
        """What may be given up, in that order. Never a wish that waits, for the server would keep what is to be erased,
        and never a call for help."""
        waiting = self._store.use(lambda index: index.records("queued", order="least"))
        return self.failures() + [row for row in waiting if row.kind not in (messages.ERASE, messages.HELP)]

    def _enough(self, rows: list[RecordRow], excess: int) -> tuple[list[str], int]:
        """The first unclaimed records that free `excess` bytes, and what is then left of it."""
        busy = set(self._claimed.values())
        chosen = []
        for row in rows:
            if excess <= 0:
                break
            if row.record_id not in busy:
                chosen.append(row.record_id)
                excess -= row.size_bytes
        return chosen, excess
