"""A database of before bodies were compressed: copied, packed and made smaller, whatever moment the power goes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select

from server.database import migrating, packing, sqlite
from server.database import store as db
from server.dataset import part_paths, sample_row
from server.maintenance.check import check
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import atomic
from shared.clock import ManualClock
from shared.errors import ConfigError, Transient
from shared.messages import EraseRecord
from tests.server.database.stored import readable
from tests.server.dataset.moments import House, moment, sound, spoken

BEFORE = "0013"
"""The revision before 0018."""
WORDS = b"Caution, bin on the left."
KEPT = {
    "records": ("device", "record_id", "kind", "chunk_id", "body", "received_at", "transcript"),
    "parts": ("device", "record_id", "kind", "sha256", "size_bytes", "path", "received_at"),
    "walks": ("walk_id", "split", "first_seen_at"),
    "dataset_rows": ("seq", "row_id", "sample_id", "body", "logged"),
    "log_state": ("name", "size_bytes"),
    "samples": (
        "sample_id", "device", "walk_id", "row_id", "version", "state", "priority", "captured_at", "changed_at",
        "body", "model", "marks", "cells",
    ),
    "reviews": ("id", "sample_id", "at", "reviewer", "action", "before", "after"),
    "review_acts": ("review", "act", "undone_by"),
    "sought": ("sample_id", "wearer", "model_version", "flags", "things", "words", "look"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the schema and the plain bodies of before, with what this code would have written there."""
    home = tmp_path_factory.mktemp("old") / "home"
    house = House(home)
    moments = [moment(n, wearer=("Ada", "")[n % 2], context="the market", walk_id=f"walk-{n % 3}") for n in range(7)]
    house.send_all([*moments, spoken(moments[0].record.chunk_id, sound(90), n=0, wearer="Ada")])
    edit = ReviewDecision("edit", "Ben", WORDS.decode())
    decisions.review(house.store, house.dataset, moments[2].record.chunk_id, edit, now_s=5.0)
    rows = {name: contents(house.store, name) for name in KEPT}
    house.close()
    (home / db.DATABASE_NAME).unlink()
    make_old(home, rows)
    return home


@pytest.fixture
def old(made: Path, memory_path: Path) -> Path:
    return shutil.copytree(made, memory_path / "home")


def contents(store: db.Store, name: str) -> list[dict[str, Any]]:
    with store.reading() as connection:
        query = part_paths.rows() if name == "parts" else select(db.metadata.tables[name])
        found = connection.execute(query).mappings()
        return [{column: row.get(column, "") for column in KEPT[name]} for row in found]  # a column that is gone now


def make_old(home: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    engine, config = create_engine(sqlite.database_url(home)), Config()
    config.set_main_option("script_location", str(migrating.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        for name, some in rows.items():
            marks = ", ".join("?" * len(KEPT[name]))
            statement = f"INSERT INTO {name} ({', '.join(KEPT[name])}) VALUES ({marks})"  # noqa: S608  names of ours
            for row in some:
                values = [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
                connection.exec_driver_sql(statement, tuple(values))
        connection.commit()
    engine.dispose()


def raw(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def whole(home: Path) -> None:
    """What a database has to be afterwards."""
    database = home / db.DATABASE_NAME
    for table, (names, _) in packing._COLUMNS.items():
        for name in names:
            assert {kind for (kind,) in raw(database, f"SELECT typeof({name}) FROM {table}")} == {"blob"}  # noqa: S608
    assert raw(database, "PRAGMA user_version") == [(packing.SHRUNK,)]
    assert raw(database, "PRAGMA freelist_count") == [(0,)]
    owners = dict(raw(database, "SELECT sample_id, wearer FROM samples"))
    assert sorted(owners.values()) == ["Ada"] * 4 + ["pi-1"] * 3
    said = raw(database, "SELECT DISTINCT walk_id, context FROM records WHERE kind = 'chunk' ORDER BY 1")
    assert said == [(f"walk-{n}", "the market") for n in range(3)]
    assert set(raw(database, "SELECT kind, walk_id, wearer FROM records WHERE kind = 'correction'")) == {
        ("correction", "", "Ada")
    }
    assert check(home, ManualClock()).findings == ()


def test_an_old_database_says_the_same_in_fewer_bytes_and_a_copy_of_it_is_kept(old: Path) -> None:
    before = raw(old / db.DATABASE_NAME, "SELECT row_id, body FROM dataset_rows ORDER BY seq")
    with closing(db.open_store(old)) as store:
        rows = contents(store, "dataset_rows")
        [review] = contents(store, "reviews")
    assert [(row["row_id"], row["body"]) for row in rows] == [(name, json.loads(body)) for name, body in before]
    assert sample_row.from_dict(review["after"]).ground_truth == WORDS.decode()
    whole(old)
    copy = old / packing.COPY_NAMES[0]
    assert raw(copy, "SELECT row_id, body FROM dataset_rows ORDER BY seq") == before
    assert copy.stat().st_mode & 0o777 == 0o600, "it holds keys, as the database does"
    assert b'"frame_path"' not in (old / db.DATABASE_NAME).read_bytes(), "also not in a free page"


def test_it_is_brought_up_to_date_once(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db.open_store(old).close()
    (old / packing.COPY_NAMES[0]).unlink()
    for name in ("_pack_all", "_shrunk"):
        monkeypatch.delattr(packing, name)
    db.open_store(old).close()
    assert not (old / packing.COPY_NAMES[0]).exists()


def test_a_new_database_has_no_copy(tmp_path: Path) -> None:
    db.open_store(tmp_path).close()
    assert not (tmp_path / packing.COPY_NAMES[0]).exists()
    assert raw(tmp_path / db.DATABASE_NAME, "PRAGMA user_version") == [(packing.SHRUNK,)]


STEPS = ("backup", "move", *(f"packed {n}" for n in (1, 4, 9, 14, 20)), "VACUUM")


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_next_start_finishes_it(old: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = raw(old / db.DATABASE_NAME, "SELECT row_id, body FROM dataset_rows ORDER BY seq")
    monkeypatch.setattr(packing, "_AT_ONCE", 2)
    child = os.fork()
    if child == 0:
        try:
            _die_at(step)
            db.open_store(old)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, f"it never came to: {step}"
    whole_after_open(old)
    assert raw(old / packing.COPY_NAMES[0], "SELECT row_id, body FROM dataset_rows ORDER BY seq") == before


def whole_after_open(home: Path) -> None:
    db.open_store(home).close()
    whole(home)
    assert not list(home.glob("*.part"))


def _die_at(step: str) -> None:
    """Have this process end without a word when it comes there."""
    name, _, number = step.partition(" ")
    if name == "packed":
        packing._packed = dying(packing._packed, after=int(number))
    elif name == "move":
        atomic.move = dying(atomic.move, after=1)
    elif name == "backup":
        packing.teller = lambda: lambda what, *_: os._exit(9) if what == "copying" else None
    else:
        packing._shrunk = dying(packing._shrunk, after=1)


def dying(own: Callable[..., Any], *, after: int) -> Callable[..., Any]:
    calls: Iterator[int] = iter(range(1, after))

    def called(*values: Any) -> Any:
        if next(calls, None) is None:
            os._exit(9)
        return own(*values)

    return called


def test_a_disk_without_room_is_told_before_anything_changes(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (old / db.DATABASE_NAME).read_bytes()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ConfigError, match="GB free"):
        db.open_store(old)
    assert (old / db.DATABASE_NAME).read_bytes() == before
    monkeypatch.undo()
    whole_after_open(old)


def test_a_database_that_another_holds_is_told_in_words_and_brought_up_to_date_later(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(old / db.DATABASE_NAME)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked"):
            db.open_store(old)
    whole_after_open(old)


def test_the_copy_goes_with_the_first_thing_that_is_erased(old: Path) -> None:
    house = House(old)
    gone = moment(2).record.chunk_id
    wish = EraseRecord("pi-1-b00t-e001", "pi-1", 1_700_000_000.0, (gone,))
    assert WORDS in readable(old / packing.COPY_NAMES[0])
    assert house.merge.put_record("pi-1", "erase", wish).state == "merged"
    assert not (old / packing.COPY_NAMES[0]).exists()
    house.close()
    assert not [path.name for path in old.rglob("*") if path.is_file() and WORDS in readable(path)]


def test_room_that_a_copy_cut_off_had_taken_counts_as_room(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it copies, of a disk that just holds it: the next start must not ask for room that is its own."""
    left = (old / packing.COPY_NAMES[0]).with_suffix(".part")
    left.write_bytes(bytes((old / db.DATABASE_NAME).stat().st_size))
    room = 2 * left.stat().st_size
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=room - (left.stat().st_size if left.exists() else 0))
    )
    whole_after_open(old)


@pytest.mark.parametrize("torn", ["'{torn'", "'[1]'", "'null'", "CAST(x'7b2261223a22ff227d' AS TEXT)"])
def test_a_row_that_is_no_body_stays_for_a_check_to_name(old: Path, torn: str) -> None:
    with closing(sqlite3.connect(old / db.DATABASE_NAME)) as connection, connection:
        connection.execute(f"UPDATE records SET body = {torn} WHERE kind = 'correction'")  # noqa: S608
    db.open_store(old).close()
    assert [finding.what for finding in check(old, ManualClock()).findings] == ["body damaged"]
    assert check(old, ManualClock(), repair=True).well
    whole(old)
