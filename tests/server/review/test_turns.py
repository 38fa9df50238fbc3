"""Leases, whose turn it is, skips: two people never hold one moment, and a skip blocks nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.access.person import Person, Role
from server.review import leases, marks, searching, skipping, turns
from server.review.leases import LEASE_S
from server.review.moment_filter import ALL_PENDING, MomentFilter
from tests.server.dataset.moments import House, moment
from tests.server.review.deciding import NOW_S, decide, name, row_of

T = NOW_S


def fill(house: House, count: int) -> None:
    house.send_together([moment(n, seed=0) for n in range(count)])


def held(house: House, person: str, now_s: float = T, wanted: MomentFilter = ALL_PENDING) -> str:
    turn = turns.next_for(house.store, person, wanted, now_s=now_s)
    return turn.row.sample_id if turn else ""


def test_a_lease_has_a_name_ends_by_itself_and_is_renewed(desk: House) -> None:
    fill(desk, 1)
    assert leases.take(desk.store, name(0), "Ana", now_s=T).until == T + LEASE_S
    assert leases.take(desk.store, name(0), "Ben", now_s=T + 60).person == "Ana"
    assert leases.take(desk.store, name(0), "Ana", now_s=T + 60).until == T + 60 + LEASE_S
    assert leases.take(desk.store, name(0), "Ben", now_s=T + 60 + LEASE_S).person == "Ben"
    assert leases.standing(desk.store, [name(0)], now_s=T + 300)[name(0)].person == "Ben"
    leases.release(desk.store, "Ana", name(0))
    assert leases.standing(desk.store, [name(0)], now_s=T + 300)[name(0)].person == "Ben", "not Ana's to give back"
    leases.release(desk.store, "Ben")
    assert leases.standing(desk.store, [name(0)], now_s=T + 300) == {}


def test_each_gets_another_one_and_the_same_again_until_it_is_done(desk: House) -> None:
    fill(desk, 3)
    assert [held(desk, who) for who in ("Ana", "Ben", "Ana", "Cleo", "Dan")] == [name(2), name(1), name(2), name(0), ""]
    decide(desk, row_of(desk, name(2)).row_id, by="Ana", action="nothing")
    assert held(desk, "Ana") == "", "the others have the rest"
    assert held(desk, "Ana", T + LEASE_S + 1) == name(1), "until their browsers have been silent for so long"


def test_a_decision_ends_the_lease_whoever_had_it(desk: House) -> None:
    fill(desk, 1)
    held(desk, "Ana")
    decide(desk, row_of(desk, name(0)).row_id, by="Ben", action="nothing")
    assert leases.standing(desk.store, [name(0)], now_s=T) == {}


@pytest.mark.both_databases
def test_what_was_skipped_comes_after_the_rest_the_longest_skipped_first_and_after_a_day_in_its_place(
    desk: House,
) -> None:
    fill(desk, 12)
    for n in range(11, 1, -1):
        assert held(desk, "Ana", T + 12 - n) == name(n)
        marks.skip(desk.store, name(n), "Ana", now_s=T + 12 - n)
    assert held(desk, "Ana", T + 20) == name(1), "ten skipped moments do not block the front"
    assert held(desk, "Ben", T + 20) == name(11), "they are the one's who skipped them"
    leases.release(desk.store, "Ben")
    for n in (1, 0):
        decide(desk, row_of(desk, name(n)).row_id, by="Ana", action="nothing")
    assert held(desk, "Ana", T + 20) == name(11), "the first that was skipped"
    listed = searching.find(desk.store, MomentFilter(), person="Ana", now_s=T + 20)
    assert [row.sample_id for row in listed][:2] == [name(11), name(10)]
    marks.skip(desk.store, name(11), "Ana", now_s=T + 21)
    assert held(desk, "Ana", T + 22) == name(10)
    marks.unskip(desk.store, name(3), "Ana")
    assert held(desk, "Ana", T + 23) == name(3)
    later = T + 23 + skipping.SKIPPED_S
    assert held(desk, "Ana", later) == name(11), "a day later it is new"
    assert len(searching.find(desk.store, MomentFilter(skipped_by="Ana"), now_s=later)) == 9


def test_a_turn_is_of_the_filter(desk: House) -> None:
    desk.send_all([moment(0, wearer="Ada"), moment(1, wearer="Bea"), moment(2, wearer="Bea")])
    assert held(desk, "Ana", wanted=MomentFilter(wearer="Ada")) == name(0)
    assert held(desk, "Ben", wanted=MomentFilter(seen_by=Person("Ben", Role.CAREGIVER, frozenset({"Ada"})))) == ""


def test_threads_that_ask_at_once_never_hold_one_moment(desk: House) -> None:
    fill(desk, 8)
    start = threading.Barrier(8)

    def one(number: int) -> str:
        start.wait(60)
        return held(desk, f"person {number}")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))
    assert sorted(found) == [name(n) for n in range(8)]


@pytest.mark.both_databases
def test_two_processes_that_ask_at_once_never_hold_one_moment(desk: House) -> None:
    fill(desk, 10)
    program = (
        "import sys\nfrom pathlib import Path\nfrom server.database.store import open_store\n"
        "from server.review import turns\nstore = open_store(Path(sys.argv[1]))\nprint('ready', flush=True)\n"
        "sys.stdin.readline()\nfor n in range(5):\n"
        f"    print(turns.next_for(store, f'{{sys.argv[2]}} {{n}}', now_s={T}).row.sample_id)\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(desk.home), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("Ana", "Ben")
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    found = [line for one in both for line in one.communicate(timeout=60)[0].split()]
    assert sorted(found) == [name(n) for n in range(10)]
