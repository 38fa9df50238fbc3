"""Homes whose database is in PostgreSQL, while a test runs on it: each has one of its own, and settings that name it.

A home that fixtures of a module or of the session made has SQLite when a test opens it first: it moves, as by
`database copy`, for as long as the tests run. A copy of a home that is in PostgreSQL gets a copy of its database.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import URL

from server.database import settings
from server.database.settings import DatabaseSettings
from server.database.sqlite import DATABASE_NAME
from tests.postgres import PostgresChild, without_password

_of_home = settings.of_home


class PostgresHomes:
    """Its `of_home` stands for that of `server.database.settings`."""

    def __init__(self, server: PostgresChild) -> None:
        self._server = server
        self._urls: dict[Path, URL] = {}
        self._moved: set[Path] = set()
        self._moving = False
        self._lock = threading.RLock()

    def of_home(self, home: Path) -> DatabaseSettings:
        """What the settings of a home say; they name a database from now on."""
        home = home.resolve()  # a command resolves it
        with self._lock:
            if not self._moving and home not in self._urls:
                self._settle(home, _of_home(home).url)
        return _of_home(home)

    def _settle(self, home: Path, said: str) -> None:
        if said:
            of = next((url for url in self._urls.values() if without_password(url) == said), None)
            if of is not None:  # else the test itself has named it
                self._urls[home] = self._server.copy(of)
                path = home / settings.SETTINGS_FILE
                path.write_text(path.read_text("utf-8").replace(said, without_password(self._urls[home])), "utf-8")
            return
        if (home / DATABASE_NAME).is_file():
            self._urls[home] = self._move(home)
            self._moved.add(home)
        else:
            self._urls[home] = self._server.fresh()
        self._server.write_settings(home, self._urls[home])

    def _move(self, home: Path) -> URL:
        from server.maintenance import copying

        url = self._server.empty()
        self._moving = True
        try:
            copying.copy(home, url)
        finally:
            self._moving = False
        return url

    def drop(self) -> None:
        """A test is over: the databases of the homes that it made."""
        for home in self._urls.keys() - self._moved:
            self._server.drop(self._urls.pop(home))
