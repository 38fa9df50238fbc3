"""`waycue-server samples hold-out`, `teach` and `golden`."""

from __future__ import annotations

import json

from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment

ID = "pi-1-b00t-{:06d}"


def fill(house: House) -> None:
    for n in range(4):
        house.send(moment(n, walk_id=f"walk-{n // 2}"))
    decisions.review(
        house.store, house.dataset, ID.format(3), ReviewDecision("edit", "Eve", "Stop, cone ahead."), now_s=1.0
    )
    done = server(house.home, "samples", "teach", "walk-0", "walk-1")
    assert done.returncode == 0, done.stderr


def test_a_walk_is_held_out_and_taught_again_and_each_says_what_follows(house: House) -> None:
    fill(house)
    out = server(house.home, "samples", "hold-out", "walk-1")
    assert out.stdout.startswith("walk-1: held out, was: teaches (2 moments). New models are judged on it.")
    assert [row.split for row in house.dataset.rows()] == ["train", "train", "held_out", "held_out"]
    assert "held out, as before" in server(house.home, "samples", "hold-out", "walk-1").stdout
    assert "walk-1: teaches, was: held out" in server(house.home, "samples", "teach", "walk-1").stdout


def test_golden_moments_and_walks_are_added_listed_and_removed(house: House) -> None:
    fill(house)
    done = server(house.home, "samples", "golden", "add", ID.format(0), "walk-1")
    assert done.returncode == 0, done.stderr
    assert f"{ID.format(0)}: golden, was: not golden (1 moments). Nobody learns from it" in done.stdout
    listed = server(house.home, "samples", "golden", "list").stdout
    assert f"{ID.format(3)}  walk-1  Stop, cone ahead." in listed
    assert "3 moments, 1 of them confirmed." in listed
    found = json.loads(server(house.home, "samples", "golden", "list", "--json").stdout)
    assert [(one["sample_id"], one["because"]) for one in found] == [
        (ID.format(0), "a person"),
        (ID.format(2), "its walk"),
        (ID.format(3), "its walk"),
    ]
    server(house.home, "samples", "golden", "remove", ID.format(0), "walk-1")
    assert "0 moments" in server(house.home, "samples", "golden", "list").stdout
    assert {row.split for row in house.dataset.rows()} == {"train"}


def test_a_name_that_is_not_there_is_refused_with_what_is(house: House) -> None:
    fill(house)
    for arguments in (("hold-out", "nowhere"), ("golden", "add", "nothing")):
        done = server(house.home, "samples", *arguments)
        assert done.returncode == 1
        assert "There is no walk" in done.stderr
