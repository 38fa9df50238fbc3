"""A home's database, copied from SQLite into PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, inspect, select

from server.access import accounts
from server.access.person import Person, Role
from server.commands.main import FAILED, OK, main
from server.database import postgresql
from server.database import store as db
from server.database.store import DATABASE_NAME, Store
from server.dataset import objections
from server.dataset.rollups import differences
from server.maintenance import check_folds, copying, home_lock
from server.maintenance.check import check
from server.maintenance.progress import CheckPart
from shared.clock import SystemClock
from shared.errors import ConfigError, Transient
from tests.crash import Killer, fork
from tests.postgres import PASSWORD, PostgresChild
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.review.deciding import decide, row_of

KILLS = 12


@pytest.fixture(autouse=True)
def database() -> str:
    """What is copied is in SQLite, whatever else the tests run on."""
    return "sqlite"


@pytest.fixture
def home(memory_path: Path) -> Path:
    """A server that was lived in: moments, a correction, decisions, an account, a model."""
    house = House(memory_path / "home")
    house.send_all([moment(n, walk_id=f"walk-{n % 2}", context="zum Café \0") for n in range(5)])
    house.send(spoken("pi-1-b00t-000001", sound(9)))
    now_s = house.clock.utc_s()
    decide(house, row_id(house, "pi-1-b00t-000000"), by="Ada", action="nothing")
    with house.store.writing() as connection:
        accounts.add(connection, Person("Ada", Role.ADMIN), now_s=now_s)
        model = {"parent": "", "base": "b", "folder": "f", "manifest_sha256": "0", "evaluation": {"a": [1]}}
        connection.execute(
            insert(db.models).values(version="m", created_at=1.5, state="ready", manifest_size=3_000_000_000, **model)
        )
        connection.execute(insert(db.aliases).values(name="champion", version="m"))
    house.close()
    (house.home / "waycue.toml").write_text("")
    return house.home


@pytest.fixture
def target(postgres: PostgresChild) -> Iterator[Any]:
    url = postgres.empty()
    yield url
    postgres.drop(url)


def row_id(house: House, sample_id: str) -> str:
    return row_of(house, sample_id).row_id


def everything(store: Store) -> dict[str, list[Any]]:
    found = {}
    with store.reading() as connection:
        for table in db.metadata.sorted_tables:
            rows = connection.execute(select(table)).all()
            found[table.name] = sorted(map(repr, rows))
    return found


def moved(home: Path, postgres: PostgresChild, url: Any) -> Path:
    """The same home, its settings naming the copy."""
    new = home.parent / "moved"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(home, new)
    postgres.write_settings(new, url)
    return new


def test_a_copy_says_the_same_and_is_worked_on_as_before(
    home: Path, target: Any, postgres: PostgresChild, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    plain = target._replace(password=None).render_as_string()
    copied = main(["--home", str(home), "database", "copy", "--to", plain, "--password-file", str(secret)])
    said = capsys.readouterr()
    assert copied == 0, said.err
    assert f'url = "{plain}"' in said.out
    assert PASSWORD not in said.out + said.err
    with closing(db.open_store(home)) as store:
        before = everything(store)
    assert before["accounts"]
    new = moved(home, postgres, target)
    house = House(new)
    assert everything(house.store) == {
        name: [row.replace("\\x00", "\N{REPLACEMENT CHARACTER}") for row in rows] for name, rows in before.items()
    }
    house.send(moment(7))
    with house.store.writing() as connection:
        assert list(differences(connection)) == [], "triggers count again"
        accounts.add(connection, Person("Bo", Role.ADMIN), now_s=1.0)  # its number is new
    house.close()
    report = check(new, SystemClock())
    assert report.well, report.findings


def test_a_name_that_postgresql_takes_in_no_index_is_told_before_anything_is_copied(
    home: Path, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(home)
    long = "".join(f"{number * 7919:x}é" for number in range(430))  # packs badly
    monkeypatch.setattr(objections, "LONGEST_NAME", len(long))  # as servers had it before
    house.send(moment(8, wearer=long))
    house.send(moment(9, model_version=long))
    house.send(moment(10, wearer=long[:1100]))  # fits, with what it is indexed with
    house.close()
    (tmp_path / "password").write_text(PASSWORD)
    plain = target._replace(password=None).render_as_string()
    copy = ["database", "copy", "--to", plain, "--password-file", str(tmp_path / "password")]
    for words in (copy, [*copy, "--json"]):
        assert main(["--home", str(home), *words]) == FAILED
        said = capsys.readouterr()
        assert said.out == ""
        assert "samples.wearer of pi-1-b00t-000008 (" in said.err
        assert "samples.model of pi-1-b00t-000009 (" in said.err
    hint = "waycue-server samples delete pi-1-b00t-000008 pi-1-b00t-000009"
    assert hint in said.err
    with postgresql.engine_of(target).connect() as connection:
        assert inspect(connection).get_table_names() == []
    connection.engine.dispose()
    assert main(["--home", str(home), *hint.split()[1:], "--yes"]) == OK
    assert main(["--home", str(home), *copy]) == OK


@pytest.mark.parametrize(
    ("table", "at"), [("samples", 4), ("search_postings", 14), ("search_terms", 4), ("sought", 2), ("rollups", 6)]
)
def test_a_copy_that_is_cut_off_is_refused_and_goes_on_where_it_was(
    home: Path, target: Any, postgres: PostgresChild, monkeypatch: pytest.MonkeyPatch, table: str, at: int
) -> None:
    monkeypatch.setattr(copying, "AT_ONCE", 2)
    seen: list[CheckPart] = []

    def cut(part: CheckPart) -> None:
        seen.append(part)
        if part.name == f"copying {table}" and part.done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy(home, target, told=cut)
    new = moved(home, postgres, target)
    with pytest.raises(ConfigError, match="cut off"):
        db.open_store(new)
    seen.clear()
    report = copying.copy(home, target, told=seen.append)
    assert report.resumed
    left = [part.done for part in seen if part.name == f"copying {table}"]
    assert left[-1] == report.rows[table] - at, "so many were there"
    with closing(db.open_store(home)) as old, closing(db.open_store(new)) as store:
        assert everything(store)[table] == everything(old)[table]
        assert list(check_folds.differences(store)) == []


@pytest.mark.soak
def test_killed_right_before_any_commit_a_copy_goes_on_and_says_the_same(
    home: Path, postgres: PostgresChild, monkeypatch: pytest.MonkeyPatch, memory_path: Path
) -> None:
    monkeypatch.setattr(copying, "AT_ONCE", 2)

    def copied(url: Any, killer: Killer) -> None:
        killer.watch_commits(Engine)
        copying.copy(home, url)

    log, whole = memory_path / "commits", postgres.empty()
    assert fork(lambda: copied(whole, Killer(log))).status == 0
    commits = len(log.read_text().splitlines())
    assert commits > 2 * KILLS
    with closing(db.open_store(moved(home, postgres, whole))) as store:
        expected = everything(store)
    for at in range(0, commits, commits // KILLS):
        url = postgres.empty()
        assert fork(lambda at=at, url=url: copied(url, Killer(at=at))).was_killed  # type: ignore[misc]
        copying.copy(home, url)
        with closing(db.open_store(moved(home, postgres, url))) as store:
            assert everything(store) == expected, f"killed at commit {at} of {commits}"
            assert list(check_folds.differences(store)) == []
        postgres.drop(url)


def test_what_changed_since_a_copy_was_cut_off_is_copied_anew(home: Path, target: Any, postgres: PostgresChild) -> None:
    def cut(part: CheckPart) -> None:
        if part.name == "counting":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy(home, target, told=cut)
    house = House(home)
    decide(house, row_id(house, "pi-1-b00t-000002"), by="Ada", action="nothing")
    house.close()
    assert not copying.copy(home, target).resumed
    new = moved(home, postgres, target)
    with closing(db.open_store(home)) as old, closing(db.open_store(new)) as store:
        assert everything(store)["samples"] == everything(old)["samples"]


def test_what_is_not_ours_stays_and_a_server_at_work_is_left_alone(
    home: Path, target: Any, postgres: PostgresChild
) -> None:
    postgres.say("CREATE TABLE bills (paid int)", target.database)
    with pytest.raises(ConfigError, match="not empty"):
        copying.copy(home, target)
    assert postgres.say("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", target.database) == [("bills",)]
    with home_lock.serving(home), pytest.raises(ConfigError, match="at work"):
        copying.copy(home, target)


def test_a_home_with_rows_in_sqlite_never_begins_anew_in_an_empty_database(
    home: Path, target: Any, postgres: PostgresChild
) -> None:
    postgres.write_settings(home, target)
    with pytest.raises(ConfigError, match="database copy"):
        db.open_store(home)
    (home / DATABASE_NAME).unlink()
    db.open_store(home).close()


def test_a_database_that_orders_text_by_a_language_is_refused(home: Path, postgres: PostgresChild) -> None:
    found = postgres.say("SELECT collname FROM pg_collation WHERE collprovider = 'i' AND collname = 'en-x-icu'")
    if not found:
        pytest.skip("this PostgreSQL was built without ICU")
    postgres.say(
        "CREATE DATABASE by_language TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C' OWNER waycue"
    )
    with pytest.raises(ConfigError, match="createdb"):
        copying.copy(home, postgres.url("by_language"))
    with pytest.raises(Transient, match="does not answer"):
        copying.copy(home, postgres.url("nowhere"))
