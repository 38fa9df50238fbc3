"""The sums that the database keeps say the same as all rows, whatever was decided, split, blanked or erased."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text, update

from server.database import review_tables as tables
from server.database import store as db
from server.dataset import rollups, row_log
from server.dataset.sample_row import SampleRow
from server.review import breakdown, decisions, figures, order, stats
from server.review.order import ListPlace
from tests.server.commands.test_stats import DAY_S, MONDAY_S, row

pytestmark = pytest.mark.both_databases

WORDS = ("Stop, curb ahead.", "Caution, pole ahead.", "", "Follow the path.", "mind the flurble")
moments = st.builds(
    lambda n, said, should, spread: spread_out(row(n, WORDS[said], WORDS[should]), *spread),
    st.integers(0, 5),
    st.integers(0, len(WORDS) - 1),
    st.integers(0, 3),
    st.tuples(st.integers(0, 9), st.booleans(), st.booleans(), st.sampled_from(("reviewed", "rejected", "pending"))),
)
NOW_S = MONDAY_S + 60 * DAY_S
"""Later than any moment: one that is ahead of the clock counts from when it came."""
histories = st.lists(st.one_of(moments, st.integers(0, 5)), max_size=12)


def spread_out(own: SampleRow, day: int, audit: bool, corrected: bool, state: str) -> SampleRow:
    """A moment of some walk, day, wearer, model and state."""
    changes: dict[str, Any] = {
        "timestamp": MONDAY_S + day * DAY_S,
        "walk_id": f"walk-{own.sample_id[-1]}",
        "speaker_id": ("Ana", "Ben", "")[day % 3],
        "model_version": ("v1", "v2", "")[day % 3],
        "context": "market" if day % 2 else "",
        "author": "Eve" if state != "pending" else "",
        "flags": ("audit",) if audit else ("wearer",),
        "correction_id": "c" if corrected else "",
    }
    if state != "reviewed":
        changes |= {"reviewed": False, "was_correct": None, "rejected": state == "rejected"}
    return replace(own, **changes)


@pytest.fixture(scope="module")
def store() -> Iterator[db.Store]:
    with tempfile.TemporaryDirectory() as folder:
        opened = db.open_store(Path(folder))
        yield opened
        opened.close()


def live(store: db.Store, history: list[SampleRow | int]) -> dict[str, SampleRow]:
    """Write a history from nothing; a number erases that moment. What is there afterwards."""
    there: dict[str, SampleRow] = {}
    with store.writing() as connection:
        for table in (db.samples, db.dataset_rows, db.walks):
            connection.execute(delete(table))
        for number, event in enumerate(history):
            if isinstance(event, int):
                gone = f"pi-1-b-{event:06d}"
                connection.execute(delete(db.samples).where(db.samples.c.sample_id == gone))
                there.pop(gone, None)
                continue
            taken_at = there.get(event.sample_id, event).timestamp  # no decision changes when a moment was
            own = replace(event, row_id=f"{event.sample_id}#{number + 1}", timestamp=taken_at)
            row_log.propose_split(connection, own.walk_id, own.split, now_s=0.0)
            row_log.insert_row(connection, own, now_s=NOW_S + number)
            there[own.sample_id] = own
    return there


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories)
def test_the_sums_say_what_all_rows_say(store: db.Store, history: list[SampleRow | int]) -> None:
    rows = list(live(store, history).values())
    assert figures.summary(store) == stats.summary(rows)
    assert figures.summary(store, by="week") == stats.summary(rows, by="week")
    groups = breakdown.groups(rows, lambda _row: breakdown.UNKNOWN)
    assert figures.groups(store) == groups
    assert figures.contributors(store) == breakdown.contributors(rows)
    course = figures.course(store)
    assert course.weeks == stats.summary(rows, by="week").over_time
    assert course.models[::-1] == stats.summary(rows).by_model
    with store.reading() as connection:
        assert list(rollups.differences(connection)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories, st.sampled_from(("pending", "reviewed", "rejected", "all")), st.integers(1, 4))
def test_pages_by_place_and_by_number_are_the_same_list(
    store: db.Store, history: list[SampleRow | int], state: order.Listed, size: int
) -> None:
    rows = live(store, history)
    whole = decisions.listing(store, state=state, limit=100)
    assert {one.sample_id for one in whole} == {one.sample_id for one in rows.values() if state in ("all", one.state)}
    by_number = [
        one for start in range(0, 8, size) for one in decisions.listing(store, state=state, limit=size, offset=start)
    ]
    assert by_number == whole
    by_place: list[SampleRow] = []
    place: ListPlace | None = None
    while True:
        some, place = decisions.listing_after(store, state=state, limit=size, after=place)
        by_place += some
        if place is None:
            break
    assert by_place == whole


def test_folds_of_an_older_version_are_counted_once_they_are_filled_and_a_cut_goes_on(
    store: db.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = live(store, [spread_out(row(n), n, False, True, "reviewed") for n in range(6)])
    with store.writing() as connection:
        connection.execute(update(db.samples).values(marks=0, cells=[], model=""))
        connection.execute(delete(tables.rollup_state))
    assert figures.summary(store).accuracy.judged == 0
    monkeypatch.setattr(rollups, "AT_ONCE", 2)
    assert rollups.fill(store, wanted=lambda: False) == 2
    with store.reading() as connection:
        assert not rollups.is_whole(connection)
    assert rollups.fill(store) == 4
    assert figures.summary(store) == stats.summary(list(rows.values()))
    assert rollups.fill(store) == 0


def test_words_that_nothing_counts_any_more_are_nowhere(store: db.Store) -> None:
    live(store, [row(1, "Stop, curb ahead.", "Caution, pole ahead."), 1])
    with store.reading() as connection:
        assert connection.execute(tables.rollups.select()).all() == []


def test_sums_that_do_not_agree_are_named_and_made_again(store: db.Store) -> None:
    live(store, [spread_out(row(n), n, True, True, "reviewed") for n in range(3)])
    good = figures.summary(store)
    with store.writing() as connection:
        connection.execute(update(tables.rollups).where(tables.rollups.c.cell == "object:curb").values(correct=70))
        connection.execute(text("INSERT INTO rollups VALUES ('object:tree', 1, 0, 0, 0, 0, 0)"))
        assert sorted(rollups.differences(connection)) == ["object:curb", "object:tree"]
        rollups.sum_again(connection)
        assert list(rollups.differences(connection)) == []
    assert figures.summary(store) == good


def test_no_list_is_sorted_and_none_reads_all_moments(store: db.Store) -> None:
    plans = []
    with store.reading() as connection:
        for state in ("pending", "reviewed", "all"):
            for place in (None, ListPlace("x", 3, 5.0, 5.0)):
                query = order.listed_from(state, place).limit(10)
                plain = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
                plans += [line[3] for line in connection.execute(text(f"EXPLAIN QUERY PLAN {plain}"))]
    assert len(plans) == 6
    assert all("USING" in line and "INDEX ix_samples_" in line for line in plans), plans
