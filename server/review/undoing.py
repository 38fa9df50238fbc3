"""Undo: the newest decisions of a person, each of which brings its moments back exactly as they were.

What was decided at once (a batch) is taken back at once. The log keeps both: an undo is an entry of its own, by the
person, and a new row that supersedes the decision's with what stood before. A decision about which somebody has
decided since is not taken back: that would undo theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, not_, select

from server.access import visible
from server.access.person import Person
from server.database import review_tables as tables
from server.database import store as db
from server.database import upserting
from server.database.store import Store
from server.dataset import row_log, sample_row
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.review import decisions
from server.review.decisions import UNDO, ReviewDecision, RowChange
from shared.errors import Refused

MOST = 20
"""Of a person's decisions, the newest, that may be taken back."""


@dataclass(frozen=True, slots=True)
class ReviewAct:
    """What a person decided at once, about one moment or several."""

    act: int
    """Its id."""
    at: float
    """Wall time, seconds since 1970 in UTC."""
    action: str
    sample_ids: tuple[str, ...]
    """The one that was looked at first."""
    before: str
    """What stood about the first, in words."""
    after: str
    undone: bool
    """It was taken back already."""


def newest(store: Store, person: str, *, most: int = MOST, seen_by: Person | None = None) -> list[ReviewAct]:
    """What a person decided last, the newest first: those may be taken back that are not undone.

    seen_by: only about moments that this person may see
    """
    hidden = [] if seen_by is None else [not_(seen) for seen in visible.conditions(seen_by)]
    with store.reading() as connection:
        acts = _newest(connection, person, most)
        ids = {sample_id for act in acts for sample_id in act.sample_ids}
        query = select(db.samples.c.sample_id).where(db.samples.c.sample_id.in_(ids), *hidden)
        unseen = set(connection.execute(query).scalars()) if hidden else set()
    return [act for act in acts if unseen.isdisjoint(act.sample_ids)]


def _newest(connection: Connection, person: str, most: int) -> list[ReviewAct]:
    acts = connection.execute(
        select(_ACT)
        .select_from(_JOINED)
        .where(tables.reviews.c.reviewer == person, tables.reviews.c.action != UNDO, _ACT.not_in(_of_gone(person)))
        .group_by(_ACT)
        .order_by(_ACT.desc())
        .limit(min(most, MOST))
    )
    return [_told(act, _entries(connection, act)) for act in acts.scalars().all()]


def _of_gone(person: str) -> Select[Any]:
    """A person's acts about moments of which one was erased: they can not be taken back, and stand in nobody's way."""
    there = _JOINED.outerjoin(db.samples, db.samples.c.sample_id == tables.reviews.c.sample_id)
    return select(_ACT).select_from(there).where(tables.reviews.c.reviewer == person, db.samples.c.sample_id.is_(None))


def undo(
    store: Store, dataset: Dataset, person: str, *, act: int | None = None, now_s: float, seen_by: Person | None = None
) -> list[SampleRow]:
    """Take back what a person decided. act: None = the newest that still stands. seen_by: who may see what

    returns: the moments as they now stand, the one that was looked at first
    raises: Refused where there is nothing to take back, somebody has decided since, or one of the moments may not be
    seen any more; OSError
    """
    with store.writing() as connection:
        own = _chosen(_newest(connection, person, MOST), act)
        entries = _entries(connection, own.act)
        changes = [_back(connection, entry, seen_by) for entry in entries]
        written = decisions.write(connection, changes, ReviewDecision(UNDO, person), now_s=now_s)
        _mark_undone(connection, [entry.id for entry in entries], own.act, by=written[0])
    row_log.flush(store, dataset, now_s=now_s)
    return [change.after for change in changes]


def _chosen(acts: Sequence[ReviewAct], wanted: int | None) -> ReviewAct:
    if wanted is None:
        found = next((one for one in acts if not one.undone), None)
        if found is None:
            raise Refused("There is nothing to undo.", hint=f"The last {MOST} decisions can be taken back, each once.")
        return found
    found = next((one for one in acts if one.act == wanted), None)
    if found is None:
        raise Refused(
            "That decision cannot be undone: it is not one of your newest.",
            hint="Open the moment and decide anew, or return it to review.",
        )
    if found.undone:
        raise Refused("That decision was undone already.")
    return found


def _back(connection: Connection, entry: Any, seen_by: Person | None) -> RowChange:
    """The moment of one entry of the log, brought back. Raises: Refused."""
    row = row_log.current(connection, entry.sample_id)
    if row is None:
        raise Refused("The moment is not there any more: it was erased.")
    if seen_by is not None and not visible.may_see(seen_by, row):
        raise Refused("You may not see that moment any more.", hint="Nothing was undone.")
    since = _since(connection, entry)
    if since is not None:
        raise Refused(
            f"{since.reviewer} has decided about it since: {since.after}",
            hint="Nothing was undone. Open the moment to look at it again.",
        )
    if not decisions.says_the_same(row, sample_row.from_dict(entry.after)):
        raise Refused(
            "Something has come in about it since, and it waits for review.",
            hint="Nothing was undone. Open the moment to look at it again.",
        )
    return RowChange(row, decisions.restored(row, sample_row.from_dict(entry.before)))


def _since(connection: Connection, entry: Any) -> decisions.PastDecision | None:
    """The newest decision about the moment after this one that still stands."""
    later = (
        select(tables.reviews)
        .select_from(_JOINED)
        .where(tables.reviews.c.sample_id == entry.sample_id, tables.reviews.c.id > entry.id)
        .where(tables.reviews.c.action != UNDO, tables.review_acts.c.undone_by.is_(None))
        .order_by(tables.reviews.c.id.desc())
        .limit(1)
    )
    found = connection.execute(later).first()
    return None if found is None else decisions.past(found)


_JOINED = tables.reviews.outerjoin(tables.review_acts, tables.review_acts.c.review == tables.reviews.c.id)
_ACT = func.coalesce(tables.review_acts.c.act, tables.reviews.c.id)
"""A decision from before acts were kept is one by itself."""


def _entries(connection: Connection, act: int) -> Sequence[Any]:
    """The log's entries of one act, in their order."""
    together = select(tables.review_acts.c.review).where(tables.review_acts.c.act == act)
    query = select(tables.reviews, tables.review_acts.c.undone_by).select_from(_JOINED)
    own = (tables.reviews.c.id == act) | tables.reviews.c.id.in_(together)
    return connection.execute(query.where(own).order_by(tables.reviews.c.id)).all()


def _told(act: int, entries: Sequence[Any]) -> ReviewAct:
    first = entries[0]
    before, after = (decisions.stands(sample_row.from_dict(body)) for body in (first.before, first.after))
    sample_ids = tuple(entry.sample_id for entry in entries)
    return ReviewAct(act, first.at, first.action, sample_ids, before, after, first.undone_by is not None)


def _mark_undone(connection: Connection, reviews: Sequence[int], act: int, *, by: int) -> None:
    table = tables.review_acts
    for review in reviews:
        statement = upserting.upsert(connection, table).values(review=review, act=act, undone_by=by)
        connection.execute(statement.on_conflict_do_update(index_elements=["review"], set_={"undone_by": by}))
