"""Finding the moments that a filter means (`server.review.moment_filter`): a page of them, or their number.

Moments that a person skipped come behind the others for them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Select, and_, func, not_, select, true

from server.access import visible
from server.access.person import Person
from server.database import review_tables as tables
from server.database import store as db
from server.database.distinct import distinct
from server.database.store import Store
from server.dataset.sample_row import SampleRow, State
from server.review import narrowing, order
from server.review.moment_filter import MomentFilter
from server.review.skipping import SkippedBy
from shared import vocabulary
from shared.messages import FLAGS

MOST_CHOICES = 500
COUNTED = 1_000
"""Moments of a state that a page counts; where there are more, it says so."""


class Search:
    """A filter on a connection: its numbers and a page of it cost what they look up once."""

    def __init__(self, connection: Connection, wanted: MomentFilter) -> None:
        self._connection = connection
        self._wanted = wanted
        self._is_whole = _is_whole(wanted)
        self._looked = cache(partial(narrowing.LookedUp, connection, wanted))

    def find(self, *, person: str = "", now_s: float = 0.0, limit: int = 50, offset: int = 0) -> list[SampleRow]:
        """As of `find`."""
        skips = SkippedBy(person, now_s)
        skipped = 0 if order.by_decision(self._wanted.state) else skips.number(self._connection)
        if skipped:
            ids = self._skipped_last(skips, skipped, limit=limit, offset=offset)
        elif self._is_whole:
            return order.page(self._connection, self._wanted.state, limit=limit, offset=offset)
        else:
            ids = self._ids(narrowing.in_order(self._looked(), limit=limit, offset=offset))
        return order.rows(self._connection, ids)

    def counts(self, most: int | None = None) -> dict[str, int]:
        """As of `counts`."""
        limit = None if most is None else most + 1
        if self._is_whole:
            known: Mapping[str, int] = order.counts(self._connection)
        elif self._wanted.like:
            known = narrowing.counts_alike(self._looked())
        else:
            return {one: narrowing.number(self._looked(), one, limit) for one in get_args(State)}
        return {one: min(known.get(one, 0), sys.maxsize if limit is None else limit) for one in get_args(State)}

    def _skipped_last(self, skips: SkippedBy, skipped: int, *, limit: int, offset: int) -> list[str]:
        fresh = not_(skips.about_it())
        ids = self._ids(narrowing.in_order(self._looked(), fresh, limit=limit, offset=offset, hides=skipped))
        if len(ids) == limit:
            return ids
        before = offset + len(ids)
        if offset and not ids:
            earlier = narrowing.in_order(self._looked(), fresh, limit=offset, hides=skipped).subquery()
            before = int(self._connection.execute(select(func.count()).select_from(earlier)).scalar_one())
        left = {"limit": limit - len(ids), "offset": max(offset - before, 0)}
        return [*ids, *self._ids(narrowing.skipped(self._looked(), skips, **left))]

    def _ids(self, query: Select[Any]) -> list[str]:
        return list(self._connection.execute(query).scalars())


def find(
    store: Store, wanted: MomentFilter, *, person: str = "", now_s: float = 0.0, limit: int = 50, offset: int = 0
) -> list[SampleRow]:
    """The moments that are meant, in the order of `decisions.listing`; those that `person` skipped behind the others.

    person: who asks, "" = their skips do not matter, nor does the time
    """
    with store.reading() as connection:
        return Search(connection, wanted).find(person=person, now_s=now_s, limit=limit, offset=offset)


def count(store: Store, wanted: MomentFilter) -> int:
    """How many moments are meant."""
    found = counts(store, wanted)
    return sum(found.values()) if wanted.state == "all" else found[wanted.state]


def counts(store: Store, wanted: MomentFilter, most: int | None = None) -> dict[str, int]:
    """State → how many moments of the filter stand in it, its own state or each. most: count no further, `most` + 1 =
    more than `most`"""
    with store.reading() as connection:
        return Search(connection, wanted).counts(most)


def _is_whole(wanted: MomentFilter) -> bool:
    """Whether all moments of a state are meant, or all: the list that an index has and the database counts."""
    return wanted == MomentFilter(state=wanted.state, seen_by=wanted.seen_by) and narrowing.is_seen_whole(wanted)


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
