"""The newest rows of the database's own tables: each moment is shown as its newest row says, and is counted so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, func, select

from server.database import review_tables as tables
from server.database import store as db
from server.database.bodies import wearer_of
from server.database.store import Store
from server.dataset import rollups, row_log, search_index, sought
from server.dataset.sample_row import SampleRow, from_dict, number_in
from server.maintenance.findings import HomeFinding
from server.maintenance.progress import EVERY, Told, nobody, told

OUTDATED, MISCOUNTED, UNFOUND = "moment out of date", "sum out of date", "search out of date"

_SOUGHT = ("wearer", "state", "flags", "words")
"""What is compared of a row to search by. Its things depend on the words that were understood when it was written."""


def differences(store: Store, *, to: Told = nobody) -> Iterator[HomeFinding]:
    """Samples that do not say what their newest row says, sums that are not those of the samples, and words by which a
    search finds others. The tables are read side by side, with flat memory."""
    with store.reading() as connection:
        total = connection.execute(select(func.count()).select_from(db.samples)).scalar() or 0
        whole = rollups.is_whole(connection)
        folds = _folds(connection)
        fold = next(folds, None)
        for sample_id, body in told(_newest_bodies(connection), "comparing moments", total, to):
            while fold is not None and fold.sample_id < sample_id:
                fold = next(folds, None)  # its rows are missing, which is told where the logs are compared
            own = fold if fold is not None and fold.sample_id == sample_id else None
            if not _agrees(own, body, counted=whole):
                why = "the review queue shows it otherwise than the dataset has it"
                yield HomeFinding(OUTDATED, sample_id, why)
        for cell in rollups.differences(connection):
            yield HomeFinding(MISCOUNTED, cell, "statistics count the moments wrongly", remedy="counted again")
        for name in _unfound(connection):
            yield HomeFinding(UNFOUND, name, "a search finds the wrong moments", remedy="made again from the moments")


def _unfound(connection: Connection) -> Iterator[str]:
    """Rows to search by that stand for no moment, and terms with other postings than the rows name."""
    own, fold = tables.sought.c, db.samples.c
    pairs = tables.sought.outerjoin(db.samples, fold.sample_id == own.sample_id)
    for sample_id in connection.execute(select(own.sample_id).select_from(pairs).where(fold.sample_id.is_(None))):
        yield f"moment {sample_id[0]}"
    yield from search_index.differences(connection)


def _folds(connection: Connection) -> Iterator[Any]:
    table, found_by = db.samples, tables.sought
    names = ("sample_id", "body", "wearer", *sought.PLACE, *rollups.VALUES)
    own = [found_by.c[name].label(f"sought_{name}") for name in (*_SOUGHT, *sought.PLACE)]
    query = select(*(table.c[name] for name in names), *own).select_from(
        table.outerjoin(found_by, found_by.c.sample_id == table.c.sample_id)
    )
    yield from connection.execute(query.order_by(table.c.sample_id).execution_options(yield_per=EVERY))


def _newest_bodies(connection: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    table = db.dataset_rows
    query = select(table.c.sample_id, table.c.body).order_by(table.c.sample_id, table.c.seq)
    rows = connection.execute(query.execution_options(yield_per=EVERY))
    for sample_id, some in groupby(rows, key=lambda row: str(row.sample_id)):
        yield sample_id, _newest([row.body for row in some])


def _newest(bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """The one with the highest number, then the last."""
    return max(reversed(bodies), key=lambda body: _number(body))


def _number(body: dict[str, Any]) -> int:
    name = str(body["row_id"])
    return number_in(name) if "#" in name else 0  # a name that somebody gave it by hand


def _agrees(fold: Any, body: dict[str, Any], *, counted: bool) -> bool:
    """counted: all folds have the marks and cells of today's rules"""
    if body.get("erased") or fold is None:
        return fold is None and bool(body.get("erased"))
    if fold.body != body or fold.wearer != wearer_of(body, str(body["device"])):
        return False
    row = from_dict(body)
    if not _is_found_as(fold, row):
        return False
    return not counted or all(getattr(fold, name) == is_ for name, is_ in rollups.values_of(row).items())


def _is_found_as(fold: Any, row: SampleRow) -> bool:
    """Whether its narrow row says what its newest row and its fold say."""
    right = sought.row_of(row) | {name: getattr(fold, name) for name in sought.PLACE}
    return all(getattr(fold, f"sought_{name}") == right[name] for name in (*_SOUGHT, *sought.PLACE))


def fold_again(store: Store, sample_id: str, *, now_s: float) -> None:
    """Make what a moment is shown and counted by anew from its newest row."""
    table = db.dataset_rows
    with store.writing() as connection:
        query = select(table.c.body).where(table.c.sample_id == sample_id).order_by(table.c.seq)
        bodies = list(connection.execute(query).scalars())
        if not bodies:
            return
        body = _newest(bodies)
        connection.execute(delete(db.samples).where(db.samples.c.sample_id == sample_id))
        if body.get("erased"):
            sought.forget(connection, [sample_id])
            return
        row = from_dict(body)
        connection.execute(db.samples.insert().values(**row_log.fold_of(row, body, now_s=now_s)))
        sought.keep(connection, [row])


def index_again(store: Store) -> None:
    """Make all that moments are searched by anew, where there is a moment."""
    own, fold = tables.sought.c.sample_id, db.samples.c.sample_id
    with store.writing() as connection:
        connection.execute(delete(tables.sought).where(own.not_in(select(fold))))
        search_index.make_again(connection)


def count_again(store: Store) -> None:
    """Make all sums anew."""
    with store.writing() as connection:
        rollups.sum_again(connection)
