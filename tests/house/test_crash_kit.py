"""The crash kit really kills, at each step, and what the verdict says is reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared import atomic
from tests import crash
from tests.crash import HALF_WRITTEN, Killer


def life(here: Path, killer: Killer) -> None:
    killer.watch()
    atomic.write_bytes(here / "a", b"1")
    killer("between")
    atomic.write_bytes(here / "b", b"2")


def verdict(here: Path) -> list[str]:
    """`b` is never there without `a`."""
    return [] if (here / "a").exists() or not (here / "b").exists() else ["b without a"]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "template").mkdir()
    return tmp_path / "template"


def test_a_life_is_killed_once_at_each_of_its_steps(tmp_path: Path, template: Path) -> None:
    tries = list(crash.tries(tmp_path, template, life, verdict))
    assert [one.step for one in tries] == list(range(len(tries)))
    assert [one.problems for one in tries] == [[]] * len(tries)
    labels = [one.label for one in tries]
    assert labels.count("between") == 1
    assert labels.count("replace in writing") == 0
    assert labels.count("replace in write_bytes > writing") == 2
    few = list(crash.tries(tmp_path, template, life, verdict, chosen=crash.first_and_last))
    assert {one.label for one in few} == set(labels)


def test_what_is_wrong_afterwards_is_reported(tmp_path: Path, template: Path) -> None:
    def backwards(here: Path, killer: Killer) -> None:
        (here / "b").touch()
        killer("between")

    def stuck(here: Path) -> list[str]:
        raise RuntimeError("it never ends")

    (one,) = crash.tries(tmp_path, template, backwards, verdict)
    assert (one.label, one.problems) == ("between", ["b without a"])
    (one,) = crash.tries(tmp_path, template, backwards, stuck)
    assert one.problems == ["it did not come to its end"]


def test_a_step_can_be_named_with_its_occurrence(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def named() -> None:
        killer = Killer(log, name="y", nth=2)
        for label in "xyxyxy":
            killer(label)

    assert crash.fork(named).was_killed
    assert log.read_text().split() == list("xyxy")
    assert crash.fork(lambda: Killer(name="z")("y")).status == 0


def test_a_block_is_half_written_before_the_kill_and_calls_that_are_not_ours_are_no_steps(tmp_path: Path) -> None:
    def write() -> None:
        killer = Killer(tmp_path / "log", name=HALF_WRITTEN, packages=("tests",))
        killer.watch_half_writes()
        os.write(os.open(tmp_path / "half", os.O_WRONLY | os.O_CREAT), b"12345678")

    assert crash.fork(write).was_killed
    assert (tmp_path / "half").read_bytes() == b"1234"

    def foreign() -> None:
        killer = Killer(tmp_path / "none")
        killer.watch()
        os.unlink(tmp_path / "half")

    assert crash.fork(foreign).status == 0
    assert not (tmp_path / "none").exists()
