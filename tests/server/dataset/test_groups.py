"""Where a setting asks, no place and no wearer both teaches and judges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.dataset import groups, row_log, splits
from server.dataset.groups import SplitBy, WalkGroup, group_of
from server.dataset.merge import Merge
from shared.clock import SystemClock
from shared.errors import Refused
from tests.server.dataset.moments import House, moment


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, clock=SystemClock())
    yield house
    house.close()


def walk(house: House, *numbers: int, wearer: str = "", context: str = "") -> None:
    """A moment of each of these walks."""
    house.send_together(
        [moment(number, seed=0, walk_id=f"walk-{number}", wearer=wearer, context=context) for number in numbers]
    )


def by(house: House, what: SplitBy) -> House:
    house.merge = Merge(house.store, house.dataset, house.clock, split_by=what)
    return house


def sides(house: House, of: str) -> dict[str, set[str]]:
    """Wearer or place → the sides that its moments stand on."""
    found: dict[str, set[str]] = {}
    for row in house.dataset.rows():
        found.setdefault(str(getattr(row, of)), set()).add(row.split)
    return found


def test_by_walk_one_wearer_may_stand_on_several_sides(house: House) -> None:
    walk(house, *range(16), wearer="Ada")
    assert len(sides(house, "speaker_id")["Ada"]) > 1


@pytest.mark.parametrize(("what", "of"), [("wearer", "speaker_id"), ("place", "context")])
def test_all_walks_of_a_group_stand_on_one_side(house: House, what: SplitBy, of: str) -> None:
    by(house, what)
    named = {number: f"name {number % 12}" for number in range(24)}
    house.send_together(
        [moment(n, seed=0, walk_id=f"walk-{n}", wearer=name, context=name) for n, name in named.items()]
    )
    found = sides(house, of)
    assert all(len(one) == 1 for one in found.values())
    assert len({side for one in found.values() for side in one}) > 1


def test_the_first_walk_teaches_and_its_wearers_later_ones_do_too(house: House) -> None:
    drawn = next(name for name in map(str, range(99)) if row_log.drawn_split(f"wearer {name}") == "held_out")
    by(house, "wearer")
    walk(house, 0, 1, wearer=drawn)
    assert sides(house, "speaker_id")[drawn] == {"train"}


def test_a_name_is_the_same_in_other_case_and_with_blanks_around_it(house: House) -> None:
    by(house, "place")
    walk(house, 9, context="elsewhere")
    for number, name in enumerate(("École des Lilas", " école des lilas ", "ÉCOLE DES LILAS")):
        walk(house, 10 + number, context=name)
    assert len({row.split for row in house.dataset.rows() if row.walk_id != "walk-9"}) == 1
    splits.mark_walk(house.store, house.dataset, "walk-11", "golden", now_s=1.0, by="place")
    walk(house, 13, context="École des lilas")
    assert {row.split for row in house.dataset.rows() if row.walk_id != "walk-9"} == {"golden"}


@pytest.mark.parametrize("by", ["place", "wearer"])
def test_of_each_walk_one_record_is_looked_at_by_an_index(house: House, by: SplitBy) -> None:
    walk(house, 0, 1, wearer="Ada", context="Mill Lane")
    query = str(groups.said_by_all(by).compile(house.store.engine, compile_kwargs={"literal_binds": True}))
    with house.store.reading() as connection:
        steps = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    of_records = [step for step in steps if "records" in step]
    assert of_records == ["SEARCH records USING INDEX ix_records_walk_id (walk_id=?)"]


def test_a_new_walk_costs_the_same_however_many_moments_the_others_have(house: House) -> None:
    counts = []
    for many in (1, 30):
        house.send_together(
            [moment(number, seed=0, walk_id=f"walk-{number % 3}", wearer="Ada") for number in range(3 * many)]
        )
        with house.store.reading() as connection:
            raw, steps = connection.connection.driver_connection, list[None]()
            assert raw is not None
            raw.set_progress_handler(lambda found=steps: found.append(None), 1)
            assert len(groups.walks_of(connection, WalkGroup("wearer", "ada"))) == 3
            raw.set_progress_handler(None, 0)
        counts.append(len(steps))
    assert counts[0] == counts[1]


def test_walks_that_do_not_say_whose_they_are_stand_alone(house: House) -> None:
    by(house, "wearer")
    walk(house, *range(16))
    assert len({row.split for row in house.dataset.rows()}) > 1
    assert group_of("wearer", place="x", wearer="  ").alone


def test_what_a_person_decides_about_one_walk_moves_all_of_its_wearer(house: House) -> None:
    by(house, "wearer")
    walk(house, 0, wearer="Ben")
    walk(house, 1, 2, 3, wearer="Ada")
    marked = splits.mark_walk(house.store, house.dataset, "walk-2", "golden", now_s=1.0, by="wearer")
    assert marked.together == ("walk-1", "walk-3")
    assert len(marked.moments) == 3
    assert sides(house, "speaker_id")["Ada"] == {"golden"}
    walk(house, 4, wearer="ada")
    assert house.dataset.rows()[-1].split == "golden", "and those that come later"


def test_the_only_wearer_who_teaches_may_not_be_held_out(house: House) -> None:
    by(house, "wearer")
    walk(house, 1, 2, wearer="Ada")
    with pytest.raises(Refused, match="with the 1 of its wearer, is the only walk that teaches"):
        splits.mark_walk(house.store, house.dataset, "walk-1", "held_out", now_s=1.0, by="wearer")


def test_an_import_that_proposes_a_side_gives_way_to_the_groups_own(house: House) -> None:
    by(house, "place")
    walk(house, 0, context="Mill Lane")
    group = WalkGroup("place", "mill lane")
    with house.store.writing() as connection:
        row_log.propose_split(connection, "imported", "held_out", now_s=1.0, group=group)
        row_log.propose_split(connection, "elsewhere", "held_out", now_s=1.0, group=WalkGroup("place", "quay"))
        assert row_log.split_of(connection, "imported", now_s=1.0) == "train"
        assert row_log.split_of(connection, "elsewhere", now_s=1.0) == "held_out"
        assert groups.walks_of(connection, WalkGroup()) == []
