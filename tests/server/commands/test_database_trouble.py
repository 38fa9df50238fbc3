"""A database that does not do what a command asked is named in words, with what to do, and no traceback."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from server.database import trouble
from server.database.sqlite import DATABASE_NAME
from tests.faults.disk import SmallDisk, why_not


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0 or why_not():
        pytest.skip(why_not() or "mounting a filesystem needs root")
    with SmallDisk(tmp_path, size_bytes=24_000_000) as mounted:
        yield mounted


def server(home: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "server", "--home", str(home), *words]
    done = run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_a_disk_that_fills_up_in_the_middle_of_a_command_is_told(disk: SmallDisk) -> None:
    home, said = disk.path / "home", list[str]()
    assert server(home, "init")[0] == 0
    for left in (24_000, 40_000, 48_000):
        disk.fill(leave_bytes=left)
        status, out = server(home, "accounts", "invite", "--role", "admin", "--no-qr")
        disk.empty()
        assert "Traceback" not in out, out
        assert status == int("is full" in out), out
        said += [out] if "What was under way is not saved." in out else []
    assert said, "of one of them the database was open already"
    assert "Make room, run it again." in said[0]
    assert server(home, "accounts", "invite", "--role", "admin", "--no-qr")[0] == 0


def error_of(statement: str, database: Path) -> DBAPIError:
    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 0.05})
    with pytest.raises(DBAPIError) as caught, engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
    return caught.value


def test_a_database_that_another_holds_is_told_with_its_own_words(tmp_path: Path) -> None:
    database = tmp_path / DATABASE_NAME
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("CREATE TABLE a (b UNIQUE)")
    holder.execute("BEGIN EXCLUSIVE")
    told = str(trouble.of(error_of("INSERT INTO a VALUES (1)", database)))
    assert told.startswith("The database did not answer (database is locked).")
    assert "run it again" in told
    holder.close()


def test_a_damaged_database_is_to_be_mended(tmp_path: Path) -> None:
    database = tmp_path / DATABASE_NAME
    database.write_bytes(b"no database at all" * 100)
    assert "check --repair" in str(trouble.of(error_of("SELECT 1 FROM sqlite_master", database)))


def test_a_fault_of_the_program_stays_one(tmp_path: Path) -> None:
    database = tmp_path / DATABASE_NAME
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE a (b UNIQUE)")
        made.execute("INSERT INTO a VALUES (1)")
    twice = error_of("INSERT INTO a VALUES (1)", database)
    assert isinstance(twice, IntegrityError)
    assert trouble.of(twice) is None
    assert trouble.of(ValueError("x")) is None
