"""What a wearer has had erased: gone from database, logs, files and review, and refused when it comes again.

    the wish is noted (database, records.jsonl) → its lines in both logs blanked → files deleted → transaction committed

All of it happens inside one transaction of `server.dataset.merge`, and again as a whole where it was cut short: the
wish is acknowledged only afterwards, and one that is noted and not applied is applied by the next writer. Idempotent.

A correction that is erased leaves its moment, which is composed anew without it. Whatever words of a person had come
from it are taken back: the moment is to be reviewed again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Text, and_, cast, delete, insert, select, update

from server.database import store as db
from server.dataset import sample_row
from server.dataset.folder import Dataset
from shared import erasure, strict
from shared.errors import DatasetError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord

Key = tuple[str, str]
"""(device, record id)"""
REFUSED = "the wearer has had this erased"
AT_ONCE = 400  # SQLite takes a bounded number of values in one statement
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The erasures of some devices."""

    known: Mapping[str, tuple[EraseRecord, ...]]
    """Device → its erasures."""

    def cover(self, device: str, record: ChunkRecord | CorrectionRecord) -> bool:
        """Whether a record may not be taken."""
        return any(erasure.covers(wish, record) for wish in self.known.get(device, ()))

    def name(self, key: Key) -> bool:
        """The same for a file, of which only the record's id is known."""
        return any(key[1] in wish.record_ids for wish in self.known.get(key[0], ()))

    def and_also(self, wish: EraseRecord) -> Wishes:
        """With one more."""
        return Wishes({**self.known, wish.device: (*self.known.get(wish.device, ()), wish)})


def by_name(device: str, record_ids: Collection[str], now_s: float) -> EraseRecord:
    """The erasure of records by their ids. Its own id is a hash: no device makes such, and it is short enough."""
    names = tuple(sorted(record_ids))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return EraseRecord(f"named-{digest[:32]}", device, now_s, names)


def wishes_of(connection: Connection, devices: Collection[str]) -> Wishes:
    """What these devices have had erased so far. Raises: DatasetError."""
    known: dict[str, tuple[EraseRecord, ...]] = {}
    for device, body in connection.execute(
        select(db.erasures.c.device, db.erasures.c.body).where(db.erasures.c.device.in_(devices))
    ):
        known[device] = (*known.get(device, ()), _read(body))
    return Wishes(known)


def remember(connection: Connection, line: Mapping[str, Any]) -> bool:
    """Note a wish, not applied yet. line: device, record_id, received_at, body. Whether it was not known."""
    table = db.erasures
    known = select(table.c.body).where(table.c.device == line["device"], table.c.erase_id == line["record_id"])
    if connection.execute(known).first() is not None:
        return False
    values = {"device": line["device"], "erase_id": line["record_id"], "body": line["body"]}
    connection.execute(insert(table).values(received_at=line["received_at"], applied=False, **values))
    return True


def known_body(connection: Connection, key: Key) -> Mapping[str, Any] | None:
    """The body of a wish that is known."""
    table = db.erasures
    query = select(table.c.body).where(table.c.device == key[0], table.c.erase_id == key[1])
    body: Mapping[str, Any] | None = connection.execute(query).scalar()
    return body


def unapplied(connection: Connection) -> list[EraseRecord]:
    """Wishes that a crash, or an older database, left to be done."""
    bodies = connection.execute(select(db.erasures.c.body).where(db.erasures.c.applied.is_(False))).scalars()
    return [_read(body) for body in bodies]


def foreign(connection: Connection, wish: EraseRecord) -> str | None:
    """A record that it names and that is another device's; None = there is none."""
    table = db.records
    for some in _in_pieces(wish.record_ids):
        query = select(table.c.device, table.c.record_id).where(table.c.record_id.in_(some))
        owners = connection.execute(query).all()
        own = {record_id for device, record_id in owners if device == wish.device}
        for _, record_id in owners:
            if record_id not in own:
                return str(record_id)
    return None


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
    _delete(connection, home, keys, moments)
    for path in sorted(paths - _still_used(connection, paths, but={name for _, name in corrected})):
        (dataset.folder / path).unlink(missing_ok=True)
    table = db.erasures
    connection.execute(
        update(table).where(table.c.device == wish.device, table.c.erase_id == wish.erase_id).values(applied=True)
    )
    if keys:
        logger.warning("Erased as the wearer of %s wanted: %s", wish.device, ", ".join(sorted(names)))
    return Applied(frozenset({*names, *wish.record_ids}), tuple(sorted(corrected)), frozenset(corrections))


@dataclass(frozen=True, slots=True)
class Applied:
    """What an erasure came to."""

    record_ids: frozenset[str]
    """All that is named or was found."""
    to_compose: tuple[Key, ...]
    """Chunks that lost a correction."""
    corrections: frozenset[str]
    """Ids of the corrections that went."""


def _read(body: Any) -> EraseRecord:
    try:
        return strict.read(EraseRecord, body)
    except MessageError as error:
        raise DatasetError(f"An erasure in the database cannot be read ({error}).") from None


def _in_pieces(names: Collection[str]) -> list[list[str]]:
    ordered = sorted(names)
    return [ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE)]


def _covered(connection: Connection, wish: EraseRecord) -> set[Key]:
    """Records and files of the device that are here and covered."""
    keys = set[Key]()
    for table in (db.records, db.parts):
        for some in _in_pieces(wish.record_ids):
            query = select(table.c.record_id).where(table.c.device == wish.device, table.c.record_id.in_(some))
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
    for some in _in_pieces([name for _, name in keys]):
        query = select(table.c.kind, table.c.record_id, table.c.chunk_id)
        for kind, record_id, chunk_id in connection.execute(
            query.where(table.c.device == device, table.c.record_id.in_(some))
        ):
            (chunks if kind == "chunk" else corrections).add(record_id)
            about.add(chunk_id)
    return chunks, {(device, chunk_id) for chunk_id in about - chunks}, corrections


def _paths(connection: Connection, keys: Collection[Key]) -> set[str]:
    table = db.parts
    paths = set[str]()
    for device in {device for device, _ in keys}:
        for some in _in_pieces([name for owner, name in keys if owner == device]):
            query = select(table.c.path).where(table.c.device == device, table.c.record_id.in_(some))
            paths |= set(connection.execute(query).scalars())
    return paths


def _still_used(connection: Connection, paths: Collection[str], *, but: Collection[str]) -> set[str]:
    """Files whose bytes something else has, too: a moment that was brought in, another record. but: moments that are
    composed anew, without them."""
    used = set(connection.execute(select(db.parts.c.path).where(db.parts.c.path.in_(paths))).scalars())
    for path in set(paths) - used:
        users = select(db.samples.c.sample_id).where(_mentions(Path(path).stem)).limit(len(but) + 1)
        if set(connection.execute(users).scalars()) - set(but):
            used.add(path)
    return used


def _mentions(stem: str) -> Any:
    return cast(db.samples.c.body, Text).contains(stem, autoescape=True)


def _blank_rows(
    connection: Connection, dataset: Dataset, moments: Collection[str], corrections: Collection[str]
) -> None:
    """Rows of moments that go, and rows of others with the words of a correction that goes: in log and database."""
    table = db.dataset_rows
    ids = set(moments)
    for some in _in_pieces(corrections):
        about = select(db.records.c.chunk_id).where(db.records.c.record_id.in_(some))
        ids |= set(connection.execute(about).scalars())
    blanked = _row_blanker(moments, corrections)
    for some in _in_pieces(ids):
        for seq, body in connection.execute(select(table.c.seq, table.c.body).where(table.c.sample_id.in_(some))).all():
            after = blanked(body)
            if after != body:
                connection.execute(update(table).where(table.c.seq == seq).values(body=_in_full(after)))
        _blank_reviews(connection, some, blanked)
    dataset.blank(dataset.log, ids, blanked)


def _blank_reviews(connection: Connection, sample_ids: list[str], blanked: Callable[[dict[str, Any]], Any]) -> None:
    """Who decided what, and when, stays; the words go."""
    table = db.reviews
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


def _delete(connection: Connection, home: Path, keys: Collection[Key], moments: Collection[str]) -> None:
    """Rows of the database that say what was sent, and files that were put aside."""
    for device in {device for device, _ in keys}:
        for some in _in_pieces([name for owner, name in keys if owner == device]):
            aside = db.quarantine
            theirs = and_(aside.c.device == device, aside.c.record_id.in_(some))
            for path in connection.execute(select(aside.c.path).where(theirs, aside.c.path != "")).scalars():
                (home / "quarantine" / path).unlink(missing_ok=True)
            for table in (db.quarantine, db.records, db.parts, db.telemetry):
                connection.execute(delete(table).where(table.c.device == device, table.c.record_id.in_(some)))
    for some in _in_pieces(moments):
        connection.execute(delete(db.samples).where(db.samples.c.sample_id.in_(some)))
