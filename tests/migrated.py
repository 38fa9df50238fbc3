"""A new SQLite database gets a copy of the tables that the migrations made for the first one of this process: 4 ms
where they take 75. Hundreds of tests have homes of their own. PostgreSQL's are copied as well (tests.postgres)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Engine

from server.database import migrating

stepwise = False
"""True = each database is migrated, where that is what is tested."""
_migrate = migrating.migrate
_made: list[sqlite3.Connection] = []


def install() -> None:
    """From now on, in this process and its forks."""
    migrating.migrate = migrate


def migrate(engine: Engine, steps: Path) -> None:
    """As `server.database.migrating.migrate`."""
    new = not stepwise and steps == migrating.MIGRATIONS and engine.dialect.name == "sqlite" and _is_empty(engine)
    if new and _made:
        with _raw(engine) as database:
            _made[0].backup(database)
        return
    _migrate(engine, steps)
    if new:
        kept = sqlite3.connect(":memory:", check_same_thread=False)
        with _raw(engine) as database:
            database.backup(kept)
        _made.append(kept)


def _is_empty(engine: Engine) -> bool:
    with _raw(engine) as database:
        return database.execute("SELECT count(*) FROM sqlite_master").fetchall() == [(0,)]


@contextmanager
def _raw(engine: Engine) -> Iterator[sqlite3.Connection]:
    with closing(engine.raw_connection()) as pooled:
        database = pooled.driver_connection
        assert isinstance(database, sqlite3.Connection)
        yield database
