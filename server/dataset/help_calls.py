"""Calls for help of wearers, as they came: told to those who care for them (server.telling), forgotten after a week.

They are no moments: they are in no log of the dataset, whatever a wearer agreed that is kept. Whose a call is follows
from what its walk sent, or else from what its device sent last.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from server.database import store as db
from shared.messages import HelpRecord

KEPT_S = 7 * 86_400.0
MANY, MANY_S = 20, 600.0
"""So many calls of one device within that time are taken, each of which is told: of a button that is stuck, or of a
device that floods, as many get through as people can be woken by, and a call a little later is one of them again."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HelpCall:
    """One call."""

    call_id: str
    device: str
    wearer: str
    """As server.consent.terms.wearer_of says it."""
    asked_at: float | None
    """By the device's clock; None = it was not set."""

    @property
    def key(self) -> str:
        """What was told is remembered by: no device can name another's call, and it names no walk."""
        return hashlib.sha256(f"{self.device} {self.call_id}".encode()).hexdigest()[:24]


def note(connection: Connection, record: HelpRecord, *, now_s: float) -> bool:
    """Write a call down. Whether it was not known, and is told."""
    table = db.help_calls
    own = table.c.device == record.device
    if connection.execute(select(table.c.id).where(own, table.c.call_id == record.help_id)).first() is not None:
        return False
    lately = select(func.count()).where(own, table.c.received_at > now_s - MANY_S)
    count = connection.scalar(lately) or 0
    if count >= MANY:
        return False
    if count == MANY - 1:
        logger.warning(
            "%s called for help %d times in ten minutes: not every further call is told.", record.device, MANY
        )
    asked_at = record.asked_at_utc if record.clock_synced else None
    values = {"device": record.device, "call_id": record.help_id, "asked_at": asked_at, "received_at": now_s}
    connection.execute(insert(table).values(**values))
    forget_old(connection, now_s=now_s)  # afterwards: the highest number would be given again
    return True


def forget_old(connection: Connection, *, now_s: float) -> None:
    """Delete those of more than a week ago."""
    table = db.help_calls
    connection.execute(delete(table).where(table.c.received_at < now_s - KEPT_S))


def forget_walks(connection: Connection, walk_ids: Iterable[str]) -> int:
    """Delete the calls of walks that are deleted; how many there were. Their ids say which walk they are of."""
    ids, gone = db.help_calls.c.call_id, 0
    for walk_id in walk_ids:
        theirs = ids.between(f"{walk_id}-h000", f"{walk_id}-h999")
        gone += connection.execute(delete(db.help_calls).where(theirs)).rowcount
    return gone


def newest(connection: Connection) -> int:
    """The number of the newest call; 0 = there is none."""
    return int(connection.scalar(select(func.max(db.help_calls.c.id))) or 0)


def since(connection: Connection, received_s: float) -> list[HelpCall]:
    """Those that came since then, oldest first."""
    table = db.help_calls.c
    rows = connection.execute(select(db.help_calls).where(table.received_at >= received_s).order_by(table.id)).all()
    whose: dict[tuple[str, str], str] = {}
    for row in rows:
        if (of := (row.device, _walk(row.call_id))) not in whose:
            whose[of] = _wearer(connection, *of)
    return [HelpCall(row.call_id, row.device, whose[row.device, _walk(row.call_id)], row.asked_at) for row in rows]


def _walk(call_id: str) -> str:
    return call_id.rpartition("-h")[0]


def _wearer(connection: Connection, device: str, walk_id: str) -> str:
    """Not by the newest change of a moment: somebody may decide about one of another wearer, of long ago."""
    table = db.records.c
    query = select(table.wearer).where(table.device == device).order_by(table.received_at.desc()).limit(1)
    newest_of = connection.execute(query.where(table.walk_id == walk_id)).first() or connection.execute(query).first()
    return (newest_of.wearer if newest_of else "") or device
