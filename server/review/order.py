"""The lists of moments, each in the order of an index: a page is read where it stands, and no list is sorted.

pending            priority, newest first, id     ix_samples_listed
reviewed, rejected when decided, newest first, id ix_samples_decided
all                as pending                     ix_samples_all

Each wearer, device and model has lists of its own: ix_samples_wearer_listed in the order of what is pending, of any
state, ix_samples_wearer_decided in that of what is decided; and so on. They are merged where several are meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, Select, and_, false, literal_column, or_, select, union_all

from server.database import store as db
from server.database.store import Store
from server.dataset import rollups, sample_row
from server.dataset.sample_row import SampleRow, State

Listed = State | Literal["all"]
HowListed = Literal["all", "own", "few"]
"""Moments are come by in the list of all, in a list of their own, or they are known and sorted."""
_S = db.samples.c
_NOT_PENDING = _S.state != literal_column("'pending'")  # as the indexes of what is decided say it


@dataclass(frozen=True, slots=True)
class ListPlace:
    """Where a moment stands in a list; compares by nothing else than its list's order."""

    sample_id: str
    priority: int
    captured_at: float
    changed_at: float


def counts(connection: Connection) -> dict[str, int]:
    """How many moments stand in each state, as the database counts them."""
    known = rollups.tallies(connection, "state")
    return {state: known[state].moments if state in known else 0 for state in get_args(State)}


def page(connection: Connection, state: Listed, *, limit: int, offset: int) -> list[SampleRow]:
    """So many moments from that number on. The half of the list that is nearer is counted through, in an index."""
    total = _total(connection, state) if offset else 0
    if offset <= total - offset or not total:
        ids = _listed(select(_S.sample_id), state).limit(limit).offset(offset)
        return rows(connection, connection.execute(ids).scalars().all())
    left = min(limit, total - offset)
    if left <= 0:
        return []
    ids = _listed(select(_S.sample_id), state, backwards=True).limit(left).offset(total - offset - left)
    return rows(connection, connection.execute(ids).scalars().all()[::-1])


def one_list(state: Listed, conditions: Sequence[ColumnElement[bool]], *, by: HowListed) -> Select[Any]:
    """Moments for which all of this holds, in the order of the list of a state: their ids, and what orders them.
    Pure."""
    place: tuple[ColumnElement[Any], ...] = place_of(state)
    if by == "few" and not by_decision(state):
        place = (place[0] + 0, *place[1:])  # by no index
    elif by == "own":  # in the order of its index but for the ids, which the list of all has, and would be read for
        place = (*place[:-1], _S.sample_id.concat(""))
        conditions = [*conditions, _NOT_PENDING] if by_decision(state) else conditions
    return select(_S.sample_id, _S.priority, _S.captured_at, _S.changed_at).where(*conditions).order_by(*place)


def merged(lists: Sequence[Select[Any]], state: Listed, *, limit: int, offset: int) -> Select[Any]:
    """So many ids of the moments of all these, in the order of the list of a state. Pure. lists: as of `one_list`"""
    if not lists:
        return select(_S.sample_id).where(false())
    if len(lists) == 1:
        return lists[0].with_only_columns(_S.sample_id).limit(limit).offset(offset)
    whole = union_all(*(select(one.limit(limit + offset).subquery()) for one in lists)).subquery().c
    return select(whole.sample_id).order_by(*place_of(state, whole)).limit(limit).offset(offset)


def behind(
    connection: Connection, state: Listed, *, limit: int, after: ListPlace | None
) -> tuple[list[SampleRow], ListPlace | None]:
    """(so many moments behind a place, the place of the last; None where the list ends there)"""
    places = [ListPlace(*row) for row in connection.execute(listed_from(state, after).limit(limit + 1))]
    found = rows(connection, [place.sample_id for place in places[:limit]])
    return found, places[limit - 1] if len(places) > limit else None


def each(store: Store, states: Sequence[State]) -> Iterator[SampleRow]:
    """Every moment in one of these states, by id, with flat memory, as they were at the beginning."""
    query = select(_S.sample_id, _S.body).where(_S.state.in_(states)).order_by(_S.sample_id)
    with store.reading() as connection:
        for sample_id, body in connection.execute(query.execution_options(yield_per=500)):
            yield sample_row.from_dict(body, where=f"sample {sample_id}")


def listed_from(state: Listed, after: ListPlace | None) -> Select[Any]:
    """The columns of ListPlace of a list, behind a place. Pure."""
    query = _listed(select(_S.sample_id, _S.priority, _S.captured_at, _S.changed_at), state)
    return query if after is None else query.where(_behind(state, after))


def _total(connection: Connection, state: Listed) -> int:
    known = counts(connection)
    return sum(known.values()) if state == "all" else known[state]


def _listed(query: Select[Any], state: Listed, *, backwards: bool = False) -> Select[Any]:
    if state != "all":
        query = query.where(_S.state == state)
    first, newest = (_S.changed_at, True) if by_decision(state) else (_S.priority, False)
    keys: list[tuple[ColumnElement[Any], bool]] = [(first, newest)]
    keys += [] if by_decision(state) else [(_S.captured_at, True)]
    keys.append((_S.sample_id, False))
    return query.order_by(*(key.desc() if falls != backwards else key.asc() for key, falls in keys))


def place_of(state: Listed, of: Any = _S) -> tuple[ColumnElement[Any], ...]:
    """The order of a list. Pure. of: columns"""
    if by_decision(state):
        return of.changed_at.desc(), of.sample_id
    return of.priority, of.captured_at.desc(), of.sample_id


def _behind(state: Listed, place: ListPlace) -> ColumnElement[bool]:
    """What stands behind a place. The first term alone bounds the index."""
    if by_decision(state):
        same = and_(_S.changed_at == place.changed_at, _S.sample_id > place.sample_id)
        return and_(_S.changed_at <= place.changed_at, or_(_S.changed_at < place.changed_at, same))
    later = or_(
        _S.captured_at < place.captured_at, and_(_S.captured_at == place.captured_at, _S.sample_id > place.sample_id)
    )
    return and_(
        _S.priority >= place.priority, or_(_S.priority > place.priority, and_(_S.priority == place.priority, later))
    )


def by_decision(state: Listed) -> bool:
    """Whether the list is in the order of decisions, and not in that of the queue. Pure."""
    return state in ("reviewed", "rejected")


def rows(connection: Connection, ids: Sequence[str]) -> list[SampleRow]:
    """The rows of these moments, in this order."""
    found: dict[str, Any] = {}
    for start in range(0, len(ids), 500):  # SQLite takes a bounded number of values in one statement
        query = select(_S.sample_id, _S.body).where(_S.sample_id.in_(ids[start : start + 500]))
        found.update(connection.execute(query).all())
    return [sample_row.from_dict(found[one]) for one in ids]
