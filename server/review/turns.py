"""Who looks at which moment next: the first of a filter that nobody else has, leased in the same transaction.

Of two people who ask at once, in whatever processes, each gets another moment. What a person skipped comes once the
rest is done, the longest skipped first, or after a day as if it had not been skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, not_, select

from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import row_log
from server.dataset.sample_row import SampleRow
from server.review import leases, searching
from server.review.leases import Lease
from server.review.marks import SKIPPED_S
from server.review.searching import ALL_PENDING, MomentFilter, SearchNarrowed


@dataclass(frozen=True, slots=True)
class Turn:
    """A moment that a person looks at now."""

    row: SampleRow
    lease: Lease


def next_for(store: Store, person: str, wanted: MomentFilter = ALL_PENDING, *, now_s: float) -> Turn | None:
    """The next moment for a person, leased to them; None where all that is meant is done, or others have it.

    Their leases of other moments end: they have gone on. Asked again, it is the same moment until it is decided,
    skipped, or something more important has come in.
    """
    with store.writing() as connection:
        sample_id = _first(connection, person, wanted, now_s=now_s)
        if sample_id is None:
            return None
        leases.release_inside(connection, person)
        lease = leases.take_inside(connection, sample_id, person, now_s=now_s)
        row = row_log.current(connection, sample_id)
    return None if row is None else Turn(row, lease)


def _first(connection: Connection, person: str, wanted: MomentFilter, *, now_s: float) -> str | None:
    narrowed = searching.narrow(connection, wanted)
    free = _free(connection, person, wanted, narrowed, now_s=now_s)
    place = searching.place_of("pending", narrowed)
    skip = _skip(person, now_s=now_s)
    unskipped: str | None = connection.execute(free.where(not_(exists().where(skip))).order_by(*place)).scalar()
    if unskipped is not None or not searching.skipped(connection, person, now_s=now_s):
        return unskipped
    at = select(func.max(tables.review_skips.c.at)).where(skip).scalar_subquery()
    skipped: str | None = connection.execute(free.order_by(at, *place)).scalar()
    return skipped


def _free(
    connection: Connection, person: str, wanted: MomentFilter, narrowed: SearchNarrowed, *, now_s: float
) -> Select[Any]:
    """One moment that is meant and that nobody else has; its order is the caller's."""
    held = tables.review_leases.c
    theirs = and_(held.sample_id == db.samples.c.sample_id, held.until > now_s, held.person != person)
    conditions = searching.conditions_of(connection, wanted, narrowed)
    query = select(db.samples.c.sample_id).select_from(searching.source(narrowed))
    return query.where(*conditions, not_(exists().where(theirs))).limit(1)


def _skip(person: str, *, now_s: float) -> ColumnElement[bool]:
    skips = tables.review_skips.c
    own = skips.sample_id == db.samples.c.sample_id
    return and_(skips.person == person, own, skips.at > now_s - SKIPPED_S)
