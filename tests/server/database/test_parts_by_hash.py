"""Files are named once, by 32 bytes: a database of before becomes one of today, and whose a file is is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, inspect, select, text, update

from server.database import migrating, packing
from server.database import store as db
from server.dataset import part_paths
from server.maintenance.check import check
from shared.messages import EraseRecord
from tests.server.dataset.moments import House, moment, sound, spoken

ELSEWHERE = f"frames/{'ab' * 32}.jpg"
BEFORE = "0022"


@pytest.fixture
def filled(house: House) -> House:
    """Four moments, one with a clip and a correction; the picture of one lies elsewhere, as a blurred one does."""
    moments = [moment(n, with_clip=n == 2) for n in range(4)]
    house.send_all([*moments, spoken(moments[2].record.chunk_id, sound(90), n=0)])
    with house.store.writing() as connection:
        own = db.parts.c.record_id == moments[1].record.chunk_id, db.parts.c.kind == "frame"
        connection.execute(update(db.parts).where(*own).values(**part_paths.lying_at(ELSEWHERE)))
    return house


def rows(store: db.Store) -> list[tuple[Any, ...]]:
    with store.reading() as connection:
        return sorted(map(tuple, connection.execute(part_paths.rows())))


def moved(engine: Engine, revision: str) -> None:
    """Alembic's way to a revision, forth or back."""
    config = Config()
    config.set_main_option("script_location", str(migrating.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if revision == "head" else command.downgrade)(config, revision)
        connection.commit()


def triggers(engine: Engine) -> list[str]:
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'parts'"
        if engine.dialect.name == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE tgrelid = 'parts'::regclass AND NOT tgisinternal"
    )
    with engine.connect() as connection:
        return sorted(connection.execute(text(query)).scalars())


def test_a_row_says_where_its_file_lies_and_a_file_whose_it_is(filled: House) -> None:
    known = rows(filled.store)
    assert len(known) == 10
    with filled.store.reading() as connection:
        stored = connection.execute(select(db.parts.c.path).where(db.parts.c.path.is_not(None))).scalars().all()
        assert stored == [ELSEWHERE]
        for device, record_id, kind, sha256, *_, path in known:
            assert path == (ELSEWHERE if path == ELSEWHERE else filled.dataset.path_of(kind, sha256))
            assert path == ELSEWHERE or (filled.dataset.folder / path).is_file()
            found = connection.execute(part_paths.rows().where(part_paths.at(path))).all()
            assert (device, record_id, kind) in [tuple(row)[:3] for row in found]
            assert {row.path for row in found} == {path}
        some = {row[-1] for row in known[:3]}
        assert set(connection.execute(select(part_paths.PATH).where(part_paths.among(some))).scalars()) == some
        [blurred] = [row for row in known if row[-1] == ELSEWHERE]
        first = filled.dataset.path_of("frame", blurred[3])
        assert connection.execute(select(db.parts.c.kind).where(part_paths.at(first))).first() is None
        assert connection.execute(select(db.parts.c.kind).where(part_paths.at("../waycue.toml"))).first() is None


def test_two_files_of_one_key_are_told_apart(filled: House) -> None:
    """Whoever makes files may make two of which the hashes begin alike."""
    path = rows(filled.store)[0][-1]
    folder, _, name = path.partition("/")
    twin = f"{folder}/{name[:16]}{'0' * 48}{name[64:]}"
    assert part_paths.key_of(twin) == part_paths.key_of(path)
    with filled.store.reading() as connection:
        assert connection.execute(select(db.parts.c.kind).where(part_paths.at(twin))).first() is None
        assert connection.execute(select(db.parts.c.kind).where(part_paths.among([twin]))).first() is None


def test_there_and_back_the_rows_their_order_and_the_sum_of_bytes_stay(filled: House) -> None:
    engine, before = filled.store.engine, rows(filled.store)
    own = triggers(engine)
    with filled.store.reading() as connection:
        order = connection.execute(select(db.parts.c.record_id, db.parts.c.kind)).all()
    moved(engine, BEFORE)
    assert "ix_parts_path" in {index["name"] for index in inspect(engine).get_indexes("parts")}
    with engine.connect() as connection:
        old = connection.execute(
            text("SELECT device, record_id, kind, sha256, size_bytes, received_at, path FROM parts")
        )
        assert sorted(map(tuple, old)) == before
    moved(engine, "head")
    assert rows(filled.store) == before
    assert triggers(engine) == own != []
    with filled.store.reading() as connection:
        if engine.dialect.name == "sqlite":
            assert connection.execute(select(db.parts.c.record_id, db.parts.c.kind)).all() == order
        assert connection.execute(select(db.stored_bytes.c.size_bytes)).scalar() == sum(row[4] for row in before)
    filled.send(moment(9))
    with filled.store.reading() as connection:
        total = connection.execute(select(db.stored_bytes.c.size_bytes)).scalar()
    assert total == sum(row[4] for row in rows(filled.store)) > sum(row[4] for row in before)


@pytest.fixture
def old(filled: House) -> Path:
    """A home of the schema before, with the version of then."""
    if filled.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has no file to copy")
    moved(filled.store.engine, BEFORE)
    filled.close()
    with closing(sqlite3.connect(filled.home / db.DATABASE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 2")
    return filled.home


def test_a_copy_is_kept_the_file_is_made_smaller_once_and_an_erasure_deletes_the_copy(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = old / packing.COPY_NAMES[1]
    with closing(db.open_store(old)) as store:
        known = rows(store)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(path) FROM parts").fetchone() == (len(known),)
    with closing(sqlite3.connect(old / db.DATABASE_NAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (packing.SHRUNK,)
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    monkeypatch.delattr(packing, "_shrunk")
    monkeypatch.delattr(packing, "_copy")
    house = House(old)
    house.merge.put_record("pi-1", "erase", EraseRecord("pi-1-b00t-e001", "pi-1", 1.0, ("pi-1-b00t-000000",)))
    assert not copy.exists()
    house.close()


def test_a_damaged_hash_does_not_hold_the_update_up_and_is_named_by_a_check(old: Path, house: House) -> None:
    with closing(sqlite3.connect(old / db.DATABASE_NAME)) as connection:
        connection.execute("UPDATE parts SET sha256 = 'no hash', path = 'nowhere' WHERE record_id LIKE '%000003'")
        connection.commit()
    db.open_store(old).close()
    assert any(finding.name.endswith("000003 frame") for finding in check(old, house.clock).findings)
