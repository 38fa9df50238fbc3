"""The inverted index of what moments are searched by: each term says in which moments it stands.

A word of SHORTEST letters and more is a term, and so is each thing, each flag and whose the moment is. A part of a word
is looked for among all different words, which are few, and then in the moments of those that have it
(`server.review.by_words`). A word of more than LONGEST letters, as a script without spaces has them, is several terms:
pieces that overlap by half.

Rules that it keeps:

1. A row of `sought` names its terms, and has one posting for each: what goes is known without a look at the text, and
   by which rules terms were made makes no difference. A posting says the moment's state, too: how many moments of a
   term stand in a state, or whether there are any, is read where they stand. What is erased is not believed to be
   whole: the terms of its text go, too, in any state.
2. A term that stands in no moment any more is deleted with its last posting: it may be a word of an erased moment. All
   of it are plain rows of plain tables, overwritten like any others (`secure_delete`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar, get_args

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)

from server.database import review_tables as tables
from server.database import upserting
from server.dataset.sample_row import State

SHORTEST = 3
"""Letters of a word that is a term. Of shorter ones there are few, each in most moments."""
LONGEST = 256
"""Letters of a term: PostgreSQL takes no key of more than 2,704 bytes into an index, and a letter has up to four."""
WORD, THING, FLAG, WEARER = "word", "thing", "flag", "wearer"
"""Kinds of terms."""
BETWEEN = "|"
T = TypeVar("T")
Term = tuple[str, str]
"""(kind, text)"""
Posting = tuple[int, int, int]
"""(id of a term, the moment's state as `STATES` numbers it, number of a moment)"""
STATES: Mapping[str, int] = {state: number for number, state in enumerate(get_args(State))}
UNKNOWN_STATE = -1
"""Of a damaged row."""
AT_ONCE = 500
"""SQLite takes a bounded number of values in one statement."""
_FILLED_AT_ONCE = 2000
_LETTERS = re.compile(rf"[^\W_]{{{SHORTEST},}}")
_SOUGHT, _POSTINGS, _TERMS = tables.sought.c, tables.search_postings.c, tables.search_terms.c
_TAKE = delete(tables.search_postings).where(
    _POSTINGS.term == bindparam("a"), _POSTINGS.state == bindparam("b"), _POSTINGS.moment == bindparam("c")
)
_ANY_STATE = _POSTINGS.state.in_([literal_column(str(number)) for number in (*STATES.values(), UNKNOWN_STATE)])
"""By the table's key."""
_TAKE_ANY = delete(tables.search_postings).where(
    _POSTINGS.term == bindparam("a"), _ANY_STATE, _POSTINGS.moment == bindparam("c")
)
_FACTOR, _MODULUS = 2_654_435_761, 1_000_003
"""Of the sum that tells whether a term has the postings that rows name: Knuth's multiplicative hash of each number."""


def terms_of(row: Mapping[str, Any]) -> set[Term]:
    """The terms of a row of `sought`. Pure."""
    listed = ((THING, row["things"]), (FLAG, row["flags"]))
    names = {(kind, name) for kind, joined in listed for name in joined.split(BETWEEN) if name}
    words = {(WORD, piece) for word in _LETTERS.findall(row["words"]) for piece in _pieces_of(word)}
    return {(WEARER, row["wearer"]), *names, *words}


def _pieces_of(word: str) -> Iterator[str]:
    for start in range(0, max(len(word) - LONGEST // 2, 1), LONGEST // 2):
        yield word[start : start + LONGEST]


def letters_of(word: str) -> str:
    """The part of a word that is looked for which a term must have; "" = any term may be in such a moment. Pure."""
    return max(_LETTERS.findall(word), key=len, default="")[: LONGEST // 2]


def ids_of(connection: Connection, terms: Collection[Term]) -> dict[Term, int]:
    """Term → its id; new ones are written."""
    found, kinds = dict[Term, int](), sorted({kind for kind, _ in terms})
    for some in pieces(sorted({text for _, text in terms})):
        query = select(tables.search_terms).where(_TERMS.kind.in_(kinds), _TERMS.term.in_(some))
        found |= {(kind, text): number for number, kind, text in connection.execute(query)}
    fresh = [{"kind": kind, "term": text} for kind, text in sorted(terms - found.keys())]
    if fresh:
        written = insert(tables.search_terms).returning(_TERMS.kind, _TERMS.term, _TERMS.id)
        found |= {(kind, text): number for kind, text, number in connection.execute(written, fresh)}
    return found


def postings_of(terms: Iterable[int], state: str, number: int) -> set[Posting]:
    """The postings of a moment. Pure."""
    return {(term, STATES.get(state, UNKNOWN_STATE), number) for term in terms}


def add(connection: Connection, postings: Collection[Posting]) -> None:
    """Write postings, inside the caller's transaction."""
    if postings:
        values = [{"term": term, "state": state, "moment": moment} for term, state, moment in sorted(postings)]
        connection.execute(upserting.upsert(connection, tables.search_postings).on_conflict_do_nothing(), values)


def take(connection: Connection, postings: Collection[Posting]) -> None:
    """Delete postings, and the terms that have none any more, inside the caller's transaction."""
    if postings:
        connection.execute(_TAKE, [{"a": term, "b": state, "c": moment} for term, state, moment in postings])
    _forget_unused(connection, {term for term, _, _ in postings})


def take_any(connection: Connection, terms: Mapping[int, Collection[int]]) -> None:
    """The same of what a posting may say in any state. terms: number of a moment → ids"""
    values = [{"a": term, "c": moment} for moment, some in terms.items() for term in some]
    if values:
        connection.execute(_TAKE_ANY, values)
    _forget_unused(connection, set().union(*terms.values()))


def _forget_unused(connection: Connection, terms: Collection[int]) -> None:
    unused = ~exists().where(_POSTINGS.term == _TERMS.id)
    for some in pieces(sorted(terms)):
        connection.execute(delete(tables.search_terms).where(_TERMS.id.in_(some), unused))


def make_again(connection: Connection) -> None:
    """Make the index anew from the rows, inside a transaction. Memory is that of all different terms."""
    for table in (tables.search_postings, tables.search_terms):
        connection.execute(delete(table))
    ids = dict[Term, int]()
    change = update(tables.sought).where(_SOUGHT.number == bindparam("own"))
    for some in _rows(connection):
        own = {row.number: terms_of(row._mapping) for row in some}
        ids |= ids_of(connection, set().union(*own.values()) - ids.keys())
        named = {number: sorted(ids[term] for term in terms) for number, terms in own.items()}
        connection.execute(change, [{"own": number, "terms": terms} for number, terms in named.items()])
        add(connection, set().union(*(postings_of(named[row.number], row.state, row.number) for row in some)))


def differences(connection: Connection) -> Iterator[str]:
    """Terms of which rows and postings do not say the same. Memory is that of all different terms."""
    ids = {(kind, text): number for number, kind, text in connection.execute(select(tables.search_terms))}
    names, wanted = {number: f"{kind}:{text}" for (kind, text), number in ids.items()}, dict[int, tuple[int, int]]()
    for row in chain.from_iterable(_rows(connection)):
        if {ids.get(term, 0) for term in terms_of(row._mapping)} != set(row.terms):
            yield f"moment {row.sample_id}"
        for term in row.terms:
            count, total = wanted.get(term, (0, 0))
            wanted[term] = count + 1, total + (row.number * _FACTOR + STATES.get(row.state, UNKNOWN_STATE)) % _MODULUS
    there = _summed(connection)
    for term in sorted(wanted.keys() | there.keys()):
        if term not in names or wanted.get(term) != there.get(term):
            yield names.get(term, f"term {term}")


def _summed(connection: Connection) -> dict[int, tuple[int, int]]:
    """Of each term's postings: their number, and the sum of hashes."""
    hashed = func.sum((cast(_POSTINGS.moment, BigInteger) * literal(_FACTOR, BigInteger) + _POSTINGS.state) % _MODULUS)
    found = connection.execute(select(_POSTINGS.term, func.count(), hashed).group_by(_POSTINGS.term))
    return {term: (count, int(total)) for term, count, total in found}


def pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """So many at a time as a statement may name."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


def _rows(connection: Connection) -> Iterator[Sequence[Any]]:
    """All of the index of all rows, some at a time."""
    names = ("number", "sample_id", "wearer", "state", "things", "flags", "words", "terms")
    query = select(*(_SOUGHT[name] for name in names)).order_by(_SOUGHT.number).limit(_FILLED_AT_ONCE)
    last = -1
    while some := connection.execute(query.where(_SOUGHT.number > last)).all():
        yield some
        last = some[-1].number
