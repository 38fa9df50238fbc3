"""What is said of a database that fails: of a full disk, that it is full."""

from __future__ import annotations

from sqlite3 import SQLITE_FULL

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from server.web import no_database


def test_a_full_disk_is_named_and_nothing_else_is_called_that() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE kept (words TEXT)"))
        with pytest.raises(OperationalError) as other:
            connection.execute(text("SELECT nothing FROM nowhere"))
        connection.execute(text("PRAGMA max_page_count = 3"))
        with pytest.raises(OperationalError) as full:
            connection.execute(text("INSERT INTO kept VALUES (:words)"), {"words": "x" * 100_000})
    engine.dispose()
    assert getattr(full.value.orig, "sqlite_errorcode", None) == SQLITE_FULL
    assert no_database.in_words(full.value) == no_database.FULL
    assert no_database.in_words(other.value) == no_database.BUSY
