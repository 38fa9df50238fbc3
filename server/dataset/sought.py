"""What moments are searched by, beside the table of moments: one narrow row for each, written with its fold.

A search must not read the whole rows of 100,000 moments. `words` has every wording of a moment in lower case, `things`
the things of the vocabulary that any of them names. `look` is made later, by whoever reads the picture next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, update

from server.database import store as db
from server.database import upserting
from server.dataset.sample_row import SampleRow
from server.dataset.wording import reading_of
from shared import vocabulary

MOST_WORDS = 2000
"""Characters of a moment's wordings that are searched: a device may send 4096 in each of its fields."""
BETWEEN = "|"
_WORDINGS = ("spoken", "raw_output", "llm_correction", "ground_truth", "transcript", "llm_wording", "teacher_wording")


def keep(connection: Connection, rows: Sequence[SampleRow], *, known: Collection[str]) -> None:
    """Write what these rows are searched by, inside the caller's transaction; nothing of erased ones. known: samples
    that have such a row."""
    table = db.sought
    values = [row_of(row) for row in rows if not row.erased]
    fresh = [value for value in values if value["sample_id"] not in known]
    changed = [
        {"own_id": value["sample_id"], **{name: value[name] for name in ("flags", "things", "words")}}
        for value in values
        if value["sample_id"] in known
    ]
    if fresh:
        connection.execute(upserting.replace(connection, table), fresh)
    if changed:
        connection.execute(update(table).where(table.c.sample_id == bindparam("own_id")), changed)


def row_of(row: SampleRow) -> dict[str, Any]:
    """The row of a moment, its look not made yet. Pure."""
    texts = list(dict.fromkeys(filter(None, (getattr(row, name) for name in _WORDINGS))))
    return {
        "sample_id": row.sample_id,
        "wearer": row.speaker_id,
        "model_version": row.model_version,
        "flags": joined(row.flags),
        "things": joined(sorted(set(_things(texts)))),
        "words": "\n".join(texts)[:MOST_WORDS].casefold(),
        "look": None,
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
    table = db.sought
    values = [{"own_id": sample_id, "own_look": f"{look:016x}"} for sample_id, look in looks.items()]
    if values:
        statement = update(table).where(table.c.sample_id == bindparam("own_id"))
        connection.execute(statement.values(look=bindparam("own_look")), values)
