"""Who has which devices: never two processes, a fair share each, and what is left behind is taken over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from server.database import store as db
from server.database.store import Store, open_store
from server.ingest.leases import Held, Leases, listing
from server.ingest.partitions import PARTITIONS, PartitionLease, divide, partition_of
from shared.clock import ManualClock

LEASE_S = 10.0
NAMES = ("waycue-server", "waycue-worker-1", "waycue-worker-2", "waycue-worker-3")


@pytest.fixture
def store(memory_path: Path) -> Iterator[Store]:
    with closing(open_store(memory_path)) as opened:
        yield opened


def test_a_device_belongs_to_one_partition_for_ever() -> None:
    assert [partition_of(name) for name in ("anna", "pi-1", "dev-0007")] == [7, 10, 14]
    spread = Counter(partition_of(f"dev-{number:04}") for number in range(1000))
    assert len(spread) == PARTITIONS
    assert min(spread.values()) > 40


def test_each_has_its_share_and_gives_back_what_is_beyond_it() -> None:
    workers = dict.fromkeys(NAMES[:3], 5.0)
    alone = divide(NAMES[0], {}, {}, now_s=0.0, lease_s=LEASE_S)
    assert (len(alone.held), alone.held, alone.leave) == (PARTITIONS, alone.taken, frozenset())
    leases = {number: PartitionLease(NAMES[0], 5.0) for number in alone.held}
    crowded = divide(NAMES[0], workers, leases, now_s=0.0, lease_s=LEASE_S)
    assert (len(crowded.held), len(crowded.leave), crowded.taken) == (PARTITIONS, PARTITIONS - 6, frozenset())
    assert not divide(NAMES[1], workers, leases, now_s=0.0, lease_s=LEASE_S).held  # as long as another has them
    ended = divide(NAMES[1], workers, leases, now_s=5.0, lease_s=LEASE_S)
    assert len(ended.taken) == PARTITIONS  # then the others are dead too


def test_a_lease_of_a_clock_that_was_set_back_counts_as_ended() -> None:
    leases = {number: PartitionLease("of the future", 3600.0) for number in range(PARTITIONS)}
    assert len(divide("me", {}, leases, now_s=0.0, lease_s=LEASE_S).taken) == PARTITIONS


class Fleet:
    """Processes on one database, and what each believes to have."""

    def __init__(self, store: Store) -> None:
        self.clock = ManualClock()
        self.leases = {name: Leases(store, self.clock, name, lease_s=LEASE_S) for name in NAMES}
        self.held = dict.fromkeys(NAMES, Held())
        self.store = store

    def round(self, name: str) -> None:
        """Whoever is told to give something back does so at once."""
        self.held[name] = self.leases[name].round(self.held[name].division.leave)

    def believed(self, name: str) -> frozenset[int]:
        held = self.held[name]
        return held.division.held if self.clock.monotonic_s() < held.until_s else frozenset()

    def check(self) -> None:
        believed = [number for name in NAMES for number in self.believed(name)]
        assert len(set(believed)) == len(believed), "two processes have one partition"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0.0, 6.0)), max_size=30))
def test_whoever_comes_hangs_or_dies_no_two_have_one_partition_and_those_that_live_have_all(
    store: Store, story: list[tuple[str, float]]
) -> None:
    with store.writing() as connection:
        for table in (db.ingest_leases, db.ingest_workers):
            connection.execute(delete(table))
    fleet = Fleet(store)
    for name, passes_s in story:
        fleet.round(name)
        fleet.check()
        fleet.clock.sleep(passes_s)
        fleet.check()
    for _ in range(8):  # from now on only two of them live
        for name in NAMES[:2]:
            fleet.round(name)
            fleet.check()
        fleet.clock.sleep(LEASE_S / 4)
    assert [len(fleet.believed(name)) for name in NAMES[:2]] == [8, 8]
    rows = listing(store, now_s=fleet.clock.utc_s(), lease_s=LEASE_S)
    assert Counter(row.holder for row in rows) == dict.fromkeys(NAMES[:2], 8)


def test_an_orderly_end_gives_everything_back_at_once(store: Store) -> None:
    fleet = Fleet(store)
    fleet.round(NAMES[0])
    fleet.leases[NAMES[0]].end()
    fleet.held[NAMES[0]] = Held()
    fleet.round(NAMES[1])
    assert len(fleet.believed(NAMES[1])) == PARTITIONS


def test_leases_that_are_lost_with_the_database_are_taken_anew(store: Store) -> None:
    fleet = Fleet(store)
    fleet.round(NAMES[0])
    with store.writing() as connection:
        connection.execute(delete(db.ingest_leases))
    fleet.round(NAMES[0])
    assert len(fleet.believed(NAMES[0])) == PARTITIONS
