"""Which database the homes of the fault tests have: SQLite in each, or a PostgreSQL that their settings name.

The processes of a test read the settings of their home, as in the field; nothing is told to them otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from sqlalchemy import URL

from server.database.settings import SETTINGS_FILE
from server.database.store import DATABASE_NAME, open_store
from shared import atomic
from tests.postgres import PostgresChild

SQLITE, POSTGRESQL = "sqlite", "postgresql"
NAMES = (SQLITE, POSTGRESQL)
VARIABLE = "WAYCUE_TESTS_DATABASE"


class HomeDatabases(Protocol):
    """Of all homes of a test."""

    name: str

    def make(self, home: Path) -> None:
        """Before anything else is made in a home."""
        ...

    def copy(self, old: Path, home: Path) -> None:
        """The home is a copy of another one, which nobody uses."""
        ...

    def drop(self, home: Path) -> None:
        """Nobody uses it any more."""
        ...


class SqliteHomes:
    """Each home has its file: a copy of one with today's tables, whose migrations would cost each a third of a second
    of processor time."""

    name = SQLITE

    def make(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / DATABASE_NAME).write_bytes(_fresh())

    def copy(self, old: Path, home: Path) -> None:
        pass

    def drop(self, home: Path) -> None:
        pass


@cache
def _fresh() -> bytes:
    with TemporaryDirectory() as folder:
        open_store(Path(folder)).close()
        return (Path(folder) / DATABASE_NAME).read_bytes()


class PostgresHomes:
    """Each home has a database of its own. port: where its processes reach it; 0 = directly."""

    name = POSTGRESQL

    def __init__(self, child: PostgresChild, *, port: int = 0) -> None:
        self.child, self._port = child, port
        self._made: dict[Path, URL] = {}

    def make(self, home: Path) -> None:
        self._give(home, self.child.fresh())

    def copy(self, old: Path, home: Path) -> None:
        self._give(home, self.child.copy(self._made[old]))

    def drop(self, home: Path) -> None:
        if home in self._made:
            self.child.drop(self._made.pop(home))

    @property
    def postmaster(self) -> int:
        """Its process."""
        return self.child.pid

    def revive(self) -> bool:
        """Start PostgreSQL again where it has ended; whether it had."""
        if self.child.running:
            return False
        self.child.start()
        return True

    def _give(self, home: Path, url: URL) -> None:
        self._made[home] = url
        (home / SETTINGS_FILE).unlink(missing_ok=True)
        written = self.child.write_settings(home, url.set(port=self._port or url.port))
        for path in written:  # a power cut must not take them
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        atomic.fsync_dir(home)
        atomic.fsync_dir(home.parent)


@contextmanager
def databases(name: str) -> Iterator[HomeDatabases]:
    """Those of that name, for the block; PostgreSQL is started for it."""
    if name == SQLITE:
        yield SqliteHomes()
        return
    child = PostgresChild()
    child.start()
    try:
        yield PostgresHomes(child)
    finally:
        child.remove()


def wanted() -> str:
    """What the environment asks tests for."""
    return os.environ.get(VARIABLE, SQLITE)
