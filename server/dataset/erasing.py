"""What a wearer has had erased: gone from database, logs, files and review, and refused when it comes again.

    the wish is noted (database, records.jsonl) → its lines in both logs blanked → view removed → files deleted, and
    what was computed of them → transaction committed

All of it happens inside one transaction of `server.dataset.merge`, and again as a whole where it was cut short: the
wish is acknowledged only afterwards, and one that is noted and not applied is applied by the next writer. Idempotent.

A correction that is erased leaves its moment, which is composed anew without it. Whatever words of a person had come
from it are taken back: the moment is to be reviewed again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, and_, delete, select, type_coerce, update

from server.database import review_tables as tables
from server.database import store as db
from server.database.bodies import BodyText
from server.dataset import derived, feature_cache, part_paths, record_log, sample_row, sought, view, wishes
from server.dataset.came import Merged
from server.dataset.folder import Dataset
from server.dataset.lookup import Key
from shared import erasure, messages, strict
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord

_HASH = re.compile(r"[0-9a-f]{64}")
logger = logging.getLogger(__name__)


class BatchPort(Protocol):
    """What is used of the transaction that a wish is carried out in."""

    connection: Connection
    places: set[str]
    """Of blobs that came or went, to be settled."""
    touched: set[Path]
    """Other folders out of which files went, to be synced."""

    def note(self, lines: list[dict[str, Any]]) -> None:
        """Add lines to records.jsonl."""
        ...

    def recompose(self, keys: Sequence[Key], *, undecided: frozenset[str]) -> None:
        """Bring the samples of these chunks up to date. undecided: corrections that went: what persons decided by
        their words counts no more."""
        ...


class Erasures:
    """The wishes of one transaction: noted, carried out, and held against what comes."""

    def __init__(self, batch: BatchPort, dataset: Dataset, home: Path, now_s: float) -> None:
        self._batch = batch
        self._dataset = dataset
        self._home = home
        self._now_s = now_s
        self.known = wishes.Wishes({})
        """Of the devices of the batch."""
        self.begun = False
        """Files may have been deleted, whatever becomes of the transaction."""
        self.erased = False
        """Something was there that was erased."""

    def load(self, devices: Collection[str]) -> None:
        """Read what these have had erased so far. Raises: DatasetError."""
        self.known = wishes.wishes_of(self._batch.connection, devices)

    def came(self, key: Key, wish: EraseRecord) -> Merged:
        """A wish came: note it and carry it out, or say why not."""
        connection, body = self._batch.connection, messages.to_dict(wish)
        known = wishes.known_body(connection, key)
        if known is not None:
            reason = "this id was already used for another erasure"
            return Merged("merged", new=False) if known == body else Merged("refused", reason)
        other = wishes.foreign(connection, wish)
        if other is not None:
            return Merged("refused", f"{other} is a record of another device")
        self._remember(wish, body)
        return Merged("merged", erased=self.carry_out(wish))

    def carry_out(self, wish: EraseRecord) -> frozenset[str]:
        """Erase what a wish covers that is noted already. Returns the ids of what is gone or must never come."""
        self.begun = True
        applied = apply(self._batch.connection, self._dataset, self._home, wish)
        self._batch.places |= applied.places
        self._batch.touched |= applied.folders
        self.erased |= applied.found
        self._batch.recompose(applied.to_compose, undecided=applied.corrections)
        self._name(wish.device, applied.record_ids - set(wish.record_ids))
        return applied.record_ids

    def late(self, key: Key) -> Merged:
        """A record came of a time that is erased: its files may have come before it, or will."""
        if not self.known.name(key):
            self._name(key[0], frozenset({key[1]}))
        return Merged("refused", wishes.REFUSED)

    def _remember(self, wish: EraseRecord, body: Mapping[str, Any]) -> None:
        row = {"device": wish.device, "record_id": wish.erase_id, "received_at": self._now_s, "body": body}
        line = record_log.line_about("erasure", row)
        if wishes.remember(self._batch.connection, line):
            self._batch.note([line])

    def _name(self, device: str, record_ids: frozenset[str]) -> None:
        """What was found to be erased by its time is from now on by its name: a file of it says no time."""
        for some in wishes.in_pieces(record_ids):
            wish = wishes.by_name(device, some, self._now_s)
            self._remember(wish, messages.to_dict(wish))
            self.carry_out(wish)
            self.known = self.known.and_also(wish)


def apply(connection: Connection, dataset: Dataset, home: Path, wish: EraseRecord) -> Applied:
    """Erase what it covers, inside a transaction and inside `dataset.appending()`.

    raises: OSError, DatasetError
    """
    keys = _covered(connection, wish)
    moments, corrected, corrections = _moments(connection, wish.device, keys)
    paths = _paths(connection, keys)
    _blank_rows(connection, dataset, moments, corrections)
    names = {name for _, name in keys}
    dataset.blank(dataset.records, names, lambda line: _blank_fact(line, wish.device, names))
    _delete_rows(connection, keys, moments)
    unused = paths - still_used(connection, paths, but={name for _, name in corrected})
    places, gone = dataset.blobs.remove(sorted(unused)), _put_aside(connection, home, keys)
    for path in gone:
        path.unlink(missing_ok=True)
    if keys:
        view.remove(dataset)
        derived.forget(home)
    feature_cache.forget(home / feature_cache.FOLDER, {Path(path).stem for path in unused})
    table = db.erasures
    connection.execute(
        update(table).where(table.c.device == wish.device, table.c.erase_id == wish.erase_id).values(applied=True)
    )
    if keys:
        logger.info("Erased as the wearer of %s wanted: %s", wish.device, ", ".join(sorted(names)))
    folders = frozenset(path.parent for path in gone if path.parent.exists())
    ids = frozenset({*names, *wish.record_ids})
    return Applied(ids, tuple(sorted(corrected)), frozenset(corrections), places, folders, found=bool(keys))


@dataclass(frozen=True, slots=True)
class Applied:
    """What an erasure came to."""

    record_ids: frozenset[str]
    """All that is named or was found."""
    to_compose: tuple[Key, ...]
    """Chunks that lost a correction."""
    corrections: frozenset[str]
    """Ids of the corrections that went."""
    places: frozenset[str]
    """Out of which blobs were deleted: until they are settled, a power cut brings these back."""
    folders: frozenset[Path]
    """Out of which other files were deleted, the same."""
    found: bool
    """Anything of it was here."""


def _covered(connection: Connection, wish: EraseRecord) -> set[Key]:
    """Records and files of the device that are here and covered."""
    keys = set[Key]()
    columns = [table.c.record_id for table in (db.records, db.parts, db.quarantine)]
    for column in (*columns, db.samples.c.sample_id):  # of a moment that came without its record, too
        for some in wishes.in_pieces(wish.record_ids):
            query = select(column).where(column.table.c.device == wish.device, column.in_(some))
            keys |= {(wish.device, record_id) for record_id in connection.execute(query).scalars()}
    return keys | _covered_by_time(connection, wish)


def _covered_by_time(connection: Connection, wish: EraseRecord) -> set[Key]:
    if not wish.boot_id:
        return set()
    table, prefix = db.records, f"{wish.device}-{wish.boot_id}"
    # By its range, not LIKE: an id may have "_" in it, and the index is used.
    query = select(table.c.kind, table.c.record_id, table.c.body).where(
        table.c.device == wish.device, table.c.record_id >= prefix, table.c.record_id < prefix + "\x7f"
    )
    found = set()
    for kind, record_id, body in connection.execute(query):
        record: ChunkRecord | CorrectionRecord
        record = strict.read(ChunkRecord, body) if kind == "chunk" else strict.read(CorrectionRecord, body)
        if erasure.covers(wish, record):
            found.add((wish.device, record_id))
    return found


def _moments(connection: Connection, device: str, keys: Collection[Key]) -> tuple[set[str], set[Key], set[str]]:
    """(chunks that go, chunks that stay and lose a correction, corrections that go)."""
    table = db.records
    chunks, about, corrections = set[str](), set[str](), set[str]()
    for some in wishes.in_pieces([name for _, name in keys]):
        query = select(table.c.kind, table.c.record_id, table.c.chunk_id)
        for kind, record_id, chunk_id in connection.execute(
            query.where(table.c.device == device, table.c.record_id.in_(some))
        ):
            (chunks if kind == "chunk" else corrections).add(record_id)
            about.add(chunk_id)
        moments = select(db.samples.c.sample_id).where(db.samples.c.device == device, db.samples.c.sample_id.in_(some))
        chunks |= set(connection.execute(moments).scalars())
    return chunks, {(device, chunk_id) for chunk_id in about - chunks}, corrections


def _paths(connection: Connection, keys: Collection[Key]) -> set[str]:
    table = db.parts
    paths = set[str]()
    for device, some in _by_device(keys):
        query = select(part_paths.PATH).where(table.c.device == device, table.c.record_id.in_(some))
        paths |= set(connection.execute(query).scalars())
    return paths


def still_used(connection: Connection, paths: Collection[str], *, but: Collection[str]) -> set[str]:
    """Files whose bytes something else has, too: a moment that was brought in, another record. but: moments that are
    composed anew, without them. One look at all moments, however many files there are."""
    used = set[str]()
    for some in wishes.in_pieces(paths):
        used |= set(connection.execute(select(part_paths.PATH).where(part_paths.among(some))).scalars())
    left = {Path(path).stem: path for path in set(paths) - used}
    moments = select(db.samples.c.sample_id, type_coerce(db.samples.c.body, BodyText))
    for sample_id, body in connection.execute(moments) if left else ():
        if sample_id not in but:
            used |= {left[stem] for stem in _HASH.findall(body) if stem in left}
    return used


def _blank_rows(
    connection: Connection, dataset: Dataset, moments: Collection[str], corrections: Collection[str]
) -> None:
    """Rows of moments that go, and rows of others with the words of a correction that goes: in log and database."""
    table = db.dataset_rows
    ids = set(moments)
    for some in wishes.in_pieces(corrections):
        about = select(db.records.c.chunk_id).where(db.records.c.record_id.in_(some))
        ids |= set(connection.execute(about).scalars())
    blanked = _row_blanker(moments, corrections)
    for some in wishes.in_pieces(ids):
        for seq, body in connection.execute(select(table.c.seq, table.c.body).where(table.c.sample_id.in_(some))).all():
            after = blanked(body)
            if after != body:
                connection.execute(update(table).where(table.c.seq == seq).values(body=_in_full(after)))
        _blank_reviews(connection, some, blanked)
    dataset.blank(dataset.log, ids, blanked)


def _blank_reviews(connection: Connection, sample_ids: list[str], blanked: Callable[[dict[str, Any]], Any]) -> None:
    """Who decided what, and when, stays; the words go."""
    table = tables.reviews
    for row in connection.execute(select(table).where(table.c.sample_id.in_(sample_ids))).all():
        before, after = (dict(blanked(body)) for body in (row.before, row.after))
        if before != row.before or after != row.after:
            values = {"before": _in_full(before), "after": _in_full(after)}
            connection.execute(update(table).where(table.c.id == row.id).values(**values))


def _row_blanker(
    moments: Collection[str], corrections: Collection[str]
) -> Callable[[dict[str, Any]], Mapping[str, Any]]:
    def blanked(value: dict[str, Any]) -> Mapping[str, Any]:
        gone = value.get("sample_id") in moments or value.get("correction_id") in corrections
        return sample_row.blank(sample_row.from_dict(value)) if gone and not value.get("erased") else value

    return blanked


def _in_full(value: Mapping[str, Any]) -> dict[str, Any]:
    return sample_row.to_dict(sample_row.from_dict(dict(value)))


def _blank_fact(line: dict[str, Any], device: str, names: Collection[str]) -> Mapping[str, Any]:
    own = line.get("device") == device and line.get("record_id") in names and line.get("what") != "erasure"
    return {"what": "erased", "device": device, "record_id": line["record_id"]} if own else line


def _put_aside(connection: Connection, home: Path, keys: Collection[Key]) -> list[Path]:
    """Files that were put aside; their rows go."""
    aside, found = db.quarantine, list[Path]()
    for device, some in _by_device(keys):
        theirs = and_(aside.c.device == device, aside.c.record_id.in_(some))
        names = connection.execute(select(aside.c.path).where(theirs, aside.c.path != "")).scalars()
        found += [home / "quarantine" / name for name in names]
        connection.execute(delete(aside).where(theirs))
    return found


def _delete_rows(connection: Connection, keys: Collection[Key], moments: Collection[str]) -> None:
    """Rows of the database that say what was sent."""
    for device, some in _by_device(keys):
        for table in (db.records, db.parts, db.telemetry):
            connection.execute(delete(table).where(table.c.device == device, table.c.record_id.in_(some)))
    sought.forget(connection, sorted(moments))
    for some in wishes.in_pieces(moments):
        for table in tables.ABOUT_MOMENTS:
            connection.execute(delete(table).where(table.c.sample_id.in_(some)))


def _by_device(keys: Collection[Key]) -> list[tuple[str, list[str]]]:
    """(device, some of its record ids)"""
    devices = sorted({device for device, _ in keys})
    return [(device, some) for device in devices for some in wishes.in_pieces([n for own, n in keys if own == device])]
