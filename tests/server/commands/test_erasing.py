"""`waycue-server samples erase`: a moment or a walk is gone from logs, database, files and pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.maintenance.check import check
from shared.clock import SystemClock
from tests.server.commands.terminal import at_terminal, server
from tests.server.dataset.moments import House, moment, sound, spoken

BIN = "Caution, bin ahead."
SECRET = "the red door of Anna"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """0 and 1: walk-1, the first of them corrected; 2: walk-2."""
    house = House(tmp_path / "home")
    for n in range(3):
        house.send(moment(n, raw_output=BIN, walk_id="walk-2" if n == 2 else "walk-1", context=SECRET))
    said = spoken(name(0), sound(9))
    house.send(said)
    house.merge.put_transcript("pi-1", said.record.correction_id, transcript=SECRET, confidence=0.9, proposal="")
    yield house
    house.close()


def name(n: int) -> str:
    return f"pi-1-b00t-{n:06d}"


def left(house: House) -> list[str]:
    return [row.sample_id for row in house.dataset.rows()]


def test_an_erased_moment_is_nowhere_and_is_refused_when_its_device_sends_it_again(house: House) -> None:
    done = server(house.home, "samples", "erase", name(0), "--yes")
    assert (done.returncode, done.stdout[:9]) == (0, "1 erased."), done.stderr
    assert left(house) == [name(1), name(2)]
    rest = [path for path in house.home.rglob("*") if path.is_file() and name(0).encode() in path.read_bytes()]
    logs = b"".join(path.read_bytes() for path in house.home.rglob("*.jsonl"))
    assert logs.count(SECRET.encode()) == 4, "a record and a row of each of the two others"
    assert {path.suffix for path in rest} <= {".jsonl", ".sqlite", ".sqlite-wal"}, "its id is kept, to refuse it"
    again = moment(0, raw_output=BIN, walk_id="walk-1", context=SECRET)
    assert house.merge.put_record("pi-1", "chunk", again.record).state == "refused"
    assert check(house.home, clock=SystemClock(), repair=False).well


def test_a_walk_is_erased_whole(house: House) -> None:
    assert server(house.home, "samples", "erase", "walk-1", "--yes").stdout.startswith("2 erased.")
    assert left(house) == [name(2)]


@pytest.mark.parametrize("names", [(name(0), "none"), ("none",), ("../..",), ("",)])
def test_a_name_that_is_none_erases_nothing(house: House, names: tuple[str, ...]) -> None:
    done = server(house.home, "samples", "erase", *names, "--yes")
    assert done.returncode == 1
    assert "There is no moment or walk" in done.stderr
    assert len(left(house)) == 3


def test_without_yes_nothing_is_erased_where_nobody_can_be_asked(house: House) -> None:
    done = server(house.home, "samples", "erase", name(0))
    assert done.returncode == 1
    assert "add --yes" in done.stderr
    assert len(left(house)) == 3


def test_a_person_is_asked_and_anything_but_yes_erases_nothing(house: House) -> None:
    with at_terminal(house.home, "samples", "erase", "walk-1") as terminal:
        terminal.expect("Erase 2 moments for good, with pictures, sounds and words? (y/n) ")
        terminal.type("\n")
        terminal.expect("Nothing was erased.")
        assert terminal.end() == 1
    assert len(left(house)) == 3
