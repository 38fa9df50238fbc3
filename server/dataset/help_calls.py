"""Calls for help of wearers, as they came: told to those who care for them (server.telling), forgotten after a week.

They are no moments: they are in no log of the dataset, whatever a wearer agreed that is kept. Whose a call is follows
from the newest moment of its device.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from server.database import store as db
from shared.messages import HelpRecord

KEPT_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class HelpCall:
    """One call."""

    call_id: str
    device: str
    wearer: str
    """As server.consent.terms.wearer_of says it."""
    asked_at: float | None
    """By the device's clock; None = it was not set."""


def note(connection: Connection, record: HelpRecord, *, now_s: float) -> bool:
    """Write a call down. Whether it was not known."""
    table = db.help_calls
    connection.execute(delete(table).where(table.c.received_at < now_s - KEPT_S))
    own = select(table.c.id).where(table.c.device == record.device, table.c.call_id == record.help_id)
    if connection.execute(own).first() is not None:
        return False
    asked_at = record.asked_at_utc if record.clock_synced else None
    values = {"device": record.device, "call_id": record.help_id, "asked_at": asked_at, "received_at": now_s}
    connection.execute(insert(table).values(**values))
    return True


def newest(connection: Connection) -> int:
    """The number of the newest call; 0 = there is none."""
    return int(connection.scalar(select(func.max(db.help_calls.c.id))) or 0)


def since(connection: Connection, received_s: float) -> list[HelpCall]:
    """Those that came since then, oldest first."""
    table = db.help_calls.c
    rows = connection.execute(select(db.help_calls).where(table.received_at >= received_s).order_by(table.id)).all()
    return [HelpCall(row.call_id, row.device, _wearer(connection, row.device), row.asked_at) for row in rows]


def _wearer(connection: Connection, device: str) -> str:
    samples = db.samples.c
    own = samples.sample_id.between(f"{device}-", f"{device}.")  # by an index: ids begin with their device
    newest_of = select(samples.wearer).where(own, samples.device == device).order_by(samples.changed_at.desc()).limit(1)
    return str(connection.scalar(newest_of) or device)
