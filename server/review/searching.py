"""Finding moments: one filter for the page, the API and the terminal, as a condition on the tables.

Everything that is named must hold. `words` are looked for in all that was said, heard, proposed and confirmed: every
word, in any place. `like` are the moments that look like one (`server.review.near`). Moments that a person skipped come
behind the others for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, exists, func, select, true

from server.access import visible
from server.access.person import Person
from server.database import store as db
from server.database.distinct import distinct
from server.database.store import Store
from server.database.words import holds
from server.dataset.sample_row import SampleRow, State
from server.review import near, order
from server.review.marks import SKIPPED_S
from shared import vocabulary
from shared.messages import FLAGS

MOST_WORDS = 8
"""Of a search; each is a look through all moments."""
MOST_CHOICES = 500
FEW = 1000
"""Moments that are sorted rather than looked for in a list."""


@dataclass(frozen=True, slots=True)
class MomentFilter:
    """Which moments are meant. What is empty restricts nothing."""

    state: State | Literal["all"] = "pending"
    wearer: str = ""
    device: str = ""
    walk: str = ""
    model: str = ""
    """A version."""
    thing: str = ""
    """An object of the vocabulary that any of its wordings names."""
    flag: str = ""
    words: str = ""
    like: str = ""
    """The id of a moment."""
    since: float | None = None
    """Wall time of the moment, seconds since 1970 in UTC, like the next."""
    until: float | None = None
    """The moment lies before it."""
    difficult: bool = False
    commented: bool = False
    assigned_to: str = ""
    skipped_by: str = ""
    seen_by: Person | None = None
    """Only what this person may see; None = all moments. It is who asks, and never the request, that sets it."""


ALL_PENDING = MomentFilter()


def find(
    store: Store, wanted: MomentFilter, *, person: str = "", now_s: float, limit: int = 50, offset: int = 0
) -> list[SampleRow]:
    """The moments that are meant, in the order of `decisions.listing`; those that `person` skipped behind the others.

    person: who asks, "" = their skips do not matter
    """
    with store.reading() as connection:
        if _is_whole(wanted) and not skipped(connection, person, now_s=now_s):
            return order.page(connection, wanted.state, limit=limit, offset=offset)
        ids, query = few(connection, wanted), select(db.samples.c.sample_id).select_from(source(wanted))
        query = among(query, ids).where(*conditions_of(connection, wanted))
        query = ordered(connection, query, wanted, person=person, now_s=now_s, place=place_of(wanted.state, ids))
        return order.rows(connection, connection.execute(query.limit(limit).offset(offset)).scalars().all())


def count(store: Store, wanted: MomentFilter) -> int:
    """How many moments are meant."""
    found = counts(store, wanted)
    return sum(found.values()) if wanted.state == "all" else found[wanted.state]


def counts(store: Store, wanted: MomentFilter) -> dict[State, int]:
    """State → how many moments of the filter stand in it, its own state or each: one look at them."""
    states: tuple[State, ...] = get_args(State)
    with store.reading() as connection:
        if _is_whole(wanted):
            found: Mapping[str, int] = order.counts(connection)
        else:
            state = db.samples.c.state
            query = select(state, func.count()).select_from(source(wanted)).where(*conditions_of(connection, wanted))
            found = {str(name): int(number) for name, number in connection.execute(query.group_by(state))}
    return {one: found.get(one, 0) for one in states}


def _is_whole(wanted: MomentFilter) -> bool:
    """Whether all moments of a state are meant, or all: the list that an index has and the database counts."""
    return wanted == MomentFilter(state=wanted.state, seen_by=wanted.seen_by) and not _seen(wanted)


def place_of(state: State | Literal["all"], ids: Sequence[str] | None) -> tuple[ColumnElement[Any], ...]:
    """The order of a list. ids: as `few` gives them; these are sorted, and not looked for in the order of an index."""
    table = db.samples.c
    changed_at: ColumnElement[Any] = table.changed_at if ids is None else table.changed_at + 0.0
    if state in ("reviewed", "rejected"):
        return changed_at.desc(), table.sample_id
    return table.priority if ids is None else table.priority + 0, table.captured_at.desc(), table.sample_id


def among(query: Select[Any], ids: Sequence[str] | None) -> Select[Any]:
    """ids: as `few` gives them"""
    return query if ids is None else query.where(db.samples.c.sample_id.in_(ids))


def ordered(
    connection: Connection,
    query: Select[Any],
    wanted: MomentFilter,
    *,
    person: str,
    now_s: float,
    place: Sequence[ColumnElement[Any]],
) -> Select[Any]:
    """The query in its order. Where the person has skipped nothing lately, it is the one that an index gives."""
    if wanted.state in ("reviewed", "rejected") or not skipped(connection, person, now_s=now_s):
        return query.order_by(*place)
    skips = db.review_skips.c
    mine = and_(skips.person == person, skips.sample_id == db.samples.c.sample_id, skips.at > now_s - SKIPPED_S)
    at = select(skips.at).where(mine).scalar_subquery()
    return query.order_by(func.coalesce(at, 0.0), *place)


def skipped(connection: Connection, person: str, *, now_s: float) -> bool:
    """Whether a person has skipped anything that does not count as new to them again."""
    skips = db.review_skips.c
    query = select(skips.sample_id).where(skips.person == person, skips.at > now_s - SKIPPED_S).limit(1)
    return person != "" and connection.execute(query).first() is not None


def source(wanted: MomentFilter) -> FromClause:
    """The tables that the conditions of a filter are about; `samples` alone where that is enough."""
    if _is_sought(wanted):
        return db.samples.join(db.sought, db.sought.c.sample_id == db.samples.c.sample_id)
    return db.samples


def _is_sought(wanted: MomentFilter) -> bool:
    return any((wanted.thing, wanted.flag, wanted.words))


def conditions_of(connection: Connection, wanted: MomentFilter) -> list[ColumnElement[bool]]:
    """What must hold of the tables of `source`. connection: what looks alike is looked up first"""
    found = [true(), *_plain(wanted), *_sought(wanted), *_left_by_people(wanted)]
    if wanted.like:
        found.append(db.samples.c.sample_id.in_(_alike(connection, wanted)))
    return found


def few(connection: Connection, wanted: MomentFilter) -> list[str] | None:
    """The moments of a walk, device, wearer or model where there are FEW, else None. SQLite would look for them through
    the whole list, in its order; where there are many, that finds a page of them soon."""
    state = [] if wanted.state == "all" else [db.samples.c.state.concat("") == wanted.state]  # by no index of states
    for column, value in _named(wanted):
        if value:
            query = select(db.samples.c.sample_id).where(column == value, *state).limit(FEW + 1)
            ids = list(connection.execute(query).scalars())
            if len(ids) <= FEW:
                return ids
    return None


def _named(wanted: MomentFilter) -> tuple[tuple[ColumnElement[str], str], ...]:
    """What an index of its own begins with, and the value that is meant."""
    table = db.samples.c
    return (
        (table.walk_id, wanted.walk),
        (table.device, wanted.device),
        (table.wearer, wanted.wearer),
        (table.model, wanted.model),
    )


def _alike(connection: Connection, wanted: MomentFilter) -> list[str]:
    """What looks like a moment, and itself; none for one that the person may not see: they learn nothing of it."""
    own = db.samples.c.sample_id == wanted.like
    seen = select(db.samples.c.sample_id).where(own, *_seen(wanted))
    if connection.execute(seen).first() is None:
        return []
    return [wanted.like, *near.alike_ids(connection, wanted.like)]


def _seen(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    return [] if wanted.seen_by is None else visible.conditions(wanted.seen_by)


def _plain(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    table = db.samples.c
    state = "" if wanted.state == "all" else wanted.state
    equal = ((table.state, state), *_named(wanted))
    found = [*(column == value for column, value in equal if value), *_seen(wanted)]
    if wanted.since is not None:
        found.append(table.captured_at >= wanted.since)
    if wanted.until is not None:
        found.append(table.captured_at < wanted.until)
    return found


def _sought(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    table = db.sought.c
    listed = ((table.things, wanted.thing), (table.flags, wanted.flag))
    found = [holds(column, f"|{value}|") for column, value in listed if value]
    found += [holds(table.words, word) for word in wanted.words.casefold().split()[:MOST_WORDS]]
    return found


def _left_by_people(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    own, marks, comments, skips = db.samples.c.sample_id, db.review_marks.c, db.review_comments.c, db.review_skips.c
    found: list[ColumnElement[bool]] = []
    if wanted.difficult:
        found.append(exists().where(marks.sample_id == own, marks.difficult_by != ""))
    if wanted.assigned_to:
        found.append(exists().where(marks.sample_id == own, marks.assigned_to == wanted.assigned_to))
    if wanted.commented:
        found.append(exists().where(comments.sample_id == own))
    if wanted.skipped_by:
        found.append(exists().where(skips.sample_id == own, skips.person == wanted.skipped_by))
    return found


def choices(store: Store, seen_by: Person | None = None) -> dict[str, list[str]]:
    """What can be chosen from: wearer, device, model, thing, flag, assigned_to. seen_by: as in a filter"""
    samples, conditions = db.samples.c, [] if seen_by is None else visible.conditions(seen_by)
    seen = select(samples.sample_id).where(*conditions)
    marked = db.review_marks.c.sample_id.in_(seen) if conditions else true()

    def different(column: ColumnElement[str], condition: ColumnElement[bool]) -> list[str]:
        query = select(column).where(condition, column != "").distinct().limit(MOST_CHOICES)
        return sorted(connection.execute(query).scalars())

    with store.reading() as connection:
        if conditions:  # of their own wearers
            wearers, models = (different(column, and_(*conditions)) for column in (samples.wearer, samples.model))
        else:
            wearers, models = (distinct(connection, one, most=MOST_CHOICES) for one in (samples.wearer, samples.model))
        devices = {*connection.execute(select(db.devices.c.device)).scalars(), *distinct(connection, samples.device)}
        return {
            "wearer": wearers,
            "device": sorted(devices) if not conditions else [],
            "model": models,
            "thing": list(vocabulary.load().objects),
            "flag": sorted(FLAGS),
            "assigned_to": different(db.review_marks.c.assigned_to, marked),
        }
