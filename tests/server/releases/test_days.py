"""A/B by wearer-day: who runs what follows from version, wearer and day alone, and changes once a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.database import store as db
from server.releases import days
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollout_rules import RolloutState
from shared import assignment
from shared.errors import Refused
from tests.server.releases.test_rollout import HOUR_S, NOW_S, RolloutServer

DAY_S = 24 * HOUR_S
NAMED = tuple(f"pi-{number}" for number in range(8))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[RolloutServer]:
    house = RolloutServer(tmp_path)
    house.fleet()
    yield house
    house.registry.close()


def request(**changes: Any) -> RolloutRequest:
    return RolloutRequest(**{"version": "m2", "devices": NAMED, "days_percent": 50, **changes})


def running(house: RolloutServer) -> dict[str, str]:
    """What each of the named devices should run now."""
    house.push.due()
    granted = [grant.assignment() for grant in house.rollouts.granted()]
    return {device: assignment.assigned(granted, device) or "" for device in NAMED}


def expected(at_utc: float, wearers: dict[str, str] | None = None) -> dict[str, str]:
    day = days.day_of(at_utc, days.BEGINS_H)
    worn = wearers or {}
    return {device: "m2" if days.runs("m2", worn.get(device, device), day, 50) else "m1" for device in NAMED}


def wears(house: RolloutServer, device: str, wearer: str) -> None:
    sample = {
        "sample_id": f"{device}-1",
        "device": device,
        "walk_id": "w",
        "row_id": "r",
        "version": 1,
        "state": "pending",
        "priority": 0,
        "captured_at": NOW_S,
        "changed_at": NOW_S,
        "body": {"speaker_id": wearer},
    }
    with house.registry.store.writing() as connection:
        connection.execute(db.samples.insert().values(sample))


def test_each_day_about_half_of_the_wearers_run_it_and_not_always_the_same(house: RolloutServer) -> None:
    house.rollouts.start(request())
    seen = []
    for _ in range(6):
        seen.append(running(house))
        assert seen[-1] == expected(house.clock.utc_s())
        for device, version in seen[-1].items():
            house.says(device, version)
        house.clock.sleep(DAY_S)
    assert {version for of in seen for version in of.values()} == {"m1", "m2"}
    assert any(len({of[device] for of in seen}) == 2 for device in NAMED)


def test_within_a_day_nothing_changes_and_the_day_begins_when_it_was_said(house: RolloutServer) -> None:
    house.rollouts.start(request())
    first, began = running(house), house.clock.utc_s()
    while days.day_of(house.clock.utc_s(), days.BEGINS_H) == days.day_of(began, days.BEGINS_H):
        assert running(house) == first
        house.clock.sleep(3 * HOUR_S)
    assert days.day_of(1_795_230_000.0, 3) != days.day_of(1_795_230_000.0 - 12 * HOUR_S, 3)


def test_two_devices_of_one_wearer_run_the_same(house: RolloutServer) -> None:
    for device in NAMED[:2]:
        wears(house, device, "anna")
    house.rollouts.start(request())
    worn = dict.fromkeys(NAMED[:2], "anna")
    for _ in range(4):
        now = running(house)
        assert now == expected(house.clock.utc_s(), worn)
        assert now["pi-0"] == now["pi-1"]
        house.clock.sleep(DAY_S)


def test_a_device_that_was_heard_of_on_the_champions_days_is_not_missing(house: RolloutServer) -> None:
    house.rollouts.start(request())
    for _ in range(6):
        for device in NAMED:
            house.says(device, "m1")
        house.push.due()
        house.clock.sleep(DAY_S)
    assert house.rollouts.status()[0].rollout.state == RolloutState.RUNNING
    assert house.counts().missing == 0


def test_a_device_that_falls_silent_on_a_day_of_the_new_version_halts_it(house: RolloutServer) -> None:
    house.rollouts.start(request())
    house.push.due()
    house.clock.sleep(60)
    for device in NAMED:
        house.says(device, "m1", "downloading m2 5 %")
    house.push.due()
    house.clock.sleep(80 * HOUR_S)
    house.push.due()
    assert house.rollouts.status()[0].rollout.state == RolloutState.HALTED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"devices": (), "percent": 10}, "named devices or a cohort"),
        ({"devices": ()}, "named devices or a cohort"),
        ({"days_percent": 100}, "1 to 99"),
        ({"days_percent": -3}, "1 to 99"),
        ({"day_begins_h": 24}, "0 to 23"),
    ],
)
def test_what_cannot_be_compared_by_wearer_day_is_refused(
    house: RolloutServer, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        house.rollouts.start(request(**changes))


def test_its_share_is_not_changed_on_the_way(house: RolloutServer) -> None:
    house.rollouts.start(request())
    with pytest.raises(Refused, match="would mix what is compared"):
        house.rollouts.advance(percent=100, force=True)


@settings(max_examples=20)
@given(st.text(max_size=20), st.integers(1, 99))
def test_over_many_days_the_share_is_as_it_was_asked_for(wearer: str, percent: int) -> None:
    drawn = [days.runs("m2", wearer, f"day-{n}", percent) for n in range(400)]
    assert abs(sum(drawn) / 400 - percent / 100) < 0.13  # five standard deviations
