"""Who has which moment before them: a lease with a name and an end, so that two people do not work on one.

A lease is told, not enforced: what a decision needs is the row that was read (`server.review.decisions.review_read`),
and a browser that died must keep nobody out. It ends by itself `LEASE_S` after it was last renewed, when its moment is
decided, and when its holder goes on to another one (`server.review.turns`). Taking one is a write transaction of the
database: of two people, in whatever processes, one gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from server.database import review_tables as tables
from server.database import upserting
from server.database.store import Store

LEASE_S = 180.0
"""A page renews it every minute while it is looked at; listening to a moment takes less."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody has a moment before them."""

    sample_id: str
    person: str
    until: float
    """Wall time, seconds since 1970 in UTC."""


def take(store: Store, sample_id: str, person: str, *, now_s: float) -> Lease:
    """Take a moment, or renew one's own lease of it. Returns the lease that then stands: another person's where they
    hold it, and then nothing was written."""
    with store.writing() as connection:
        return take_inside(connection, sample_id, person, now_s=now_s)


def take_inside(connection: Connection, sample_id: str, person: str, *, now_s: float) -> Lease:
    """The same inside the caller's write transaction."""
    held = _standing(connection, [sample_id], now_s=now_s).get(sample_id)
    if held is not None and held.person != person:
        return held
    lease = Lease(sample_id, person, now_s + LEASE_S)
    values = {"sample_id": sample_id, "person": person, "until": lease.until}
    connection.execute(upserting.replace(connection, tables.review_leases).values(**values))
    return lease


def release(store: Store, person: str, sample_id: str | None = None) -> None:
    """Give a person's lease of a moment back, None = all of them."""
    with store.writing() as connection:
        release_inside(connection, person, sample_id)


def release_inside(connection: Connection, person: str, sample_id: str | None = None) -> None:
    """The same inside the caller's write transaction."""
    table = tables.review_leases
    statement = delete(table).where(table.c.person == person)
    connection.execute(statement if sample_id is None else statement.where(table.c.sample_id == sample_id))


def standing(store: Store, sample_ids: Sequence[str], *, now_s: float) -> dict[str, Lease]:
    """sample_id → who has it, of those of these moments that somebody has."""
    with store.reading() as connection:
        return _standing(connection, sample_ids, now_s=now_s)


def _standing(connection: Connection, sample_ids: Sequence[str], *, now_s: float) -> dict[str, Lease]:
    table = tables.review_leases
    query = select(table).where(table.c.sample_id.in_(list(sample_ids)), table.c.until > now_s)
    return {row.sample_id: Lease(row.sample_id, row.person, row.until) for row in connection.execute(query)}
