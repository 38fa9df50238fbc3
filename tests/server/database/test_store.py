"""The database: migrated, durable, shared between threads and processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text, update

import server.access.tables
from server.database import store as db
from shared.errors import ConfigError


@pytest.mark.both_databases
def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    store = db.open_store(tmp_path)
    with store.reading() as connection:
        assert server.access.tables.accounts.metadata is db.metadata  # tables of rooms above
        assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []
    store.close()


def test_a_commit_is_synced_to_disk(tmp_path: Path) -> None:
    store = db.open_store(tmp_path / "a folder" / "home")
    with store.writing() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    store.close()


@pytest.mark.both_databases
def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    for _ in range(2):
        store = db.open_store(tmp_path)
        with store.writing() as connection:
            connection.execute(
                insert(db.quarantine).values(
                    at=1.0, device="pi-1", record_id="x", kind="frame", sha256="", path="", reason="r"
                )
            )
        store.close()
    store = db.open_store(tmp_path, create=False)
    with store.reading() as connection:
        assert len(connection.execute(select(db.quarantine.c.id)).all()) == 2
    store.close()


def test_a_folder_without_a_database_is_named_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="init"):
        db.open_store(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.both_databases
def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = db.open_store(tmp_path)
    with store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(ConfigError, match="newer waycue"):
        db.open_store(tmp_path)


@pytest.mark.parametrize("harm", [b"CREATE TABLE", b"SQLite format 3"])
def test_a_damaged_database_is_named_with_what_mends_it(harm: bytes, tmp_path: Path) -> None:
    db.open_store(tmp_path).close()
    path = tmp_path / db.DATABASE_NAME
    path.write_bytes(path.read_bytes().replace(harm, b"\xa8" * len(harm)))
    with pytest.raises(ConfigError, match="check --repair"):
        db.open_store(tmp_path)


@pytest.mark.both_databases
def test_a_failed_block_writes_nothing(tmp_path: Path) -> None:
    store = db.open_store(tmp_path)
    walk = {"walk_id": "w", "split": "train", "first_seen_at": 0.0}

    def fail() -> None:
        with store.writing() as connection:
            connection.execute(insert(db.walks).values(**walk))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.reading() as connection:
        assert connection.execute(select(db.walks)).all() == []
    store.close()


@pytest.mark.both_databases
def test_threads_that_read_and_then_write_wait_for_each_other(tmp_path: Path) -> None:
    store = db.open_store(tmp_path)
    with store.writing() as connection:
        connection.execute(insert(db.log_state).values(name="count", size_bytes=0))

    def count_up() -> None:
        for _ in range(20):
            with store.writing() as connection:
                seen = connection.execute(select(db.log_state.c.size_bytes)).scalar_one()
                connection.execute(update(db.log_state).values(size_bytes=seen + 1))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store.reading() as connection:
        assert connection.execute(select(db.log_state.c.size_bytes)).scalar_one() == 80
    store.close()


def test_two_processes_may_make_the_same_database_at_once(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from server.database.store import open_store; "
        f"open_store(Path({str(tmp_path)!r})).close()"
    )
    both = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(2)]
    for one in both:
        _, errors = one.communicate(timeout=60)
        assert one.returncode == 0, errors.decode()


def test_a_database_that_is_up_to_date_is_opened_while_another_process_writes(tmp_path: Path) -> None:
    """A migration takes the write lock; where there is none to do, every command would wait for a night's view."""
    store = db.open_store(tmp_path)
    code = "import sys; from pathlib import Path; from server.database.store import open_store\n"
    code += "open_store(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    with store.writing():
        opened = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=20, check=True
        )
    store.close()
    assert opened.stdout.strip() == "False"
