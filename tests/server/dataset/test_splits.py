"""What a person decides about walks and moments survives everything that the log survives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from server.database import store as db
from server.database.store import DATABASE_NAME
from server.dataset import row_log, splits
from server.dataset.folder import Dataset
from server.dataset.teaching import training_rows
from server.gate import cases
from server.maintenance.check import check
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.clock import SystemClock
from shared.errors import Refused
from tests.server.dataset.moments import House, moment, sound, spoken

ID = "pi-1-b00t-{:06d}"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Three walks of three confirmed moments; all teach."""
    house = House(tmp_path, clock=SystemClock())
    for n in range(9):
        house.send(moment(n, walk_id=f"walk-{n // 3}"))
    for row in house.dataset.rows():
        decisions.review(
            house.store, house.dataset, row.sample_id, ReviewDecision("edit", "Eve", "Stop, cone ahead."), now_s=1.0
        )
    for walk in ("walk-1", "walk-2"):
        splits.mark_walk(house.store, house.dataset, walk, "train", now_s=2.0)
    return house


def kinds(house: House) -> Counter[str]:
    return Counter(row.split for row in house.dataset.rows())


def walk_split(house: House, walk: str) -> str:
    with house.store.reading() as connection:
        found = connection.execute(select(db.walks.c.split).where(db.walks.c.walk_id == walk)).scalar()
    return str(found)


def test_of_many_walks_a_fifth_is_held_out_and_a_tenth_is_golden() -> None:
    drawn = Counter(row_log.drawn_split(f"walk-{n}") for n in range(4000))
    assert 0.17 < drawn["held_out"] / 4000 < 0.23
    assert 0.08 < drawn["golden"] / 4000 < 0.12


def test_a_walk_that_is_held_out_stops_teaching_and_its_later_moments_follow(house: House) -> None:
    marked = splits.mark_walk(house.store, house.dataset, "walk-1", "held_out", now_s=3.0)
    assert marked.moments == tuple(ID.format(n) for n in (3, 4, 5))
    assert kinds(house) == {"train": 6, "held_out": 3}
    house.send(moment(20, walk_id="walk-1"))
    assert house.dataset.rows()[-1].split == "held_out", "a server that runs heeds it with the next batch"
    assert {row.walk_id for row in training_rows(house.dataset.rows())} == {"walk-0", "walk-2"}
    assert len(cases.held_out(house.dataset.rows())) == 3
    again = splits.mark_walk(house.store, house.dataset, "walk-1", "held_out", now_s=4.0)
    assert again.moments == ()


def test_what_a_person_confirmed_and_a_late_correction_leave_the_mark(house: House) -> None:
    splits.mark_walk(house.store, house.dataset, "walk-1", "golden", now_s=3.0)
    splits.mark_moment(house.store, house.dataset, ID.format(0), golden=True, now_s=3.0)
    decisions.review(house.store, house.dataset, ID.format(3), ReviewDecision("nothing", "Eve"), now_s=4.0)
    house.send(spoken(ID.format(0), sound(9)))
    house.merge.put_transcript(
        "pi-1", "pi-1-b00t-c0000", transcript="bin", confidence=0.9, proposal="Caution, bin ahead."
    )
    found = {row.sample_id: row for row in house.dataset.rows()}
    assert found[ID.format(3)].split == "golden"
    assert found[ID.format(0)].golden is True
    assert found[ID.format(0)].correction_id


def test_the_golden_set_is_its_walks_with_what_a_person_put_in_and_took_out(house: House) -> None:
    splits.mark_walk(house.store, house.dataset, "walk-2", "golden", now_s=3.0)
    splits.mark_moment(house.store, house.dataset, ID.format(0), golden=True, now_s=3.0)
    splits.mark_moment(house.store, house.dataset, ID.format(7), golden=False, now_s=3.0)
    chosen = [ID.format(n) for n in (0, 6, 8)]
    assert [row.sample_id for row in splits.in_golden_set(house.store)] == chosen
    view = house.dataset.rows()
    assert [row.sample_id for row in cases.golden(view)] == chosen
    assert ID.format(0) not in {row.sample_id for row in training_rows(view)}, "it stops teaching"
    assert [row.sample_id for row in cases.confirmed(view, "golden")] == [ID.format(n) for n in (6, 7, 8)]
    splits.mark_moment(house.store, house.dataset, ID.format(7), golden=True, now_s=4.0)
    assert {row.sample_id: row.golden for row in house.dataset.rows()}[ID.format(7)] is None, "as its walk is"


@pytest.mark.parametrize("name", ["walk-9", "nobody"])
def test_what_is_not_there_is_named_with_what_is(house: House, name: str) -> None:
    with pytest.raises(Refused, match="There is no walk") as refused:
        splits.mark_walk(house.store, house.dataset, name, "held_out", now_s=3.0)
    assert "walk-0" in str(refused.value)
    with pytest.raises(Refused, match="There is no walk and no moment"):
        splits.mark_moment(house.store, house.dataset, name, golden=True, now_s=3.0)


def test_one_walk_goes_on_teaching(house: House) -> None:
    for walk in ("walk-0", "walk-1"):
        splits.mark_walk(house.store, house.dataset, walk, "held_out", now_s=3.0)
    with pytest.raises(Refused, match="walk-2 is the only walk that teaches"):
        splits.mark_walk(house.store, house.dataset, "walk-2", "golden", now_s=3.0)
    assert kinds(house) == {"train": 3, "held_out": 6}


def test_a_lost_database_gets_every_mark_back_from_the_log(house: House) -> None:
    for walk, split in (("walk-1", "held_out"), ("walk-1", "train"), ("walk-1", "held_out"), ("walk-2", "golden")):
        splits.mark_walk(house.store, house.dataset, walk, split, now_s=3.0)  # type: ignore[arg-type]
    splits.mark_moment(house.store, house.dataset, ID.format(0), golden=True, now_s=3.0)
    before = house.dataset.rows()
    house.close()
    for file in house.home.glob(f"{DATABASE_NAME}*"):
        file.unlink()
    assert check(house.home, SystemClock(), repair=True).findings
    assert all(not finding.lost or "enrolments" in finding.why for finding in check(house.home, SystemClock()).findings)
    again = House(house.home, clock=SystemClock())
    assert [walk_split(again, f"walk-{n}") for n in range(3)] == ["train", "held_out", "golden"]
    assert again.dataset.rows() == before
    assert [row.sample_id for row in splits.in_golden_set(again.store)] == [ID.format(n) for n in (0, 6, 7, 8)]
    again.close()


def test_a_log_that_a_crash_left_behind_is_brought_up_to_date(house: House) -> None:
    """The transaction was committed, and the power went before the log was written."""
    with house.store.writing() as connection:
        row_log.set_split(connection, "walk-1", "held_out", now_s=3.0)
    assert kinds(house) == {"train": 9}
    house.close()
    again = House(house.home, clock=SystemClock())
    row_log.reconcile(again.store, again.dataset, now_s=4.0)
    assert kinds(again) == {"train": 6, "held_out": 3}
    assert check(again.home, SystemClock()).well
    again.close()


def test_rows_that_an_older_server_wrote_are_read(house: House) -> None:
    from server.dataset.sample_row import from_dict, to_dict

    old = to_dict(house.dataset.rows()[0])
    del old["golden"]
    assert from_dict(old).golden is None
    assert Dataset(house.home / "dataset").rows()
