"""Filters, search, what is near, marks, and what erasing leaves of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from server.access.person import Person, Role
from server.database import review_tables as tables
from server.review import decisions, leases, marks, near, proposed, searching
from server.review.moment_filter import MomentFilter
from server.review.ranking import Ranking
from shared.errors import Refused
from shared.messages import EraseRecord
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.review.deciding import NOW_S, decide, name, row_of

pytestmark = pytest.mark.both_databases

DAY_S = 86_400.0


@pytest.fixture
def walks(desk: House) -> House:
    """Five moments of two wearers, one of them from four days before."""
    desk.send_all(
        [
            moment(0, raw_output="Caution, cone on the left.", flags=("audit",)),
            moment(1, raw_output="Duck, head obstacle ahead.", wearer="Bea", walk_id="walk-2", model_version="night-2"),
            moment(2, raw_output="Stop, obstacle ahead.", spoken="Stop, obstacle ahead.", device="pi-2"),
            moment(3, raw_output="", captured_at_utc=1_700_000_000.0 - 4 * DAY_S),
            moment(4, raw_output="Caution, bin ahead.", flags=("low_confidence", "audit")),
        ]
    )
    said = spoken(name(3), sound(5))
    desk.send(said)
    desk.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript="Über die Kante", confidence=0.9, proposal="Stop, curb ahead."
    )
    return desk


def found(house: House, **wanted: Any) -> list[int]:
    rows = searching.find(house.store, MomentFilter(**wanted), now_s=NOW_S)
    assert searching.count(house.store, MomentFilter(**wanted)) == len(rows)
    return sorted(int(row.sample_id[-1]) for row in rows)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"state": "reviewed"}, []),
        ({"state": "all", "wearer": "Bea"}, [1]),
        ({"device": "pi-2"}, [2]),
        ({"walk": "walk-2"}, [1]),
        ({"model": "night-2"}, [1]),
        ({"thing": "obstacle"}, [2]),
        ({"thing": "head obstacle"}, [1]),
        ({"thing": "curb"}, [3]),
        ({"flag": "audit"}, [0, 4]),
        ({"flag": "correction"}, [3]),
        ({"flag": "aud"}, []),
        ({"words": "AHEAD obstacle"}, [1, 2]),
        ({"words": "über KANTE"}, [3]),
        ({"words": "100%_"}, []),
        ({"since": 1_700_000_000.0 - DAY_S}, [0, 1, 2, 4]),
        ({"until": 1_700_000_000.0 + 2}, [0, 3]),
        ({"seen_by": Person("Ben", Role.CAREGIVER, frozenset({"Bea"}))}, [1]),
        ({"seen_by": Person("Ben", Role.CAREGIVER, frozenset())}, []),
        ({"thing": "obstacle", "wearer": "Bea"}, []),
    ],
)
def test_each_filter_restricts_and_all_together(walks: House, wanted: dict[str, Any], ids: list[int]) -> None:
    assert found(walks, **wanted) == ids


def test_what_a_person_confirmed_is_found_from_then_on(walks: House) -> None:
    decide(walks, row_of(walks, name(4)).row_id, by="Ana", action="edit", text="Caution, dog ahead.")
    assert found(walks, state="all", thing="dog") == [4]
    assert found(walks, state="reviewed", words="dog") == [4]


def test_marks_are_seen_by_all_and_found(walks: House) -> None:
    marks.mark_difficult(walks.store, name(0), "Ana", difficult=True, now_s=NOW_S)
    marks.assign(walks.store, name(0), " Ben\x1b[31m ", "Ana")
    marks.assign(walks.store, name(4), "Cleo", "Ana")
    marks.comment(walks.store, name(4), "Ana", " Is this\na bin?\x07 ", now_s=NOW_S)
    assert (found(walks, difficult=True), found(walks, assigned_to="Ben")) == ([0], [0])
    assert found(walks, commented=True) == [4]
    own = marks.of(walks.store, [name(0), name(1)])
    assert own == {name(0): marks.MomentMarks("Ana", NOW_S, "Ben", "Ana")}
    (comment,) = marks.comments(walks.store, name(4))
    assert (comment.author, comment.text) == ("Ana", "Is this a bin?")
    assert not marks.uncomment(walks.store, name(4), comment.id, "Ben")
    assert not marks.uncomment(walks.store, name(5), comment.id, "Ana"), "it is about another moment"
    assert marks.uncomment(walks.store, name(4), comment.id, "Ana")
    marks.mark_difficult(walks.store, name(0), "Ben", difficult=False, now_s=NOW_S)
    assert found(walks, difficult=True) == []
    assert marks.of(walks.store, [name(0)])[name(0)].assigned_to == "Ben", "the one leaves the other"
    for text in ("", " \n", "x" * 1001):
        with pytest.raises(Refused):
            marks.comment(walks.store, name(0), "Ana", text, now_s=NOW_S)


def test_what_looks_like_one_is_found_and_what_is_beside_it_is_strict(desk: House) -> None:
    desk.send_all([moment(n, seed=n % 2, raw_output="Caution, cone ahead.", walk_id=f"w{n // 4}") for n in range(6)])
    Ranking(desk.store, desk.dataset).refresh()
    assert found(desk, like=name(0)) == [0, 2, 4], "of any walk"
    marks.mark_difficult(desk.store, name(1), "Ana", difficult=True, now_s=NOW_S)
    marks.mark_difficult(desk.store, name(2), "Ana", difficult=True, now_s=NOW_S)
    assert found(desk, like=name(0), difficult=True) == [2]
    assert found(desk, like=name(0), words="cone", walk="w1") == [4]
    assert found(desk, like=name(0), words="bin") == []
    nobodys = Person("Ben", Role.CAREGIVER, frozenset())
    assert found(desk, like=name(0), words="cone", seen_by=nobodys) == []
    assert [row.sample_id for row in near.beside(desk.store, desk.dataset, row_of(desk, name(0)))] == [name(2)]
    desk.send(moment(7, seed=1, raw_output="Caution, cone ahead."))
    assert found(desk, like=name(7)) == [7], "not hashed yet"
    near.hashed(desk.store, desk.dataset, name(7))
    assert found(desk, like=name(7)) == [1, 3, 5, 7]


def test_the_moments_around_one_on_its_walk(desk: House) -> None:
    desk.send_all([moment(n, seed=0, walk_id="other" if n == 3 else "walk") for n in range(6)])
    around = near.on_walk(desk.store, row_of(desk, name(2)))
    assert [row.sample_id for row in around.before] == [name(0), name(1)]
    assert [row.sample_id for row in around.after] == [name(4), name(5)]
    assert near.on_walk(desk.store, row_of(desk, name(3))) == near.WalkNeighbours((), ())


def test_a_clock_in_the_year_9999_pins_nothing_to_the_top(desk: House) -> None:
    far = 253_000_000_000.0
    desk.send(moment(0, captured_at_utc=far, device="pi-9", walk_id="far"))
    desk.clock.sleep(600.0)
    desk.send_all([moment(n, captured_at_utc=1_700_000_100.0 + n) for n in (1, 2)])
    order = [row.sample_id for row in decisions.listing(desk.store)]
    assert order[-1] == "pi-9-b00t-000000", "it came in first"
    Ranking(desk.store, desk.dataset).refresh()
    assert [row.sample_id for row in decisions.listing(desk.store)][-1] == "pi-9-b00t-000000"
    decide(desk, row_of(desk, "pi-9-b00t-000000").row_id, by="Ana", action="nothing")
    desk.clock.sleep(600.0)
    desk.send(moment(3, captured_at_utc=1_700_000_103.0))
    decide(desk, row_of(desk, "pi-9-b00t-000000").row_id, by="Ana", action="return")
    Ranking(desk.store, desk.dataset).refresh()
    order = [row.sample_id for row in searching.find(desk.store, MomentFilter(), now_s=NOW_S)]
    assert order[-1] == "pi-9-b00t-000000", "it came in when it did, however often somebody decides"


def test_erasing_a_moment_leaves_nothing_that_people_left_at_it(walks: House) -> None:
    Ranking(walks.store, walks.dataset).refresh()
    marks.mark_difficult(walks.store, name(0), "Ana", difficult=True, now_s=NOW_S)
    marks.comment(walks.store, name(0), "Ana", "a plank", now_s=NOW_S)
    marks.skip(walks.store, name(0), "Ana", now_s=NOW_S)
    leases.take(walks.store, name(0), "Ana", now_s=NOW_S)
    proposed.collect(walks.store, name(0), "a plank ahead", "Ana", now_s=NOW_S)
    wish = EraseRecord("e1", "pi-1", NOW_S, record_ids=(name(0),))
    assert walks.merge.put_record("pi-1", "erase", wish).state == "merged"
    with walks.store.reading() as connection:
        for table in tables.ABOUT_MOMENTS:
            own = select(func.count()).select_from(table).where(table.c.sample_id == name(0))
            assert connection.execute(own).scalar_one() == 0, table.name
