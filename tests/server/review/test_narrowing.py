"""However moments are come by, a list has the same ones in the same order, and no more than a person may see."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import Connection, event, insert, select, text

from server.access.person import Person, Role
from server.access.visible import may_see
from server.consent.terms import EVERYBODY, GRANTED, NOTHING, Consents
from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store, open_store
from server.dataset import row_log, sought
from server.dataset.sample_row import SampleRow, State
from server.review import narrowing, near, searching
from server.review.moment_filter import MomentFilter
from server.review.narrowing import LookedUp
from tests.server.review.test_by_words import planned, row_with

NOW_S = 1_000.0
WEARERS, DEVICES, MODELS = ("Ada", "Bea", "Cem", "Dai"), ("pi-1", "pi-2"), ("", "night-1", "night-2")
SKIPPED = ("m-3", "m-40", "m-17", "m-62")
BEA_HID = Consents({"Bea": NOTHING, EVERYBODY: GRANTED})
PEOPLE = (
    Person("Ben", Role.CAREGIVER, frozenset({"Bea"})),
    Person("Ben", Role.CAREGIVER, frozenset({"Bea", "Dai", "Ada"})),
    Person("Ben", Role.CAREGIVER, frozenset({"Bea", "Dai"}), consents=BEA_HID),
    Person("Ben", Role.CAREGIVER, consents=BEA_HID),
    Person("Ben", Role.CAREGIVER, frozenset()),
)
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"wearer": "Bea"},
    {"device": "pi-2"},
    {"model": "night-2"},
    {"wearer": "Ada", "model": "night-1"},
    {"since": 20.0, "until": 70.0},
    {"wearer": "Bea", "since": 30.0},
    {"words": "stop"},
    {"words": "stop", "wearer": "Bea"},
    {"words": "a", "device": "pi-1"},
    {"words": "stop kante", "flag": "audit"},
    {"walk": "w1"},
    {"difficult": True},
    {"difficult": True, "words": "stop"},
    {"commented": True},
    {"assigned_to": "Eve", "wearer": "Dai"},
    {"skipped_by": "Ana"},
)


@dataclass(frozen=True, slots=True)
class Known:
    """Moments, and what the tables say of them."""

    store: Store
    rows: dict[str, SampleRow]
    folds: dict[str, Any]
    words: dict[str, str]
    marks: dict[str, Any]


@contextmanager
def made(home: Path) -> Iterator[Known]:
    """Moments of several wearers, devices and models, many of them at the same time."""
    draw = random.Random(5)
    rows = {
        row.sample_id: replace(
            row,
            timestamp=float(number // 3),
            speaker_id=draw.choice(WEARERS),
            device=draw.choice(DEVICES),
            model_version=draw.choice(MODELS),
            rejected=not row.reviewed and draw.random() < 0.2,
        )
        for number in range(240)
        for row in [row_with(number, draw)]
    }
    with closing(open_store(home)) as store:
        for start in range(0, len(rows), 40):
            some = list(rows.values())[start : start + 40]
            with store.writing() as connection:
                row_log.insert_rows(connection, some, known=(), now_s=float(draw.randrange(3)))
        left = {"difficult_at": 1.0, "assigned_by": ""}
        ids = draw.sample(sorted(rows), 30)
        with store.writing() as connection:
            for number, one in enumerate(ids):
                names = {"difficult_by": "Ana" if number % 2 else "", "assigned_to": "" if number % 3 else "Eve"}
                connection.execute(insert(tables.review_marks).values(sample_id=one, **names, **left))
                connection.execute(insert(tables.review_comments).values(sample_id=one, at=1.0, author="A", text="b"))
            for at, one in enumerate(SKIPPED):
                connection.execute(insert(tables.review_skips).values(sample_id=one, person="Ana", at=NOW_S - at))
        with store.reading() as connection:
            folds = {row.sample_id: row for row in connection.execute(select(db.samples))}
            words = dict(connection.execute(select(tables.sought.c.sample_id, tables.sought.c.words)).all())
            marks = {row.sample_id: row for row in connection.execute(select(tables.review_marks))}
        yield Known(store, rows, folds, words, marks)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    with made(tmp_path_factory.mktemp("narrow")) as found:
        yield found


def listed(known: Known, wanted: MomentFilter, person: str) -> list[str]:
    """A look at every moment, sorted."""
    folds, words, marks = known.folds, known.words, known.marks

    def meant(row: SampleRow) -> bool:
        mark = marks.get(row.sample_id)
        return all(
            (
                wanted.state in ("all", row.state),
                wanted.wearer in ("", row.speaker_id),
                wanted.device in ("", row.device),
                wanted.model in ("", row.model_version),
                wanted.walk in ("", row.walk_id),
                not wanted.flag or wanted.flag in row.flags,
                all(word in words[row.sample_id] for word in wanted.words.split()),
                (wanted.since or 0.0) <= row.timestamp < (wanted.until or 1e9),
                not wanted.difficult or (mark is not None and mark.difficult_by != ""),
                not wanted.commented or mark is not None,
                not wanted.assigned_to or (mark is not None and mark.assigned_to == wanted.assigned_to),
                not wanted.skipped_by or row.sample_id in SKIPPED,
                wanted.seen_by is None or may_see(wanted.seen_by, row),
            )
        )

    decided = wanted.state in ("reviewed", "rejected")

    def place(one: str) -> tuple[Any, ...]:
        fold = folds[one]
        if decided:
            return -fold.changed_at, one
        is_skipped = bool(person) and one in SKIPPED
        return is_skipped, -SKIPPED.index(one) if is_skipped else 0, fold.priority, -fold.captured_at, one

    return sorted((one for one, row in known.rows.items() if meant(row)), key=place)


def all_agree(known: Known, draw: random.Random) -> None:
    found = 0
    for own in FILTERS:
        for state in ("all", *get_args(State)):
            seen_by, person = draw.choice((None, *PEOPLE)), draw.choice(("", "Ana"))
            wanted = MomentFilter(state=state, seen_by=seen_by, **own)
            right = listed(known, wanted, person)
            found += bool(right)
            for limit, offset in ((300, 0), (7, 3), (4, draw.randrange(len(right) + 2))):
                rows = searching.find(known.store, wanted, person=person, now_s=NOW_S, limit=limit, offset=offset)
                page = [row.sample_id for row in rows]
                assert page == right[offset : offset + limit], (wanted, person, limit, offset)
            assert searching.count(known.store, wanted) == len(right), wanted
    assert found > 30, "lists with moments in them"


@pytest.mark.parametrize(("most_sorted", "most_merged"), [(5_000, 60), (0, 60), (6, 2), (0, 0)])
def test_each_list_is_what_a_look_at_every_moment_gives(
    known: Known, most_sorted: int, most_merged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "SORTED", most_sorted)
    monkeypatch.setattr(narrowing, "SORTED_BY_WORDS", most_sorted)
    monkeypatch.setattr(narrowing, "MOST_MERGED", most_merged)
    all_agree(known, random.Random(most_sorted + most_merged))


@pytest.mark.parametrize("most_sorted", [5_000, 40])
@pytest.mark.parametrize("person", ["", "Ana"])
def test_each_page_of_what_words_find_is_the_one_of_all_that_they_find_in_order(
    known: Known, most_sorted: int, person: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first of them are asked for, by what the narrow rows say of the order. Those that they skipped lately
    stand among these."""
    monkeypatch.setattr(narrowing, "SORTED_BY_WORDS", most_sorted)
    long = 0
    for words, flag in (("stop", ""), ("stop", "audit"), ("a", "low_confidence"), ("", "audit")):
        for seen_by in (None, *PEOPLE[:4]):
            for state in ("pending", "all"):
                wanted = MomentFilter(state=state, words=words, flag=flag, seen_by=seen_by)
                right = listed(known, wanted, person)
                long += len(right) > 20
                for limit, offset in ((1, 0), (2, 1), (5, 0), (5, 8), (3, 17), (9, len(right) - 4)):
                    rows = searching.find(
                        known.store, wanted, person=person, now_s=NOW_S, limit=limit, offset=max(offset, 0)
                    )
                    page = [row.sample_id for row in rows]
                    assert page == right[max(offset, 0) : max(offset, 0) + limit], (wanted, limit, offset)
    assert long > 20, "several pages"


@pytest.mark.both_databases
def test_each_list_is_the_same_in_either_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "SORTED", 6)
    monkeypatch.setattr(narrowing, "SORTED_BY_WORDS", 6)
    with made(tmp_path) as known:
        all_agree(known, random.Random(8))


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({"wearer": "Bea"}, "ix_samples_wearer_listed (wearer=? AND state=?)"),
        ({"device": "pi-1", "state": "reviewed"}, "ix_samples_device_decided (device=? AND state=?)"),
        ({"model": "night-1", "state": "all"}, "ix_samples_model_listed (model=? AND state=?)"),
        ({"seen_by": PEOPLE[1], "state": "rejected"}, "ix_samples_wearer_decided (wearer=? AND state=?)"),
        ({"seen_by": PEOPLE[1], "words": "stop"}, "sqlite_autoindex_samples_1 (sample_id=?)"),
        ({"since": 3.0, "until": 9.0}, "sqlite_autoindex_samples_1 (sample_id=?)"),
        ({"difficult": True, "wearer": "Bea"}, "sqlite_autoindex_samples_1 (sample_id=?)"),
    ],
)
@pytest.mark.parametrize("analyzed", [False, True])
def test_sqlite_reads_a_list_where_it_stands(known: Known, wanted: dict[str, Any], index: str, analyzed: bool) -> None:
    """By its own choice it reads the list of all, in its order, for a wearer who may have none of the first."""
    with known.store.writing() as connection:
        if analyzed:
            connection.execute(text("ANALYZE"))
        query = narrowing.in_order(LookedUp(connection, MomentFilter(**wanted)), limit=10)
        plan = planned(connection, query)
        connection.rollback()
    read = [step for step in plan if "samples USING" in step and "ix_samples_captured" not in step]
    assert read, plan
    assert all(index in step for step in read), plan


def test_sqlite_counts_by_indexes_alone(known: Known) -> None:
    for wanted in ({"wearer": "Bea"}, {"device": "pi-1"}, {"model": "night-1"}, {"since": 3.0}, {"words": "stop"}):
        with known.store.reading() as connection:
            query = narrowing.counting(LookedUp(connection, MomentFilter(**wanted)), "reviewed")
            plan = planned(connection, query)
        assert not [step for step in plan if "sought" in step or ("samples" in step and "COVERING" not in step)], plan


def test_a_statement_takes_no_value_for_each_moment_that_was_found(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes 32,766 values where it is built as it comes, PostgreSQL 65,535: 3,500 moments of each wearer and
    state are more."""
    wanted = MomentFilter(words="stop a")
    right = listed(known, wanted, "")
    monkeypatch.setattr(narrowing, "SORTED_BY_WORDS", len(right))
    assert len(listed(known, MomentFilter(words="stop"), "")) > len(right) > 30, "few have both, and many have one"
    with known.store.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        before = raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 20)
        try:
            query = narrowing.in_order(LookedUp(connection, wanted), limit=300)
            assert list(connection.execute(query).scalars()) == right
        finally:
            raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)


def test_what_looks_alike_is_looked_for_once_for_a_page_and_once_to_count(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the look of every moment: for each wearer and state it took seconds."""
    asked, alike, alike_ids = list[str](), sorted(known.rows)[:9], near.alike_ids

    def counted(connection: Connection, sample_id: str) -> list[str]:
        asked.append(sample_id)
        return alike_ids(connection, sample_id)

    with known.store.writing() as connection:
        sought.keep_looks(connection, dict.fromkeys(alike, 7) | {sorted(known.rows)[10]: 2**40 - 1})
    monkeypatch.setattr(near, "alike_ids", counted)
    ben = Person("Ben", Role.CAREGIVER, frozenset(WEARERS))
    wanted = MomentFilter(like=alike[0], state="all", seen_by=ben)
    right = [one for one in listed(known, replace(wanted, like=""), "") if one in alike]
    assert [row.sample_id for row in searching.find(known.store, wanted)] == right
    assert len(asked) == 1
    states = [known.rows[one].state for one in right]
    assert searching.counts(known.store, wanted) == {one: states.count(one) for one in get_args(State)}
    assert searching.counts(known.store, wanted, 1) == {one: min(states.count(one), 2) for one in get_args(State)}
    assert len(asked) == 3


def test_few_moments_of_a_word_are_one_list_and_not_one_for_each_wearer(known: Known) -> None:
    ben = Person("Ben", Role.CAREGIVER, frozenset(WEARERS))
    with known.store.reading() as connection:
        query = narrowing.in_order(LookedUp(connection, MomentFilter(words="stop", seen_by=ben)), limit=10)
    assert "UNION" not in str(query)


@pytest.mark.parametrize("wanted", [{"since": 3.0, "until": 9.0}, {"since": 3.0}, {"walk": "w1"}, {"commented": True}])
@pytest.mark.parametrize("most_sorted", [5_000, 6])
def test_whether_days_and_walks_have_few_is_asked_once_and_not_for_each_wearer(
    known: Known, wanted: dict[str, Any], most_sorted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a rare state and a year, each of 25 wearers took as long as all."""
    monkeypatch.setattr(narrowing, "SORTED", most_sorted)
    asked = list[str]()

    def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    def number_of(wearers: tuple[str, ...]) -> int:
        asked.clear()
        with known.store.reading() as connection:
            ben = Person("Ben", Role.CAREGIVER, frozenset(wearers))
            narrowing.in_order(LookedUp(connection, MomentFilter(state="all", seen_by=ben, **wanted)), limit=9)
        return sum("FROM samples" in one or "FROM review_comments" in one for one in asked)

    event.listen(known.store.engine, "before_cursor_execute", hear)
    try:
        assert number_of(WEARERS) == number_of(WEARERS[:1]) > 0
    finally:
        event.remove(known.store.engine, "before_cursor_execute", hear)


def test_what_people_left_at_very_many_moments_is_not_sorted(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    commented = len(listed(known, MomentFilter(commented=True, state="all"), ""))
    for most, by_ids in ((commented, True), (commented - 1, False)):
        monkeypatch.setattr(narrowing, "SORTED", most)
        with known.store.reading() as connection:
            query = str(narrowing.in_order(LookedUp(connection, MomentFilter(commented=True)), limit=10))
        assert ("samples.sample_id IN (SELECT review_comments.sample_id" in query) is by_ids


def test_days_that_have_more_than_a_rare_state_are_not_read_for_it(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_state = len(listed(known, MomentFilter(state="rejected"), ""))
    assert 0 < of_state < 60 < len(known.rows)
    monkeypatch.setattr(narrowing, "SORTED", 60)
    with known.store.reading() as connection:
        query = narrowing.in_order(LookedUp(connection, MomentFilter(state="rejected", since=1.0)), limit=10)
        (step,) = planned(connection, query)
    assert "ix_samples_decided (state=?)" in step
