"""What PostgreSQL does differently when it is left to itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from server.commands.main import main
from server.database import postgresql, settings
from server.database import store as db
from server.database.settings import DatabaseSettings
from server.database.sqlite import DATABASE_NAME
from server.database.store import Store
from server.database.words import holds
from shared.errors import ConfigError
from shared.messages import EraseRecord
from tests.postgres import PostgresChild
from tests.server.dataset.moments import House, moment


@pytest.fixture
def store(tmp_path: Path, postgres: PostgresChild) -> Iterator[Store]:
    url = postgres.fresh()
    postgres.write_settings(tmp_path, url)
    store = db.open_store(tmp_path)
    yield store
    store.close()
    postgres.drop(url)


def add_walk(store: Store, walk_id: str) -> None:
    with store.writing() as connection:
        connection.execute(insert(db.walks).values(walk_id=walk_id, split="train", first_seen_at=0.0))


def test_text_and_bytes_are_as_long_as_they_are(store: Store) -> None:
    name = "w" * 5_000
    add_walk(store, name)
    with store.writing() as connection:
        connection.execute(insert(db.log_state).values(name="metadata.jsonl", size_bytes=9_000_000_000))
        connection.execute(update(db.log_state).values(size_bytes=db.log_state.c.size_bytes + 1))
    with store.reading() as connection:
        assert connection.execute(select(db.walks.c.walk_id).where(db.walks.c.walk_id == name)).scalar() == name
        size = connection.execute(select(func.sum(db.log_state.c.size_bytes))).scalar()
        assert (size, type(size)) == (9_000_000_001, int)


def test_a_character_that_it_cannot_keep_is_replaced(store: Store) -> None:
    add_walk(store, "a\0b")
    with store.reading() as connection:
        assert connection.execute(select(db.walks.c.walk_id)).scalars().all() == ["a\N{REPLACEMENT CHARACTER}b"]
        assert connection.execute(select(db.walks.c.split).where(holds(db.walks.c.walk_id, "a\0"))).scalar() == "train"


def test_a_read_sees_one_state_and_writes_nothing(store: Store) -> None:
    count = select(func.count()).select_from(db.walks)
    with store.reading() as connection:
        assert connection.execute(count).scalar() == 0
        add_walk(store, "w")
        assert connection.execute(count).scalar() == 0
        with pytest.raises(DBAPIError, match="read-only"):
            connection.execute(insert(db.walks).values(walk_id="x", split="train", first_seen_at=0.0))


def test_who_waits_too_long_for_another_writer_is_told_as_with_sqlite(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql._SESSION, "lock_timeout", "100ms")
    other = db.open_store(store.home)
    with store.writing():
        with pytest.raises(OperationalError, match="lock timeout"), other.writing():
            pass
        with other.reading() as connection:
            assert connection.execute(select(db.walks)).all() == [], "who reads waits for nobody"
    other.close()


def test_the_room_of_deleted_rows_is_written_over_once_nobody_reads_them(store: Store) -> None:
    place = text("SELECT ctid::text FROM walks")

    add_walk(store, "a")
    with store.reading() as connection:
        first = connection.execute(place).scalar()
        with store.writing() as writing:
            writing.execute(db.walks.delete())
        assert not store.wipe(), "a reader may still see it"
    assert store.wipe()
    add_walk(store, "b")
    with store.reading() as connection:
        assert connection.execute(place).scalar() == first


def test_a_power_cut_takes_nothing_that_was_committed(store: Store, postgres: PostgresChild) -> None:
    with store.writing() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
        assert connection.execute(text("SHOW fsync")).scalar() == "on"
    add_walk(store, "w")
    postgres.kill()
    with pytest.raises(OperationalError), store.reading():
        pass
    postgres.start()
    with store.reading() as connection:  # by itself
        assert connection.execute(select(db.walks.c.walk_id)).scalars().all() == ["w"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://a:secret@h/n", "password"),
        ("postgresql://a@h/n?password=secret", "password"),
        ("mysql://a@h/n", "PostgreSQL"),
        ("postgresql+psycopg://a@h", "names no database"),
        ("nonsense", "no address"),
    ],
)
def test_an_address_that_will_not_do_is_named_without_its_secret(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        settings.url_of(DatabaseSettings(url=url))
    assert "secret" not in str(refused.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "waycue.toml").write_text('[database]\nurl = "postgresql://a@h/n"\npassword_file = "/nowhere"\n')
    assert main(["--home", str(tmp_path), "samples", "list"]) == 2
    assert "database.password_file" in capsys.readouterr().err


def test_the_file_of_before_the_move_goes_with_the_first_moment_that_is_erased(
    memory_path: Path, postgres: PostgresChild
) -> None:
    home, url = memory_path / "home", postgres.fresh()
    postgres.write_settings(home, url)
    house, sent = House(home), moment()
    old = [home / f"{DATABASE_NAME}{suffix}" for suffix in ("", "-wal")]
    for path in old:
        path.write_bytes(b"its words")
    house.send(sent)
    unknown = EraseRecord("e-0", "pi-1", 5.0, record_ids=("pi-1-b00t-000099",))
    assert house.merge.put_record("pi-1", "erase", unknown).state == "merged"
    assert all(path.exists() for path in old), "nothing of it is erased yet"
    wish = EraseRecord("e-1", "pi-1", 5.0, record_ids=(sent.record.chunk_id,))
    assert house.merge.put_record("pi-1", "erase", wish).state == "merged"
    assert not any(path.exists() for path in old)
    house.close()
    postgres.drop(url)
