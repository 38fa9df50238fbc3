"""The database file itself: whole, and if not, what can still be read of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Table, insert
from sqlalchemy.exc import SQLAlchemyError

from server.access import tables as _accounts  # noqa: F401  so that its tables are copied too
from server.database import settings
from server.database import store as db
from server.database.bodies import BodyText, unpack
from server.database.store import DATABASE_NAME, Store
from server.maintenance.findings import FOLDER, HomeFinding, set_aside
from shared.errors import DatasetError

DAMAGED = "database damaged"
_FROM_THE_LOGS = frozenset(
    (
        "records",
        "parts",
        "stored_bytes",
        "erasures",
        "walks",
        "dataset_rows",
        "log_state",
        "samples",
        "rollups",
        "rollup_state",
        "sought",  # with looks that are made again
        "search_terms",
        "search_postings",
    )
)


def damage(home: Path, *, repair: bool) -> list[HomeFinding]:
    """What SQLite says about its file. A repair puts the file into quarantine; a new one is made from the logs.
    PostgreSQL looks after its own files."""
    if settings.of_home(home).url:
        return []
    path = home / DATABASE_NAME
    if not path.exists():
        if not repair or not (home / "dataset").is_dir():
            return []  # opening it says what to do
        return [
            HomeFinding(
                "database missing",
                DATABASE_NAME,
                "enrolments, model versions and who decided what were only there",
                "the rest was made again from metadata.jsonl and records.jsonl",
                lost=True,
            )
        ]
    problem = _integrity(path)
    if not problem:
        return []
    if not repair:
        return [HomeFinding(DAMAGED, DATABASE_NAME, problem)]
    for suffix in ("-wal", "-shm", ""):
        old = home / f"{DATABASE_NAME}{suffix}"
        if old.exists():
            set_aside(home, old)
    return [HomeFinding(DAMAGED, DATABASE_NAME, problem, "put into quarantine/ and made again from the logs")]


def salvage(home: Path, store: Store) -> list[HomeFinding]:
    """What the logs do not hold (enrolments, models, decisions …) is copied from the newest damaged file, as far as it
    can be read; what cannot is named."""
    broken = sorted((home / FOLDER).glob(f"{DATABASE_NAME}*"), key=lambda path: path.stat().st_mtime)
    broken = [path for path in broken if not path.name.startswith((f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm"))]
    findings = []
    for table in db.metadata.sorted_tables if broken else ():
        if table.name in _FROM_THE_LOGS:
            continue
        copied, problem = _copy(broken[-1], table, store)
        if problem:
            why = f"{copied} rows of {table.name} could be read"
            findings.append(
                HomeFinding("table incomplete", table.name, f"{why} ({problem})", "copied what is left", lost=True)
            )
    return findings


def _integrity(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite's own message is damaged
        return str(error)
    return "" if answer == "ok" else str(answer)


def _copy(broken: Path, table: Table, store: Store) -> tuple[int, str]:
    copied, problem = 0, ""
    rows = _rows(broken, table)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return copied, problem
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return copied, str(error)
        try:
            for column in table.columns:
                row[column.name] = _decoded(column, row[column.name])
            with store.writing() as connection:
                connection.execute(insert(table).values(**row))
            copied += 1
        except (SQLAlchemyError, DatasetError, ValueError, RecursionError) as error:
            problem = f"a row is damaged: {type(error).__name__}"


def _rows(broken: Path, table: Table) -> Iterator[dict[str, object]]:
    names = [column.name for column in table.columns]
    with closing(sqlite3.connect(f"file:{broken}?mode=ro", uri=True)) as connection:
        for values in connection.execute(f'SELECT {", ".join(names)} FROM "{table.name}"'):  # noqa: S608  names of ours
            yield dict(zip(names, values, strict=True))


def _decoded(column: Column[Any], value: object) -> object:
    if isinstance(column.type, BodyText) and isinstance(value, str | bytes):
        return json.loads(unpack(value))
    if isinstance(column.type, JSON) and isinstance(value, str):
        return json.loads(value)
    return bool(value) if isinstance(column.type, Boolean) and value is not None else value
