"""What moments are searched by, beside the table of moments: one narrow row for each, written with its fold.

A search must not read the whole rows of 100,000 moments. `words` has every wording of a moment in lower case, `things`
the things of the vocabulary that any of them names; `search_index` has all three by what is looked for. `look` is made
later, by whoever reads the picture next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from server.database import review_tables as tables
from server.database import store as db
from server.database.as_rows import as_rows
from server.database.bodies import wearer_of
from server.dataset import search_index
from server.dataset.sample_row import SampleRow
from server.dataset.search_index import BETWEEN, Posting
from server.dataset.wording import reading_of
from shared import vocabulary

PLACE = ("priority", "captured_at")
"""Columns of a fold that a row has, too."""
MOST_WORDS = 2000
"""Characters of a moment's wordings that are searched: a device may send 4096 in each of its fields."""
_WORDINGS = ("spoken", "raw_output", "llm_correction", "ground_truth", "transcript", "llm_wording", "teacher_wording")
_T, _C = tables.sought, tables.sought.c


def keep(connection: Connection, rows: Sequence[SampleRow]) -> None:
    """Write what these rows of different moments are searched by, inside the caller's transaction, once their folds are
    written; nothing of erased ones. A look that is there stays."""
    values = _values(connection, [row for row in rows if not row.erased])
    known = {row.sample_id: row for row in _known(connection, [value["sample_id"] for value in values])}
    before = _postings(known.values())
    after = _written(connection, values, {sample_id: row.number for sample_id, row in known.items()})
    search_index.add(connection, after - before)
    search_index.take(connection, before - after)


def _values(connection: Connection, rows: Sequence[SampleRow]) -> list[dict[str, Any]]:
    """The rows to be written; terms that are new are."""
    places = _places(connection, [row.sample_id for row in rows])
    values = [{**row_of(row), **places.get(row.sample_id, dict.fromkeys(PLACE, 0))} for row in rows]
    named = [search_index.terms_of(value) for value in values]
    ids = search_index.ids_of(connection, set().union(*named))
    return [{**value, "terms": sorted(ids[term] for term in terms)} for value, terms in zip(values, named, strict=True)]


def _written(connection: Connection, values: Sequence[dict[str, Any]], known: Mapping[str, int]) -> set[Posting]:
    """Write the rows; returns the postings that there have to be. known: numbers of the moments that have one"""
    numbers = dict(known)
    changed = [{"own": known[value["sample_id"]], **value} for value in values if value["sample_id"] in known]
    fresh = [value for value in values if value["sample_id"] not in known]
    if changed:
        connection.execute(update(tables.sought).where(_C.number == bindparam("own")), changed)
    if fresh:
        numbers |= dict(connection.execute(insert(tables.sought).returning(_C.sample_id, _C.number), fresh).all())
    own = (search_index.postings_of(value["terms"], value["state"], numbers[value["sample_id"]]) for value in values)
    return set().union(*own)


def forget(connection: Connection, sample_ids: Sequence[str]) -> None:
    """Delete what these are searched by, inside the caller's transaction, with the words that no other moment has: also
    where a damaged row says other terms than its text has, or another state than its postings."""
    found = (connection.execute(select(_T).where(_C.sample_id.in_(some))) for some in search_index.pieces(sample_ids))
    rows: list[Any] = [row for some in found for row in some]
    named = {row.number: search_index.terms_of(row._mapping) for row in rows}
    ids = search_index.ids_of(connection, set().union(*named.values()))
    own = {row.number: {*row.terms, *(ids[term] for term in named[row.number])} for row in rows}
    search_index.take_any(connection, own)
    for some in search_index.pieces(list(own)):
        connection.execute(delete(_T).where(_C.number.in_(some)))


def _places(connection: Connection, sample_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What orders them in the queue, as their folds have it."""
    fold = db.samples.c
    query = select(fold.sample_id, fold.priority, fold.captured_at)
    found = (connection.execute(query.where(fold.sample_id.in_(some))) for some in search_index.pieces(sample_ids))
    return {row.sample_id: {name: getattr(row, name) for name in PLACE} for some in found for row in some}


def place_again(connection: Connection, sample_ids: Sequence[str]) -> None:
    """Say where these stand in the queue since their folds were placed anew, inside the caller's transaction."""
    fold = db.samples.c
    stands = select(fold.priority).where(fold.sample_id == _C.sample_id).scalar_subquery()
    own = _C.sample_id.in_(as_rows(connection, sample_ids)), exists().where(fold.sample_id == _C.sample_id)
    connection.execute(update(_T).where(*own).values(priority=stands))


def _postings(known: Iterable[Any]) -> set[Posting]:
    return set().union(*(search_index.postings_of(row.terms, row.state, row.number) for row in known))


def _known(connection: Connection, sample_ids: Sequence[str]) -> list[Any]:
    """Number, id, state and terms of those that there are."""
    query = select(_C.number, _C.sample_id, _C.state, _C.terms)
    found = (connection.execute(query.where(_C.sample_id.in_(some))) for some in search_index.pieces(sample_ids))
    return [row for some in found for row in some]


def row_of(row: SampleRow) -> dict[str, Any]:
    """The row of a moment, but for the ids of its terms, its look and its place. Pure."""
    texts = list(dict.fromkeys(filter(None, (getattr(row, name) for name in _WORDINGS))))
    return {
        "sample_id": row.sample_id,
        "wearer": wearer_of({"speaker_id": row.speaker_id}, row.device),
        "state": row.state,
        "flags": joined(row.flags),
        "things": joined(sorted(set(_things(texts)))),
        "words": "\n".join(texts)[:MOST_WORDS].casefold(),
    }


def _things(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        slots = reading_of(text).slots
        if slots is not None and slots.object in vocabulary.load().objects:
            yield slots.object


def joined(names: Collection[str]) -> str:
    """Names in one text in which each can be found by `|name|`, "" = none. Pure."""
    plain = [name.replace(BETWEEN, " ") for name in names]
    return f"{BETWEEN}{BETWEEN.join(plain)}{BETWEEN}" if plain else ""


def keep_looks(connection: Connection, looks: Mapping[str, int]) -> None:
    """Write the difference hashes of moments' pictures. looks: sample_id → 64 bits, as server.dataset.alike makes"""
    values = [{"own_id": sample_id, "own_look": f"{look:016x}"} for sample_id, look in looks.items()]
    if values:
        statement = update(tables.sought).where(_C.sample_id == bindparam("own_id"))
        connection.execute(statement.values(look=bindparam("own_look")), values)
