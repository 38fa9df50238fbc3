"""The order of the review queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from server.database import review_tables as tables
from server.database import store as db
from server.review import decisions, ranking, searching, selection
from server.review.decisions import ReviewDecision
from server.review.moment_filter import MomentFilter
from server.review.ranking import Ranking
from server.review.selection import Candidate, Confirmed, SelectionSettings
from tests.server.dataset.moments import House, moment


def unit(*values: float) -> selection.Descriptor:
    vector = np.array(values, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def candidate(name: str, **changes: Any) -> Candidate:
    values: dict[str, Any] = {"walk_id": f"walk-{name}", "timestamp": 0.0, "priority": 3, "confidence": 0.8}
    return Candidate(name, **{**values, **changes})


def test_what_a_wearer_asked_for_comes_first_however_sure_the_model_was() -> None:
    some = [candidate("a", confidence=0.0), candidate("b", priority=1), candidate("c", priority=0)]
    assert selection.order(some) == ["c", "b", "a"]


@pytest.mark.parametrize(
    "better", [{"confidence": 0.1}, {"disagreement": 0.9}, {"descriptor": unit(1, 0.1)}, {"descriptor": unit(-1, -1)}]
)
def test_doubt_disagreement_neighbours_errors_and_novelty_each_bring_a_moment_forward(better: dict[str, Any]) -> None:
    confirmed = Confirmed(np.stack([unit(1, 0), unit(0, 1)]), np.array([True, False]))
    one = SelectionSettings(nearest=1)
    some = [candidate("plain", descriptor=unit(0, 1)), candidate("better", **{"descriptor": unit(0, 1), **better})]
    assert selection.order(some, confirmed, one)[0] == "better"


def test_of_near_duplicates_only_two_come_before_the_others() -> None:
    alike = [
        candidate(f"d{n}", walk_id="w", timestamp=float(n), confidence=0.0, descriptor=unit(1, n / 100))
        for n in range(5)
    ]
    other = candidate("other", walk_id="w", confidence=1.0, descriptor=unit(0, 1))
    found = selection.order([*alike, other])
    assert found.index("other") == 2
    assert len(set(selection.cluster(alike, alike=0.9))) == 1


def test_pictures_of_other_walks_are_no_duplicates() -> None:
    some = [candidate(name, descriptor=unit(1, 0)) for name in ("a", "b")]
    assert len(set(selection.cluster(some, alike=0.9))) == 2


def test_a_walk_does_not_fill_the_queue() -> None:
    rng = np.random.default_rng(0)
    many = [candidate(f"m{n}", walk_id="long", confidence=0.0, descriptor=unit(*rng.normal(size=8))) for n in range(30)]
    few = [candidate(f"f{n}", walk_id="short", confidence=0.9, descriptor=unit(*rng.normal(size=8))) for n in range(5)]
    first = selection.order([*many, *few])[:15]
    assert sum(name.startswith("f") for name in first) == 5


def test_every_twelfth_place_is_of_the_audit_stream_and_it_comes_nowhere_else() -> None:
    some = [candidate(f"m{n:02d}", confidence=0.9) for n in range(60)]
    drawn = [candidate(f"a{n}", confidence=1.0, audit=True, timestamp=float(n)) for n in range(3)]
    found = selection.order([*some, *drawn])
    places = [found[place] for place in (11, 23, 35)]
    assert sorted(places) == ["a0", "a1", "a2"]
    # What they show moves none of them: neither forward, nor among themselves.
    worse = [candidate(f"a{n}", confidence=0.0, disagreement=n / 3, audit=True, timestamp=9.0 - n) for n in range(3)]
    assert [selection.order([*some, *worse])[place] for place in (11, 23, 35)] == places


def test_what_is_left_of_the_audit_stream_comes_last() -> None:
    some = [candidate("m"), *(candidate(f"a{n}", audit=True) for n in range(3))]
    assert selection.order(some)[0] == "m"
    assert sorted(selection.order(some)) == ["a0", "a1", "a2", "m"]


candidates = st.builds(
    Candidate,
    st.uuids().map(str),
    st.sampled_from(["w1", "w2", "w3"]),
    st.floats(0, 100),
    st.integers(0, 6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
    descriptor=st.none() | st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(lambda v: unit(*v, 0.1)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(candidates, max_size=25, unique_by=lambda one: one.sample_id), st.randoms())
def test_the_order_holds_each_moment_once_and_does_not_depend_on_how_they_came(
    some: list[Candidate], random: Any
) -> None:
    found = selection.order(some)
    assert sorted(found) == sorted(one.sample_id for one in some)
    shuffled = list(some)
    random.shuffle(shuffled)
    assert selection.order(shuffled) == found


def test_the_measure_is_the_share_of_errors_among_the_first_by_that_of_all() -> None:
    assert selection.gain([True, True, False, True], 0.25) == 3.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


def queue(house: House) -> list[str]:
    return [row.sample_id[-1] for row in decisions.listing(house.store)]


def test_the_queue_is_put_in_order_and_what_comes_in_later_is_ordered_the_next_time(house: House) -> None:
    for n, (flags, confidence) in enumerate(
        [(("low_confidence",), 0.4), (("audit",), 0.1), (("wearer",), 0.9), (("low_confidence",), 0.2)]
    ):
        house.send(moment(n, flags=flags, confidence=confidence, walk_id=f"walk-{n}"))
    assert queue(house) == ["2", "3", "0", "1"]
    ranking = Ranking(house.store, house.dataset)
    assert ranking.refresh()
    assert queue(house) == ["2", "3", "0", "1"]
    assert not ranking.refresh()
    house.clock.sleep(1.0)
    house.send(moment(5, flags=("audit",), confidence=0.3, walk_id="walk-5"))
    assert queue(house)[0] == "5"
    assert ranking.refresh()
    drawn = selection.order([candidate(f"pi-1-b00t-00000{n}", audit=True) for n in "15"])
    assert queue(house) == ["2", "3", "0", *(one[-1] for one in drawn)]


def test_what_stands_behind_the_window_keeps_its_flags_order_and_moves_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "WINDOW", 2)
    monkeypatch.setattr(ranking, "_AT_ONCE", 1)
    for n, flags in enumerate([("audit",), ("low_confidence",), ("wearer",), ("correction",), ("low_confidence",)]):
        house.send(moment(n, flags=flags, walk_id=f"walk-{n}"))
    keeper = Ranking(house.store, house.dataset)
    assert keeper.refresh()
    assert queue(house) == ["3", "2", "4", "1", "0"]
    house.clock.sleep(1.0)
    house.send(moment(6, flags=("audit",), walk_id="walk-6"))
    assert queue(house)[0] == "6"
    for n in (3, 2, 6):
        nothing = ReviewDecision("nothing", "Ben")
        decisions.review(house.store, house.dataset, f"pi-1-b00t-{n:06d}", nothing, now_s=house.clock.utc_s() + n)
    assert keeper.refresh()
    assert queue(house) == ["4", "1", "0"]
    with house.store.reading() as connection:
        places = dict(connection.execute(select(db.samples.c.sample_id, db.samples.c.priority)).all())
    assert places["pi-1-b00t-000004"] < ranking.BEHIND < places["pi-1-b00t-000000"]
    assert sought_places(house) == places, "what a search sorts by"


def sought_places(house: House) -> dict[str, int]:
    with house.store.reading() as connection:
        return dict(connection.execute(select(tables.sought.c.sample_id, tables.sought.c.priority)).all())


@pytest.mark.both_databases
def test_a_search_has_the_order_of_the_queue_and_nothing_of_a_row_that_is_not_the_ranked_one(desk: House) -> None:
    desk.send_all([moment(n, flags=("audit",), walk_id=f"walk-{n}", spoken="kerb") for n in range(6)])
    keeper, decided = Ranking(desk.store, desk.dataset), "pi-1-b00t-000002"
    names = [row.sample_id for row in decisions.listing(desk.store)]
    keeper._write(names[::-1], {one: "another" if one == decided else f"{one}#1" for one in names})
    queue_of = [row.sample_id for row in decisions.listing(desk.store)]
    assert queue_of == [decided, *(one for one in names[::-1] if one != decided)]
    assert sought_places(desk)[decided] < ranking.PLACES_FROM <= min(sought_places(desk)[one] for one in queue_of[1:])
    for limit in (1, 3, 6):
        found = searching.find(desk.store, MomentFilter(words="kerb"), limit=limit)
        assert [row.sample_id for row in found] == queue_of[:limit]


def test_a_decision_taken_meanwhile_stays(house: House) -> None:
    house.send(moment(0))
    ranking = Ranking(house.store, house.dataset)
    ranking.refresh()
    decisions.review(
        house.store, house.dataset, "pi-1-b00t-000000", ReviewDecision("nothing", "Ben"), now_s=house.clock.utc_s() + 5
    )
    assert ranking.refresh()
    assert decisions.counts(house.store)["reviewed"] == 1


def test_a_picture_that_cannot_be_read_does_not_stop_the_ordering(house: House) -> None:
    house.send_all([moment(0), moment(1)])
    for file in (house.dataset.folder / "frames").iterdir():
        file.write_bytes(b"half")
    assert Ranking(house.store, house.dataset).refresh()
    assert sorted(queue(house)) == ["0", "1"]


def test_a_fleet_that_brings_many_pictures_has_them_read_round_by_round(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "MOST_READ", 2)
    house.send_all([moment(n, walk_id=f"walk-{n}") for n in range(5)])
    keeper, read = Ranking(house.store, house.dataset), list[int]()
    while keeper.refresh():
        read.append(len(keeper._looks))
    assert read == [2, 4, 5]
