"""Who looks at which moment next: the first of a filter that nobody else has, leased in the same transaction.

Of two people who ask at once, in whatever processes, each gets another moment. What a person skipped comes once the
rest is done, the longest skipped first, or after a day as if it had not been skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, not_

from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import row_log
from server.dataset.sample_row import SampleRow
from server.review import leases, narrowing
from server.review.leases import Lease
from server.review.moment_filter import ALL_PENDING, MomentFilter
from server.review.skipping import SkippedBy


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
    """Of those that nobody else has."""
    held, skips = tables.review_leases.c, SkippedBy(person, now_s)
    theirs = exists().where(held.sample_id == db.samples.c.sample_id, held.until > now_s, held.person != person)
    looked = narrowing.LookedUp(connection, wanted)
    fresh = narrowing.in_order(looked, not_(theirs), not_(skips.about_it()), limit=1, hides=None)
    found: str | None = connection.execute(fresh).scalar()
    if found is None and skips.number(connection):
        found = connection.execute(narrowing.skipped(looked, skips, not_(theirs), limit=1)).scalar()
    return found
