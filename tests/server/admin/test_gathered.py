"""What the pages read again and again is read once: rows while the log is the same, and what taught a version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.admin.gathered import AGAIN_S, CachedRows, TaughtRows
from server.releases.registry import Registry, Taught
from shared.clock import ManualClock
from tests.server.dataset.moments import House, moment
from tests.shared.bundle.bundles import contents, make_bundle


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    house = House(memory_path / "home")
    yield house
    house.close()


def test_rows_are_read_where_the_log_has_changed_and_a_minute_has_passed(house: House) -> None:
    clock = ManualClock()
    cached = CachedRows(house.dataset, clock)
    assert cached.rows() == ()
    house.send(moment(0))
    first = cached.rows()
    assert len(first) == 1
    house.send(moment(1))
    assert cached.rows() is first, "at most once a minute"
    clock.sleep(AGAIN_S)
    second = cached.rows()
    assert len(second) == 2
    clock.sleep(AGAIN_S)
    assert cached.rows() is second, "nothing has changed"


def test_the_rows_that_taught_are_read_once_for_each_version(house: House, tmp_path: Path) -> None:
    registry = Registry(house.home, store=house.store)
    for name, rows in (("m1", ("a#1:ff",)), ("m2", ("b#2:00", "a#1:ff"))):
        make_bundle(tmp_path / name, name, contents({"a.onnx": 500}, seed=int(name[1:])))
        registry.add(tmp_path / name, taught=Taught(rows, 1, "1:x", "", 1.0))
    taught = TaughtRows(registry)
    assert taught.rows() == {"a#1", "b#2"}
    (registry.get("m1").folder / "taught_by.txt").write_text("c#1:00\n")
    assert taught.rows() == {"a#1", "b#2"}
