"""What devices send becomes the dataset: idempotently, in any order, and durably before anything is acknowledged.

    verify → fsync → atomic rename into the content-addressed folder → lines in records.jsonl and metadata.jsonl
           → folders and logs synced → one transaction committed

The key is (device, record id, part kind) and the SHA-256:

    same key, same hash     merged again (new = false): the acknowledgement was lost
    same key, other hash    quarantined and refused: somebody reused an id, or a disk lies
    a record of another device's chunk, a part that its record names differently: the same

Parts may come before their record and corrections before their chunk. A sample exists once its record, frame and audio
are there; the clip, a correction and its transcript, where they come later, each supersede its row.
`server.dataset.compose` decides that row, and is pure.

`put` takes many at once: one rename after the other, but each folder and log synced once, all side by side, and one
transaction. A crash before the commit leaves lines that the database lacks: the next writer takes them in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import OperationalError

from server.consent import register as consent
from server.consent.terms import Consents
from server.database import store as db
from server.database import upserting
from server.database.store import Store
from server.dataset import help_calls, lookup, objections, part_paths, record_log, row_log, wishes
from server.dataset.blobs import place_of
from server.dataset.came import Came, FileCame, Merged, RecordCame, in_turn, is_new_correction, plainly
from server.dataset.choices import HeardChoice, to_list
from server.dataset.compose import compose
from server.dataset.erasing import Erasures
from server.dataset.folder import Dataset
from server.dataset.groups import SplitBy, group_of
from server.dataset.lookup import BatchFacts, Key
from server.dataset.sample_row import SampleRow, Split, to_dict
from shared import atomic, messages, strict, topics
from shared.atomic import Step, no_step
from shared.clock import Clock
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord, HelpRecord, Part, Record, Status
from shared.printable import printable, printable_value

logger = logging.getLogger(__name__)
STEPS = ("merge:file_moved", "merge:journal_written", "merge:rows_written", "merge:synced", "merge:committed")
"""Every durable step, in order; a crash test kills the process at each."""
QUARANTINE_MAX_BYTES = 256 * 1024 * 1024  # what a device that reuses ids may cost us; beyond that only the fact is kept


@dataclass(frozen=True, slots=True)
class UnheardCorrection:
    """A correction that nobody of the server's has listened to yet."""

    device: str
    record: CorrectionRecord
    sound: Callable[[], bytes]
    """Raises: FileNotFoundError where it was erased meanwhile, or is lost."""


class Merge:
    """Takes records and parts in. Safe from any thread and in any number of processes.

    on_correction: called after a correction's sound is safely stored, from the caller's thread; it must return at once
    (the server wakes its listener with it). step: called with the name of each durable step (STEPS) right after it.
    """

    def __init__(
        self,
        store: Store,
        dataset: Dataset,
        clock: Clock,
        *,
        on_correction: Callable[[], None] | None = None,
        step: Step = no_step,
        split_by: SplitBy = "walk",
    ) -> None:
        self._store, self._dataset, self._clock = store, dataset, clock
        self._on_correction, self._step, self._split_by = on_correction, step, split_by
        self._words_left = False
        """Of erased moments, in the database's WAL: somebody read when it was to be emptied."""
        self._syncing = ThreadPoolExecutor(4, thread_name_prefix="merge-sync")
        dataset.create()

    def put(self, entries: Sequence[Came]) -> list[Merged]:
        """Merge these, in order, in one transaction; what became of each. Durable when it returns.

        Raises: OSError, DatasetError, and then nothing is acknowledged; what was moved is found again.
        """
        with self._writing() as batch:
            outcomes = [outcome for some in in_turn(entries) for outcome in batch.take(some)]
        if self._on_correction and any(is_new_correction(*pair) for pair in zip(entries, outcomes, strict=True)):
            self._on_correction()
        return outcomes

    def put_record(self, device: str, kind: str, record: Record) -> Merged:
        """Merge a sidecar. kind: chunk | correction | erase | help. Durable when it returns.

        raises: OSError, DatasetError
        """
        return self.put([RecordCame(device, kind, record)])[0]

    def put_part(self, device: str, record_id: str, part: Part, path: Path) -> Merged:
        """Merge a payload file. As `put`; raises FileNotFoundError where its bytes are nowhere."""
        outcome = self.put([FileCame(device, record_id, part, path)])[0]
        if outcome.state == "gone":
            raise FileNotFoundError(path)
        return outcome

    def find_parts(self, parts: Sequence[tuple[str, str, Part]]) -> list[bool]:
        """Which of (device, record id, part) were merged before with these very bytes, or belong to what is not kept:
        none of them need to come."""
        table = db.parts
        ids = {record_id for _, record_id, _ in parts}
        own = table.c.device.in_({device for device, _, _ in parts}), table.c.record_id.in_(ids)
        columns = (table.c.device, table.c.record_id, table.c.kind, table.c.sha256)
        with self._store.reading() as connection:
            known = {tuple(row) for row in connection.execute(select(*columns).where(*own))}
            declined = consent.declined_of(connection, {(device, record_id) for device, record_id, _ in parts})
        return [
            (device, record_id, part.kind, part.sha256) in known or (device, record_id) in declined
            for device, record_id, part in parts
        ]

    def put_statuses(self, statuses: Mapping[str, Status]) -> None:
        """Remember what devices last said about themselves, in one transaction. Raises: OSError."""
        seen_at = self._clock.utc_s()
        rows = [
            {
                "device": device,
                "seen_at": seen_at,
                "online": status.online,
                "status": printable_value(messages.to_dict(status)),
            }
            for device, status in statuses.items()
        ]
        with self._said_as_os_error(), self._store.writing() as connection:
            connection.execute(upserting.replace(connection, db.devices), rows)

    def put_transcript(
        self,
        device: str,
        correction_id: str,
        *,
        transcript: str,
        confidence: float,
        proposal: str,
        choices: Sequence[HeardChoice] = (),
    ) -> None:
        """Write down what was heard in a correction, the wording that it proposes ("" = not understood), and what may
        have been meant instead."""
        table = db.records
        values = {
            "transcript": printable(transcript),
            "heard_confidence": confidence,
            "proposal": printable(proposal),
            "choices": to_list(choices),
        }
        said = {"device": device, "record_id": correction_id, **values}
        with self._writing() as batch:
            own = table.c.device == device, table.c.record_id == correction_id
            if batch.connection.execute(update(table).where(*own).values(**values)).rowcount == 0:
                return  # erased while somebody listened
            batch.recompose([(device, correction_id)], lines=[record_log.line_about("heard", said)])

    def recompose(self, keys: Iterable[Key]) -> None:
        """Bring the samples that these records belong to up to date with what the database now knows."""
        with self._writing() as batch:
            batch.recompose(list(keys))

    def unheard(self) -> list[UnheardCorrection]:
        """Corrections nobody has listened to, oldest first."""
        r, p = db.records, db.parts
        join = (p.c.device == r.c.device) & (p.c.record_id == r.c.record_id) & (p.c.kind == "correction_audio")
        query = select(r.c.device, r.c.body, part_paths.PATH).join(p, join).where(r.c.transcript.is_(None))
        with self._store.reading() as connection:
            rows = connection.execute(query.order_by(r.c.received_at)).all()
        read = self._dataset.blobs.read
        return [
            UnheardCorrection(own, strict.read(CorrectionRecord, body), partial(read, path)) for own, body, path in rows
        ]

    @staticmethod
    @contextmanager
    def _said_as_os_error() -> Iterator[None]:
        try:
            yield
        except OperationalError as error:  # a full or failing disk, or PostgreSQL is away
            raise OSError(f"The database could not be written ({error.orig}).") from error

    @contextmanager
    def _writing(self) -> Iterator[_Batch]:
        with self._said_as_os_error():
            with self._dataset.appending(), self._store.writing() as connection:
                now_s = self._clock.utc_s()
                sizes = row_log.catch_up(connection, self._dataset, now_s=now_s)
                left = record_log.catch_up(connection, self._dataset, sizes.get(self._dataset.records.name, 0))
                batch = _Batch(connection, self._store, self._dataset, now_s, self._step, self._split_by)
                batch.recompose(sorted(left))
                for wish in wishes.unapplied(connection):
                    batch.erasures.carry_out(wish)
                with batch.giving_back(), self._dataset.taken_back(unless=batch.is_to_be_gone_on_with):
                    yield batch
                    row_log.remember_sizes(connection, batch.sizes, known=sizes)
                    self._sync(batch)
            self._step("merge:committed")
            if self._store.wipes_at_once and (batch.erasures.erased or self._words_left):
                self._words_left = not self._store.wipe()

    def _sync(self, batch: _Batch) -> None:
        work = [partial(self._dataset.blobs.settle, place) for place in batch.places]
        work += [partial(atomic.fsync_dir, folder) for folder in batch.touched]
        work += [partial(self._dataset.sync_log, log) for log in batch.appended]
        for done in [self._syncing.submit(sync) for sync in work]:
            done.result()
        self._step("merge:synced")


class _Batch:
    """Some entries inside one transaction: what is known, what is decided, what is to be written."""

    def __init__(
        self, connection: Connection, store: Store, dataset: Dataset, now_s: float, step: Step, split_by: SplitBy
    ) -> None:
        self.connection = connection
        self._adopted: list[tuple[str, Path]] = []
        """(blob, the file that it was) of those that are new."""
        self.places: set[str] = set()
        """Places of blobs that came or went, to be settled."""
        self.touched: set[Path] = set()
        """Other folders out of which files went, to be synced."""
        self.appended: set[Path] = set()
        """Logs, the same."""
        self.sizes: dict[str, int] = {}
        """Their names → their lengths."""
        self.walks: dict[str, Split] = {}
        """Walk id → split, of those looked up in this transaction: a person may change one before the next."""
        self._store = store
        self._dataset = dataset
        self._split_by: SplitBy = split_by
        self._now_s = now_s
        self._step = step
        self._known = BatchFacts()
        self._records: list[dict[str, Any]] = []
        self._parts: list[dict[str, Any]] = []
        self._changed: dict[Key, None] = {}
        self.erasures = Erasures(self, dataset, store.home, now_s)
        self._consents = Consents()
        """Of all wearers, as they stand in this transaction."""
        self._declined = frozenset[Key]()
        """Of the batch: records that came without consent before."""
        self._not_kept: list[Key] = []
        """Records that came now and are not kept: what came before them in this batch goes as well."""
        self._undecided = frozenset[str]()
        """Corrections that were erased: what persons decided by their words counts no more."""

    def is_to_be_gone_on_with(self, error: Exception) -> bool:
        """Whether the next writer shall take in what this one noted: files are deleted, and disk or database failed."""
        return self.erasures.begun and isinstance(error, OSError | OperationalError)

    @contextmanager
    def giving_back(self) -> Iterator[None]:
        """Where the block raises, new blobs are files again: nothing would say whose they are, and an erasure would not
        find them."""
        try:
            yield
        except Exception as error:
            for name, path in () if self.is_to_be_gone_on_with(error) else self._adopted:
                with suppress(OSError):
                    self._dataset.blobs.give_back(name, path)
            raise

    def take(self, entries: Sequence[Came]) -> list[Merged]:
        """Decide about each, move its file, and write everything down. Where an erasure is among them, it is alone."""
        records = [entry.record for entry in entries if isinstance(entry, RecordCame)]
        chunk_ids = {record.chunk_id for record in records if isinstance(record, ChunkRecord | CorrectionRecord)}
        self._known = lookup.load(self.connection, {entry.key for entry in entries}, chunk_ids)
        self.erasures.load({entry.device for entry in entries})
        self._consents = consent.load(self.connection)
        self._declined = consent.declined_of(self.connection, {entry.key for entry in entries})
        outcomes = [
            self._record(plainly(entry)) if isinstance(entry, RecordCame) else self._file(entry) for entry in entries
        ]
        self._write()
        return outcomes

    def _write(self) -> None:
        """Into records.jsonl, then into the transaction."""
        lines = [record_log.line_about("record", row) for row in self._records]
        lines += [record_log.line_about("part", row) for row in self._parts]
        self.note(lines)
        if self._records:
            self.connection.execute(insert(db.records), self._records)
        if self._parts:
            self.connection.execute(insert(db.parts), list(map(part_paths.stored, self._parts)))
        self._compose()
        self._records, self._parts, self._changed = [], [], {}
        not_kept, self._not_kept = self._not_kept, []
        for device, record_id in not_kept:
            self.erasures.carry_out(wishes.by_name(device, [record_id], self._now_s))

    def recompose(
        self, keys: Sequence[Key], *, lines: Sequence[dict[str, Any]] = (), undecided: frozenset[str] = frozenset()
    ) -> None:
        """Bring samples up to date with what was written into the tables before. lines: of that, into records.jsonl.
        undecided: corrections that were erased: what persons decided by their words counts no more."""
        if not keys:
            return
        self._undecided = undecided
        self._known = lookup.load(self.connection, set(keys), [])
        self._changed = dict.fromkeys(keys)
        self.note(list(lines))
        self._compose()
        self._changed, self._undecided = {}, frozenset()

    def note(self, lines: list[dict[str, Any]]) -> None:
        """Add lines to records.jsonl."""
        if lines:
            self._append(self._dataset.records, lines)
            self._step("merge:journal_written")

    def _append(self, log: Path, values: Iterable[Mapping[str, Any]]) -> None:
        self.sizes[log.name] = self._dataset.append_soon(log, values)
        self.appended.add(log)

    def _record(self, came: RecordCame) -> Merged:
        record, reason = came.record, objections.misaddressed(came)
        if reason is not None:
            return Merged("refused", reason)
        if isinstance(record, EraseRecord):
            return self.erasures.came(came.key, record)
        if isinstance(record, HelpRecord):
            return Merged("merged", new=help_calls.note(self.connection, record, now_s=self._now_s))
        reason = objections.too_long(record)
        return self._of_a_moment(came, record) if reason is None else Merged("refused", reason)

    def _of_a_moment(self, came: RecordCame, record: ChunkRecord | CorrectionRecord) -> Merged:
        if self.erasures.known.cover(came.device, record):
            self._known.parts[came.key].clear()
            self._not_kept.append(came.key)
            return self.erasures.late(came.key)
        if not self._consents.keeps(record.wearer or came.device):
            return self._decline(came)
        if came.key in self._declined:  # sent again, and agreed to since
            consent.accept_again(self.connection, *came.key)
            self._declined -= {came.key}
        body = messages.to_dict(record)
        own = self._known.records.get(came.key)
        if own is not None and body in (own["body"], printable_value(own["body"])):
            return Merged("merged", new=False)
        reason = self._contradiction(came, body)
        if reason is not None:
            self._quarantine(came.key, "record", reason=reason)
            return Merged("refused", reason)
        row = {
            "device": came.device,
            "record_id": came.key[1],
            "kind": came.kind,
            "chunk_id": record.chunk_id,
            "body": body,
            "received_at": self._now_s,
            "transcript": None,
            "heard_confidence": None,
            "proposal": None,
        }
        self._known.add_record(row)
        self._known.read[came.key] = record
        self._records.append(row)
        self._changed[came.key] = None
        return Merged("merged")

    def _decline(self, came: RecordCame) -> Merged:
        """The wearer has not agreed that it is kept. It is answered as merged: then its device deletes it, too."""
        new = consent.decline(self.connection, *came.key, now_s=self._now_s)
        self._declined |= {came.key}
        self._not_kept.append(came.key)
        return Merged("merged", new=new, declined=True)

    def _contradiction(self, came: RecordCame, body: Mapping[str, Any]) -> str | None:
        """Why a record may not be merged beside what was merged before it; None where it may."""
        # A chunk id names the sample: it is unique over devices.
        if came.key in self._known.records or (came.kind == "chunk" and self._known.owners[came.key[1]]):
            return "this id was already used for another record"
        return objections.contradicting_part(self._known.parts[came.key], body["parts"])

    def _file(self, came: FileCame) -> Merged:
        part = came.part
        if not topics.NAME.match(came.record_id) or part.kind not in objections.CONTENT:
            return Merged("refused", "not a part of a chunk or a correction")
        not_taken = self._not_taken(came)
        if not_taken is not None:
            came.path.unlink(missing_ok=True)
            return not_taken
        reason = self._objection(came) or (None if came.looks_right else objections.wrong_content(part.kind, came.path))
        if reason is not None:
            return self._refused(came, reason)
        name = self._dataset.path_of(part.kind, part.sha256)
        try:
            is_new = self._dataset.blobs.adopt(name, came.path)
        except FileNotFoundError:
            return Merged("gone")
        if is_new:
            self._adopted.append((name, came.path))
        self.places.add(place_of(name))
        self._step("merge:file_moved")
        if part.kind in self._known.parts[came.key]:
            return Merged("merged", new=False)
        row = {
            "device": came.device,
            "record_id": came.record_id,
            "kind": part.kind,
            "sha256": part.sha256,
            "size_bytes": part.size_bytes,
            "path": name,
            "received_at": self._now_s,
        }
        self._known.add_part(row)
        self._parts.append(row)
        self._changed[came.key] = None
        return Merged("merged")

    def _not_taken(self, came: FileCame) -> Merged | None:
        """What is answered about a file that nobody here wants any more; None where it is looked at."""
        if self.erasures.known.name(came.key):
            return Merged("refused", wishes.REFUSED)
        if came.key in self._declined:
            return Merged("merged", declined=True)
        known, part = self._known.parts[came.key].get(came.part.kind), came.part
        if known is None or known["sha256"] != part.sha256:
            return None
        blurred = known["path"] != self._dataset.path_of(part.kind, part.sha256)
        return Merged("merged", new=False) if blurred else None

    def _refused(self, came: FileCame, reason: str) -> Merged:
        """Put a file aside. No bytes, no contradiction: of a sealed file that another process merged in that moment
        only its seal is known."""
        part, there = came.part, came.path.exists()
        if not there and self._dataset.blobs.size(self._dataset.path_of(part.kind, part.sha256)) is None:
            return Merged("gone")
        kept = self._set_aside(came) if there else ""
        self._quarantine(came.key, part.kind, sha256=part.sha256, path=kept, reason=reason)
        return Merged("refused", reason)

    def _objection(self, came: FileCame) -> str | None:
        """Why a part may not be merged; None where it may."""
        part = came.part
        merged = self._known.parts[came.key].get(part.kind)
        if merged is not None and merged["sha256"] != part.sha256:
            return f"the {part.kind} of this record was already merged with other bytes"
        record = self._known.records.get(came.key)
        if record is None:
            return None
        named = {entry["kind"]: entry["sha256"] for entry in record["body"]["parts"]}
        if part.kind not in named:
            return f"its record names no {part.kind}"
        return None if named[part.kind] == part.sha256 else f"its record names a {part.kind} with other bytes"

    def _compose(self) -> None:
        found, rows = self._changed_chunks(), []
        self._look_up_splits({record.walk_id for _, record in found})
        for device, record in found:
            key, current = (device, record.chunk_id), self._current(record.chunk_id)
            paths, heard, split = self._known.paths(key), self._known.heard(key), self._split(record)
            row = compose(record, paths, heard, current=current, split=split)
            if row is not None and row != current:
                rows.append(row)
        if rows:
            self._append(self._dataset.log, map(to_dict, rows))
            self._step("merge:rows_written")
            row_log.insert_rows(self.connection, rows, known=self._known.samples, now_s=self._now_s, logged=True)

    def _changed_chunks(self) -> list[tuple[str, ChunkRecord]]:
        """(device, record) of every chunk that something of this batch is about."""
        owners = ((key[0], self._known.chunk_of(key)) for key in self._changed)
        chunks = dict.fromkeys((device, own) for device, own in owners if own)
        records = ((device, self._known.chunk((device, own))) for device, own in chunks)
        return [(device, record) for device, record in records if record is not None]

    def _current(self, chunk_id: str) -> SampleRow | None:
        """A sample's row, without what was decided by words that were erased."""
        current = self._known.samples.get(chunk_id)
        if current is None or current.correction_id not in self._undecided:
            return current
        decided: dict[str, Any] = {"reviewed": False, "rejected": False, "was_correct": None}
        return replace(current, **decided, ground_truth="", doubt_score=0.0)

    def _look_up_splits(self, walk_ids: set[str]) -> None:
        if unknown := walk_ids - self.walks.keys():
            self.walks |= row_log.splits_of(self.connection, unknown)

    def _split(self, record: ChunkRecord) -> Split:
        walk_id = record.walk_id
        if walk_id not in self.walks:
            group = group_of(self._split_by, place=record.context, wearer=record.wearer)
            self.walks[walk_id] = row_log.split_of(self.connection, walk_id, now_s=self._now_s, group=group)
        return self.walks[walk_id]

    def _set_aside(self, came: FileCame) -> str:
        folder = self._store.home / "quarantine"
        atomic.make_dirs(folder)
        used = sum(entry.stat().st_size for entry in folder.iterdir())
        if used + came.path.stat().st_size > QUARANTINE_MAX_BYTES:
            came.path.unlink()
            return ""
        name = f"{came.device}.{came.record_id}.{came.part.kind}.{came.part.sha256[:12]}"
        atomic.move(came.path, folder / name)
        return name

    def _quarantine(self, key: Key, kind: str, *, sha256: str = "", path: str = "", reason: str) -> None:
        device, record_id = key
        logger.warning("Quarantined %s of %s from %s: %s.", kind, record_id, device, reason)
        table = db.quarantine
        row = {"device": device, "record_id": record_id, "kind": kind, "sha256": sha256, "reason": reason}
        again = select(table.c.id).where(*(table.c[name] == value for name, value in row.items()))
        if self.connection.execute(again).first() is None:
            self.connection.execute(insert(table).values(at=self._now_s, path=path, **row))
