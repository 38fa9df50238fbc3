"""Whether every compressed body of the database can be read: each ends with a checksum of its words.

A repair takes such a row out, and the rest of a check brings it back: rows and records from the logs, moments from
their rows. What a person decided stands in no log: who decided what, and when, stays, and the wordings are lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table, delete, func, select, type_coerce, update
from sqlalchemy.types import NullType

from server.database import review_tables as tables
from server.database import store as db
from server.database.bodies import BodyText, unpack
from server.database.store import Store
from server.maintenance.findings import HomeFinding
from server.maintenance.progress import EVERY, Told, nobody, told
from shared.errors import DatasetError

DAMAGED = "body damaged"
_TABLES = (db.dataset_rows, db.samples, db.records, tables.reviews)


def damage(store: Store, *, repair: bool, to: Told = nobody) -> list[HomeFinding]:
    """Bodies that cannot be read. All are looked at, with flat memory."""
    findings = []
    for table in _TABLES:
        for row in list(_damaged(store, table, to)):
            done = _taken_out(store, table, row) if repair else ""
            name = " ".join(str(row[column.name]) for column in table.primary_key)
            lost = table is tables.reviews
            findings.append(HomeFinding(DAMAGED, f"{table.name} {name}", "it cannot be read", done, lost=lost))
    return findings


def _damaged(store: Store, table: Table, to: Told) -> Iterator[dict[str, Any]]:
    """Their rows, as the database has them."""
    columns = [type_coerce(one, NullType()).label(one.name) for one in table.columns]
    with store.reading() as connection:
        total = connection.execute(select(func.count()).select_from(table)).scalar() or 0
        rows = connection.execute(select(*columns).execution_options(yield_per=EVERY)).mappings()
        for row in told(rows, f"reading {table.name}", total, to):
            if not all(_readable(row[column.name]) for column in _bodies(table)):
                yield dict(row)


def _bodies(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if isinstance(column.type, BodyText)]


def _readable(stored: Any) -> bool:
    try:
        return isinstance(json.loads(unpack(stored)), dict)
    except (DatasetError, ValueError, TypeError, RecursionError):
        return False


def _taken_out(store: Store, table: Table, row: dict[str, Any]) -> str:
    own = [column == row[column.name] for column in table.primary_key]
    with store.writing() as connection:
        if table is not tables.reviews:
            connection.execute(delete(table).where(*own))
            return "made again from the dataset"
        nothing = _nothing_said(row["sample_id"])
        values = {column.name: nothing for column in _bodies(table) if not _readable(row[column.name])}
        connection.execute(update(table).where(*own).values(**values))
        return "the decision stays, without its wordings"


def _nothing_said(sample_id: str) -> dict[str, Any]:
    """As the wordings of a moment that was erased."""
    empty = {"frame_path": "", "audio_path": "", "instruction": "", "timestamp": 0.0, "device": "", "walk_id": ""}
    return {**empty, "row_id": f"{sample_id}#0", "sample_id": sample_id, "rejected": True, "erased": True}
