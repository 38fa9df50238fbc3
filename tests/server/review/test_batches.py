"""One decision about several moments that look alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.review import batches, decisions
from server.review.decisions import ReviewDecision
from shared.errors import Refused
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, sound, spoken

CURB, POLE = "Stop, curb ahead.", "Caution, pole ahead."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


@pytest.fixture
def walk(house: House) -> House:
    """0, 1: alike. 2: other words. 3: another picture. 4: of another walk. 5: corrected by the wearer."""
    for n, changes in enumerate(({}, {}, {"raw_output": CURB}, {}, {"walk_id": "walk-2"}, {})):
        house.send(moment(n, seed=1 if n == 3 else 0, **{"raw_output": POLE, **changes}))  # type: ignore[arg-type]
    house.send(spoken("pi-1-b00t-000005", sound(9)))
    return house


def name(n: int) -> str:
    return f"pi-1-b00t-{n:06d}"


def test_similar_are_near_duplicates_of_the_walk_of_which_the_same_was_said(walk: House) -> None:
    row = decisions.get(walk.store, name(0))
    assert row is not None
    assert [other.sample_id for other in batches.similar(walk.store, walk.dataset, row)] == [name(1)]
    corrected = decisions.get(walk.store, name(5))
    assert corrected is not None
    assert batches.similar(walk.store, walk.dataset, corrected) == []


def test_one_decision_is_about_all_that_are_alike_and_each_row_remembers_which_was_looked_at(walk: House) -> None:
    done = server(walk.home, "samples", "review", name(0), "--edit", CURB, "--similar", "--as", "Ben")
    assert done.returncode == 0, done.stderr
    assert f"1 moments like it were decided with it.\n  {name(1)}" in done.stdout
    rows = {row.sample_id: row for row in walk.dataset.rows()}
    assert [(rows[name(n)].ground_truth, rows[name(n)].author, rows[name(n)].batch) for n in (0, 1)] == [
        (CURB, "Ben", ""),
        (CURB, "Ben", name(0)),
    ]
    assert rows[name(3)].state == "pending"
    looked = server(walk.home, "samples", "review", name(1), "--accept")
    assert looked.returncode == 0
    assert {row.sample_id: row.batch for row in walk.dataset.rows()}[name(1)] == ""


def test_a_batch_is_decided_whole_or_not_at_all(walk: House) -> None:
    before = walk.dataset.version()
    with pytest.raises(Refused):
        decisions.review_all(
            walk.store, walk.dataset, [name(0), name(1)], ReviewDecision("edit", "Ben", "mind the unicorn"), now_s=1.0
        )
    with pytest.raises(KeyError):
        decisions.review_all(walk.store, walk.dataset, [name(0), "none"], ReviewDecision("nothing", "Ben"), now_s=1.0)
    assert walk.dataset.version() == before
    assert decisions.counts(walk.store)["pending"] == 6


def test_similar_needs_a_decision(walk: House) -> None:
    assert "--similar needs a decision." in server(walk.home, "samples", "review", name(0), "--similar").stderr
