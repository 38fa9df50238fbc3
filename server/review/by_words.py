"""What a search for words, a thing or a flag means to the index (`server.dataset.search_index`).

A word that is looked for may stand anywhere in the words of a moment. Its letters are looked for among all terms, then
the moments of those terms are meant. Where a word has few letters, or stands in very many terms, or has more in it than
letters, the text of each moment that is left is looked through too: as all were before there was an index.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Subquery,
    case,
    exists,
    false,
    func,
    intersect,
    literal,
    select,
    true,
)

from server.database import review_tables as tables
from server.database.as_rows import numbers_as_rows
from server.database.words import holds
from server.dataset import search_index
from server.dataset.sample_row import State
from server.dataset.search_index import FLAG, STATES, THING, WEARER, WORD

MOST_WORDS = 8
"""Of a search."""
MOST_TERMS = 64
"""That a word may stand in: a part like "e" is in most, and each costs a look for each moment."""
MERGED = 10
"""Up to so many times as long a list is merged: a step in that of one term takes a tenth of a look for a moment."""
_SOUGHT, _POSTINGS, _TERMS = tables.sought.c, tables.search_postings.c, tables.search_terms.c


@dataclass(frozen=True, slots=True)
class SoughtTerms:
    """What must hold of a moment: for each entry of `terms` one of its ids, and every text in its words."""

    terms: tuple[tuple[int, ...], ...] = ()
    texts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms or self.texts)

    @property
    def is_joint(self) -> bool:
        """There are more conditions than the one that the index has in one place."""
        return len(self.terms) > 1 or bool(self.texts)


ALL = SoughtTerms()


@dataclass(frozen=True, slots=True)
class RarestTerms:
    """Of the conditions of a search, the terms of the one that the fewest moments have."""

    ids: tuple[int, ...]
    is_few: bool
    beside: tuple[tuple[int, ...], ...] = ()
    """Those of other conditions that not many times as many moments have: their lists are merged with its own."""


def look_up(connection: Connection, *, words: str, thing: str, flag: str) -> SoughtTerms:
    """What is meant by them; all empty = nothing is restricted. All different words are looked through."""
    named = [_named_so(connection, kind, (name,)) for kind, name in ((THING, thing), (FLAG, flag)) if name]
    of_words = _look_up_words(connection, words)
    return SoughtTerms((*named, *of_words.terms), of_words.texts)


def of_wearers(connection: Connection, sought: SoughtTerms, wearers: Sequence[str] | None) -> SoughtTerms:
    """The same of these wearers' moments, None = of any. Nothing is restricted by them alone."""
    if wearers is None or not sought:
        return sought
    return SoughtTerms((_named_so(connection, WEARER, wearers), *sought.terms), sought.texts)


def _named_so(connection: Connection, kind: str, names: Sequence[str]) -> tuple[int, ...]:
    """Terms that are one of these names."""
    query = select(_TERMS.id).where(_TERMS.kind == kind, _TERMS.term.in_(names))
    return tuple(connection.execute(query).scalars())


def _look_up_words(connection: Connection, words: str) -> SoughtTerms:
    terms, texts = list[tuple[int, ...]](), list[str]()
    for word in dict.fromkeys(words.casefold().split()[:MOST_WORDS]):
        letters = search_index.letters_of(word)
        found = _holding(connection, letters) if letters else None
        if found is not None:
            terms.append(found)
        if found is None or letters != word:
            texts.append(word)
    return SoughtTerms(tuple(terms), tuple(texts))


def _holding(connection: Connection, letters: str) -> tuple[int, ...] | None:
    """Terms in which these letters stand, None = too many to be of use."""
    query = select(_TERMS.id).where(_TERMS.kind == WORD, holds(_TERMS.term, letters)).limit(MOST_TERMS + 1)
    found = tuple(connection.execute(query).scalars())
    return found if len(found) <= MOST_TERMS else None


def conditions(sought: SoughtTerms, state: State | Literal["all"]) -> list[ColumnElement[bool]]:
    """What holds of rows of `sought` in this state, looked at one after the other. Pure."""
    return [*_has(sought, state, _SOUGHT.number), *_holds(sought)]


def _has(sought: SoughtTerms, state: State | Literal["all"], number: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """That the moment of this number has the terms."""
    if not all(sought.terms):
        return [false()]
    own = _POSTINGS.state == _number_of(state), _POSTINGS.moment == number
    return [exists().where(_POSTINGS.term.in_(ids), *own) for ids in sought.terms]


def _holds(sought: SoughtTerms) -> list[ColumnElement[bool]]:
    """That a row of `sought` has the texts."""
    return [holds(_SOUGHT.words, text) for text in sought.texts]


def rarest(connection: Connection, sought: SoughtTerms, state: State, *, most: int) -> RarestTerms | None:
    """Which of the terms the fewest moments in this state have; None = none is meant. They are counted to `most`: of
    those with more, the one whose first moments are the farthest apart is taken for the rarest. The list of several
    terms is as many times as long at most, and SQLite has to sort it first: they are merged less readily."""
    sizes = {ids: _size(connection, ids, state, most=most) for ids in sought.terms}
    if not sizes:
        return None
    found = min(sizes, key=lambda ids: (sizes[ids][0], -sizes[ids][1]))
    count, span = sizes.pop(found)
    if count <= most or connection.dialect.name != "sqlite":  # PostgreSQL sees for itself what is better merged
        return RarestTerms(found, is_few=count <= most)
    near = (ids for ids, (_, own) in sizes.items() if span * len(ids) <= MERGED * own)
    return RarestTerms(found, is_few=False, beside=tuple(near) if len(found) == 1 else ())


def moments(sought: SoughtTerms, first: RarestTerms, state: State) -> Select[Any]:
    """The ids of the moments in this state of which it holds, those of the rarest terms looked at. Pure."""
    some, has = _first(sought, first, state)
    rows = some.join(tables.sought, some.c.moment == _SOUGHT.number)
    return select(_SOUGHT.sample_id).select_from(rows).where(*has, *_holds(sought))


def numbers(
    connection: Connection, sought: SoughtTerms, first: RarestTerms, state: State, *, most: int
) -> Sequence[int]:
    """So many of them, as `sought` numbers them: the index alone is read, where it says all."""
    some, has = _first(sought, first, state)
    rows = some.join(tables.sought, some.c.moment == _SOUGHT.number) if sought.texts else some
    query = select(some.c.moment).select_from(rows).where(*has, *_holds(sought)).limit(most)
    return connection.execute(query).scalars().all()


def first(query: Select[Any], most: int) -> Select[Any]:
    """Of ids that a query of `sought` gives, the first in the order of the queue. Pure."""
    return query.order_by(_SOUGHT.priority, _SOUGHT.captured_at.desc(), _SOUGHT.sample_id).limit(most)


def named(connection: Connection, found: Sequence[int]) -> Select[Any]:
    """The ids of those that were found."""
    return select(_SOUGHT.sample_id).where(_SOUGHT.number.in_(numbers_as_rows(connection, found)))


def counting(
    sought: SoughtTerms, first: RarestTerms | None, state: State, seen: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """A row for each of these moments, to be counted: by the index alone, where it says all. Pure. seen: what must hold
    of rows of `sought`, too"""
    if first is None:
        stated = _SOUGHT.state == state
        return select(true()).select_from(tables.sought).where(stated, *conditions(sought, state), *seen)
    some, has = _first(sought, first, state)
    if not (sought.texts or seen):
        return select(true()).select_from(some).where(*has)
    rows = some.join(tables.sought, some.c.moment == _SOUGHT.number)
    return select(true()).select_from(rows).where(*has, *_holds(sought), *seen)


def _first(sought: SoughtTerms, first: RarestTerms, state: State) -> tuple[Subquery, list[ColumnElement[bool]]]:
    """The moments of the rarest terms and of those beside, and that they have the others."""
    some = _merged((first.ids, *first.beside), state).subquery()
    others = SoughtTerms(tuple(ids for ids in sought.terms if ids not in (first.ids, *first.beside)))
    return some, _has(others, state, some.c.moment)


def _merged(all_of: Sequence[tuple[int, ...]], state: State) -> Select[Any] | CompoundSelect[Any]:
    """Numbers of the moments in a state that have one term of each. SQLite goes once through their lists where they
    have an order, and drops the order of a subquery that has no limit."""
    if len(all_of) == 1:
        return _named(all_of[0], state)
    lists = [
        select(_POSTINGS.moment).where(_POSTINGS.term.in_(ids), _POSTINGS.state == STATES[state]) for ids in all_of
    ]
    return intersect(*lists).order_by(_POSTINGS.moment.name).limit(sys.maxsize)


def _named(ids: Sequence[int], state: State) -> Select[Any]:
    """Numbers of the moments in a state that have one of these terms."""
    query = select(_POSTINGS.moment).where(_POSTINGS.term.in_(ids), _POSTINGS.state == STATES[state])
    return query if len(ids) == 1 else query.distinct()


def _number_of(state: State | Literal["all"]) -> ColumnElement[int]:
    """As postings have it; of any state, that of the row that is looked at."""
    return case(STATES, value=_SOUGHT.state) if state == "all" else literal(STATES[state])


def _size(connection: Connection, ids: Sequence[int], state: State, *, most: int) -> tuple[int, int]:
    """(postings of these, counted to `most` and one more; the number of the last moment among them)"""
    some = _named(ids, state).limit(most + 1).subquery()
    count, last = connection.execute(select(func.count(), func.max(some.c.moment))).one()
    return count, last or 0
