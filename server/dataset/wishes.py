"""What wearers want erased, remembered: it is refused when it comes later. `server.dataset.erasing` carries it out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from server.database import store as db
from server.dataset.lookup import Key
from shared import erasure, strict
from shared.errors import DatasetError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord

REFUSED = "the wearer has had this erased"
AT_ONCE = 400  # SQLite takes a bounded number of values in one statement


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
    for some in in_pieces(wish.record_ids):
        query = select(table.c.device, table.c.record_id).where(table.c.record_id.in_(some))
        owners = connection.execute(query).all()
        own = {record_id for device, record_id in owners if device == wish.device}
        for _, record_id in owners:
            if record_id not in own:
                return str(record_id)
    return None


def in_pieces(names: Collection[str]) -> list[list[str]]:
    """AT_ONCE of them at a time, in order."""
    ordered = sorted(names)
    return [ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE)]


def _read(body: Any) -> EraseRecord:
    try:
        return strict.read(EraseRecord, body)
    except MessageError as error:
        raise DatasetError(f"An erasure in the database cannot be read ({error}).") from None
