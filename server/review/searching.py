"""Finding moments: one filter for the page, the API and the terminal, as a condition on the tables.

Everything that is named must hold. `words` are looked for in all that was said, heard, proposed and confirmed: every
word, in any place (`server.review.by_words`). `like` are the moments that look like one (`server.review.near`).
Moments that a person skipped come behind the others for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, and_, exists, func, select, true

from server.access import visible
from server.access.person import Person
from server.database import review_tables as tables
from server.database import store as db
from server.database.distinct import distinct
from server.database.store import Store
from server.dataset.sample_row import SampleRow, State
from server.review import by_words, near, order
from server.review.by_words import SoughtTerms
from server.review.marks import SKIPPED_S
from shared import vocabulary
from shared.messages import FLAGS

MOST_CHOICES = 500
FEW = 1000
"""Moments that are sorted rather than looked for in a list."""
COUNTED = 1_000
"""Moments that a page counts; where there are more, it says so."""
SORTED = 5_000
"""The same, where an index of words names them."""


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


@dataclass(frozen=True, slots=True)
class SearchNarrowed:
    """What was looked up before moments are looked for."""

    sought: SoughtTerms = by_words.ALL
    """What has to hold of their narrow rows."""
    ids: Sequence[str] | Select[Any] | None = None
    """The moments, where there are few: they are sorted."""


def find(
    store: Store, wanted: MomentFilter, *, person: str = "", now_s: float, limit: int = 50, offset: int = 0
) -> list[SampleRow]:
    """The moments that are meant, in the order of `decisions.listing`; those that `person` skipped behind the others.

    person: who asks, "" = their skips do not matter
    """
    with store.reading() as connection:
        if _is_whole(wanted) and not skipped(connection, person, now_s=now_s):
            return order.page(connection, wanted.state, limit=limit, offset=offset)
        narrowed = narrow(connection, wanted)
        query = select(db.samples.c.sample_id).select_from(source(narrowed))
        query = query.where(*conditions_of(connection, wanted, narrowed))
        place = place_of(wanted.state, narrowed)
        query = ordered(connection, query, wanted, person=person, now_s=now_s, place=place)
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
            found = _counted(connection, wanted)
    return {one: found.get(one, 0) for one in states}


def counts_to(store: Store, wanted: MomentFilter, most: int) -> dict[str, int | None]:
    """As `counts`, and "all", in a time that is bounded: `most` + 1 = more than `most`. None = not counted: all states
    together have more. The filter's own state is always counted."""
    with store.reading() as connection:
        found = _counted(connection, replace(wanted, state="all"), most=most + 1)
        total = sum(found.values())
        if total <= most:
            return {**{one: found.get(one, 0) for one in get_args(State)}, "all": total}
        own = total if wanted.state == "all" else sum(_counted(connection, wanted, most=most + 1).values())
        return {**dict.fromkeys(get_args(State)), "all": total, wanted.state: own}


def _counted(connection: Connection, wanted: MomentFilter, *, most: int | None = None) -> dict[str, int]:
    """How many moments of a filter stand in each state, of the first `most` that are found."""
    states = _states(connection, wanted).limit(most).subquery()
    names = get_args(State)
    found = connection.execute(select(*(func.count().filter(states.c.state == one) for one in names))).one()
    return dict(zip(names, map(int, found), strict=True))


def _states(connection: Connection, wanted: MomentFilter) -> Select[Any]:
    """The state of each moment of a filter. The narrow rows of a search say it alone where they can."""
    sought = _sought(connection, wanted)
    if sought and wanted == MomentFilter(state=wanted.state, seen_by=wanted.seen_by, **_searched(wanted)):
        table, conditions = tables.sought, [*_of_state(wanted, tables.sought), *_seen(wanted, tables.sought)]
        conditions += by_words.first_of_all(connection, sought, most=SORTED)[0]
        return select(table.c.state).where(*conditions)
    narrowed = _narrowed(connection, wanted, sought) if sought else SearchNarrowed()
    query = select(db.samples.c.state).select_from(source(narrowed))
    return query.where(*conditions_of(connection, wanted, narrowed))


def _is_whole(wanted: MomentFilter) -> bool:
    """Whether all moments of a state are meant, or all: the list that an index has and the database counts."""
    return wanted == MomentFilter(state=wanted.state, seen_by=wanted.seen_by) and not _seen(wanted)


def place_of(state: State | Literal["all"], narrowed: SearchNarrowed) -> tuple[ColumnElement[Any], ...]:
    """The order of a list. Few moments are sorted, and not looked for in the order of an index."""
    table, few = db.samples.c, narrowed.ids is not None
    changed_at: ColumnElement[Any] = table.changed_at + 0.0 if few else table.changed_at
    if state in ("reviewed", "rejected"):
        return changed_at.desc(), table.sample_id
    return table.priority + 0 if few else table.priority, table.captured_at.desc(), table.sample_id


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
    skips = tables.review_skips.c
    mine = and_(skips.person == person, skips.sample_id == db.samples.c.sample_id, skips.at > now_s - SKIPPED_S)
    at = select(skips.at).where(mine).scalar_subquery()
    return query.order_by(func.coalesce(at, 0.0), *place)


def skipped(connection: Connection, person: str, *, now_s: float) -> bool:
    """Whether a person has skipped anything that does not count as new to them again."""
    skips = tables.review_skips.c
    query = select(skips.sample_id).where(skips.person == person, skips.at > now_s - SKIPPED_S).limit(1)
    return person != "" and connection.execute(query).first() is not None


def source(narrowed: SearchNarrowed) -> FromClause:
    """The tables that the conditions of a filter are about; `samples` alone where that is enough."""
    if narrowed.sought:
        return db.samples.join(tables.sought, tables.sought.c.sample_id == db.samples.c.sample_id)
    return db.samples


def conditions_of(connection: Connection, wanted: MomentFilter, narrowed: SearchNarrowed) -> list[ColumnElement[bool]]:
    """What must hold of the tables of `source`. connection: what looks alike is looked up first"""
    own = db.samples.c.sample_id
    found = [true(), *_plain(wanted, narrowed), *_left_by_people(wanted), *by_words.conditions(narrowed.sought)]
    if narrowed.ids is not None:
        found.append(own.in_(narrowed.ids))
    if wanted.like:
        found.append(own.in_(_alike(connection, wanted)))
    return found


def narrow(connection: Connection, wanted: MomentFilter) -> SearchNarrowed:
    """Look for the moments of a walk, device, wearer, model or word where there are few. SQLite would look for them
    through the whole list, in its order; where there are many, that finds a page of them soon."""
    return _narrowed(connection, wanted, _sought(connection, wanted))


def _narrowed(connection: Connection, wanted: MomentFilter, sought: SoughtTerms) -> SearchNarrowed:
    conditions, is_few = by_words.first_of_all(connection, sought, most=SORTED)
    own = select(tables.sought.c.sample_id).where(*conditions)
    if is_few:
        return SearchNarrowed(ids=own)
    ids = _few(connection, wanted)
    if ids is None and sought.is_joint:  # of words that are in many moments, few may have all
        found = list(connection.execute(own.limit(FEW + 1)).scalars())
        if len(found) <= FEW:
            return SearchNarrowed(ids=found)
    return SearchNarrowed(sought, ids)


def _few(connection: Connection, wanted: MomentFilter) -> list[str] | None:
    state = [] if wanted.state == "all" else [_stated(wanted)]
    for column, value in _named(wanted):
        if value:
            query = select(db.samples.c.sample_id).where(column == value, *state).limit(FEW + 1)
            ids = list(connection.execute(query).scalars())
            if len(ids) <= FEW:
                return ids
    return None


def _stated(wanted: MomentFilter) -> ColumnElement[bool]:
    """That a moment stands in the state, by no index of states."""
    return db.samples.c.state.concat("") == wanted.state


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


def _seen(wanted: MomentFilter, table: Table = db.samples) -> list[ColumnElement[bool]]:
    return [] if wanted.seen_by is None else visible.conditions(wanted.seen_by, table)


def _of_state(wanted: MomentFilter, table: Table = db.samples) -> list[ColumnElement[bool]]:
    return [] if wanted.state == "all" else [table.c.state == wanted.state]


def _plain(wanted: MomentFilter, narrowed: SearchNarrowed) -> list[ColumnElement[bool]]:
    table = db.samples.c
    found = _of_state(wanted) if narrowed.ids is None or wanted.state == "all" else [_stated(wanted)]
    found += [*(column == value for column, value in _named(wanted) if value), *_seen(wanted)]
    if wanted.since is not None:
        found.append(table.captured_at >= wanted.since)
    if wanted.until is not None:
        found.append(table.captured_at < wanted.until)
    return found


def _sought(connection: Connection, wanted: MomentFilter) -> SoughtTerms:
    return by_words.look_up(connection, **_searched(wanted))


def _searched(wanted: MomentFilter) -> dict[str, Any]:
    return {"words": wanted.words, "thing": wanted.thing, "flag": wanted.flag}


def _left_by_people(wanted: MomentFilter) -> list[ColumnElement[bool]]:
    own, marks = db.samples.c.sample_id, tables.review_marks.c
    comments, skips = tables.review_comments.c, tables.review_skips.c
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
    marked = tables.review_marks.c.sample_id.in_(seen) if conditions else true()

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
            "assigned_to": different(tables.review_marks.c.assigned_to, marked),
        }
