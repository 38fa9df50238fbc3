"""Sums over all moments, kept in the database as they change, so that no statistics read all moments.

A fold in `samples` has marks and cells (server.dataset.judged); triggers of the database add them to `rollups` and take
them away, in the transaction that writes, changes or deletes the fold, whoever does it.

Rules that it keeps:

1. `rollups` is always the sum over `samples` as they are. `check` compares the two.
2. Cells depend on the vocabulary and this code (`rules`). `fill` makes those of older folds anew, in small transactions
   that hold up nobody, and goes on where it was cut off. Until then the sums are of what was filled.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files

from sqlalchemy import Connection, TextClause, bindparam, delete, insert, select, text, update

from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import judged, sample_row, worth
from shared.background import Background
from shared.vocabulary import lexemes

logger = logging.getLogger(__name__)
AT_ONCE = 500
"""Folds in one transaction: about 50 ms."""
PAUSE_S = 0.05
"""Between two of them beside a server: others who write come in between."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one cell counts."""

    moments: int = 0
    corrections: int = 0
    judged: int = 0
    correct: int = 0
    audit_judged: int = 0
    audit_correct: int = 0


VALUES = ("wearer", "model", "marks", "cells", "worth")
"""What `values_of` gives."""


def values_of(row: sample_row.SampleRow) -> dict[str, object]:
    """The columns of a fold that it is selected by and that its sums are made from."""
    whose = row.speaker_id or row.device  # as server.consent.terms.wearer_of
    return {
        "wearer": whose,
        "model": row.model_version,
        "marks": judged.marks_of(row),
        "cells": judged.cells_of(row),
        "worth": int(worth.worth_of(row)),
    }


def rules() -> str:
    """What cells depend on beside the moment: this code's number, and the words that are understood."""
    digest = hashlib.sha256(judged.RULES.encode())
    digest.update(files("shared").joinpath("vocabulary.toml").read_bytes())
    known = {words: [meaning.value for meaning in meanings] for words, meanings in lexemes.phrases()[1].items()}
    digest.update(repr(sorted(known.items())).encode())
    return digest.hexdigest()


def is_whole(connection: Connection) -> bool:
    """Whether all folds have the cells of today's rules."""
    table = tables.rollup_state
    return bool(connection.execute(select(table.c.whole).where(table.c.rules == rules())).scalar())


def fill(store: Store, *, wanted: Callable[[], bool] = lambda: True) -> int:
    """Give every fold the cells of today's rules; returns how many had others. wanted: asked after each transaction
    whether to go on. Raises: DatasetError for a fold that cannot be read."""
    own, filled = rules(), 0
    known = select(tables.rollup_state).where(tables.rollup_state.c.rules == own)
    with store.reading() as connection:
        state = connection.execute(known).mappings().first()
    if state is not None and state["whole"]:
        return 0
    after: str | None = str(state["after"]) if state is not None else ""
    while after is not None:
        with store.writing() as connection:
            last, changed = _filled(connection, after)
            filled += changed
            _remember(connection, own, after=last or after, whole=last is None)
        after = last
        if not wanted():
            break
    return filled


def filling(store: Store) -> Background:
    """`fill` beside a server's other work: pages are served meanwhile, and their statistics grow."""

    def run() -> None:
        filled = fill(store, wanted=lambda: not background.stopping.wait(PAUSE_S))
        if filled:
            logger.warning("Counted %d moments of an older version for the statistics.", filled)

    background = Background(run, name="rollups")
    return background


def _filled(connection: Connection, after: str) -> tuple[str | None, int]:
    """The folds behind that one: (the last of them, None where there are no more; how many changed)."""
    table = db.samples
    columns = (table.c[name] for name in ("sample_id", "body", *VALUES))
    query = select(*columns).where(table.c.sample_id > after)
    folds = connection.execute(query.order_by(table.c.sample_id).limit(AT_ONCE)).all()
    changes = []
    for fold in folds:
        values = values_of(sample_row.from_dict(fold.body, where=f"sample {fold.sample_id}"))
        if values != {name: getattr(fold, name) for name in values}:
            changes.append({"own_id": fold.sample_id, **values})
    if changes:
        connection.execute(update(table).where(table.c.sample_id == bindparam("own_id")), changes)
    return (folds[-1].sample_id if folds else None), len(changes)


def _remember(connection: Connection, own: str, *, after: str, whole: bool) -> None:
    table = tables.rollup_state
    connection.execute(delete(table))
    connection.execute(insert(table).values(rules=own, after=after, whole=whole))


def tallies(connection: Connection, kind: str) -> dict[str, Tally]:
    """Name → what is counted under it, of all cells of a kind that count anything."""
    table, prefix = tables.rollups, f"{kind}:"
    # By its range, not LIKE: the index is used.
    query = select(table).where(table.c.cell >= prefix, table.c.cell < f"{kind};", table.c.moments != 0)
    return {cell.removeprefix(prefix): Tally(*sums) for cell, *sums in connection.execute(query)}


def differences(connection: Connection) -> Iterator[str]:
    """Cells that are not the sum over the folds. Reads all folds' cells, in the database and with flat memory."""
    table = tables.rollups
    known = {cell: tuple(sums) for cell, *sums in connection.execute(select(table).where(table.c.moments != 0))}
    for cell, *sums in connection.execute(_summed(connection)):
        if known.pop(cell, None) != tuple(sums):
            yield cell
    yield from known


def sum_again(connection: Connection) -> None:
    """Make all sums anew from the folds, inside a transaction."""
    connection.execute(delete(tables.rollups))
    connection.execute(text(f"INSERT INTO rollups {_summed(connection)}"))


def _summed(connection: Connection) -> TextClause:
    """As the triggers count, in migration 0011."""
    return text(_SUMMED.format(cells=_CELLS[connection.dialect.name]))


_CELLS = {
    "sqlite": "json_each(json_insert(samples.cells, '$[#]', 'state:' || samples.state))",
    "postgresql": "LATERAL (SELECT json_array_elements_text(cells) AS value UNION ALL SELECT 'state:' || state)",
}
_SUMMED = """
SELECT cell.value, count(*), sum(marks & 1), sum((marks & 2) / 2), sum((marks & 4) / 4),
    sum(CASE WHEN (marks & 10) = 10 THEN 1 ELSE 0 END), sum(CASE WHEN (marks & 12) = 12 THEN 1 ELSE 0 END)
FROM samples, {cells} AS cell
GROUP BY cell.value
"""
