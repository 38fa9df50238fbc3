"""The tables that tests copy are those that the migrations make."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from server.database import store as db
from server.database.sqlite import DATABASE_NAME
from tests import migrated


def dumped(home: Path) -> tuple[list[str], int, str]:
    """All that is in a database, how far its bodies are packed, and how it keeps its log."""
    db.open_store(home).close()
    with closing(sqlite3.connect(home / DATABASE_NAME)) as raw:
        (version,), (mode,) = (raw.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "journal_mode"))
        return list(raw.iterdump()), version, mode


def test_a_copied_database_is_as_one_that_was_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stepwise = dumped(tmp_path / "stepwise")
    monkeypatch.setattr(migrated, "stepwise", False)
    migrated.install()
    assert dumped(tmp_path / "first") == stepwise
    monkeypatch.setattr(migrated, "_migrate", None)  # whoever still called it would fail
    assert dumped(tmp_path / "copied") == stepwise
    assert any("CREATE TRIGGER" in line for line in stepwise[0])
