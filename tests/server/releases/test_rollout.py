"""Rollouts: some devices first, all when it went well, none when it did not; silence counts as going wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.commands.main import main
from server.database import store as db
from server.releases.offers import Offers
from server.releases.registry import Registry
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollout_rules import (
    Champion,
    DeviceOutcome,
    OutcomeCounts,
    Rollout,
    RolloutState,
    UpdateOutcome,
    count,
    grants,
    halt_reason,
    next_percent,
    outcome_now,
    version_for,
)
from server.releases.rollouts import Rollouts
from server.releases.signing import Release
from shared import messages
from shared.clock import ManualClock
from shared.errors import BundleError, Refused
from shared.messages import Offer, Status
from tests.shared.bundle.bundles import contents, flip_byte, make_bundle

NOW_S = 1_795_200_000.0
HOUR_S = 3600.0
FLEET = tuple(f"pi-{number}" for number in range(20))
ONE = Rollout(1, "m2", RolloutState.RUNNING, 0, (), "", 0.1, 72 * HOUR_S, 100.0, 100.0, "")


class RolloutServer:
    def __init__(self, place: Path) -> None:
        self.place, self.clock = place, ManualClock(epoch_s=NOW_S)
        self.registry = Registry(place / "home", clock=self.clock)
        self.push = Offers(self.registry, clock=self.clock, release=Release.make(place / "home", clock=self.clock))
        self.rollouts: Rollouts = self.push.rollouts
        for number in (1, 2, 3):
            make_bundle(place / f"m{number}", f"m{number}", contents({"a.onnx": 500}, seed=number))
            self.registry.add(place / f"m{number}")
        self.registry.promote("m1", "first")
        self.clock.sleep(1)

    def says(self, device: str, version: str, state: str = "idle", *, online: bool = True) -> None:
        """A status of a device."""
        status = messages.to_dict(Status(online=online, model_version=version, model_state=state))
        row = {"seen_at": self.clock.utc_s(), "online": online, "status": status}
        with self.registry.store.writing() as connection:
            connection.execute(db.devices.delete().where(db.devices.c.device == device))
            connection.execute(db.devices.insert().values(device=device, **row))

    def fleet(self) -> None:
        for device in FLEET:
            self.says(device, "m1")

    def enrol(self, device: str, cohort: str, *, revoked_at: float | None = None) -> None:
        row = {"device": device, "cohort": cohort, "added_at": 0.0, "revoked_at": revoked_at, "why": ""}
        with self.registry.store.writing() as connection:
            connection.execute(db.enrolments.insert().values(row))

    def offered(self) -> dict[str, str]:
        """What is due to be offered: device → version."""
        return {topic.split("/")[2]: messages.decode(Offer, data).version for topic, data in self.push.due()}

    def counts(self) -> OutcomeCounts:
        return self.rollouts.status()[0].counts


@pytest.fixture
def house(tmp_path: Path) -> Iterator[RolloutServer]:
    house = RolloutServer(tmp_path)
    yield house
    house.registry.close()


# --- who gets what ---


def test_without_a_rollout_every_device_is_offered_the_champion(house: RolloutServer) -> None:
    house.fleet()
    assert house.offered() == dict.fromkeys(FLEET, "m1")
    assert house.offered() == {}


def test_one_device_first_then_a_tenth_then_all_then_the_champion(house: RolloutServer) -> None:
    house.fleet()
    house.offered()
    house.rollouts.start(RolloutRequest("m2", devices=["pi-3"], why="the night's model"))
    assert house.offered() == {"pi-3": "m2"} | {device: "m1" for device in FLEET if device != "pi-3"}
    house.says("pi-3", "m2")
    house.offered()
    assert house.counts() == OutcomeCounts(1, proven=1)
    assert house.rollouts.advance().percent == 10
    house.offered()
    covered = {one.device for one in house.rollouts.status()[0].outcomes}
    assert "pi-3" in covered
    assert 1 <= len(covered) <= 8
    for device in covered:
        house.says(device, "m2")
    house.offered()
    assert house.rollouts.advance().percent == 100
    assert set(house.offered().values()) == {"m2"}
    house.rollouts.finish()
    assert house.registry.champion() == "m2"
    assert house.rollouts.status()[0].rollout.state == "finished"
    changes = [(change.version, change.what) for change in house.rollouts.log()]
    expected = ["started for pi-3", "advanced to 10 %", "advanced to 100 %", "finished"]
    assert changes == [("m2", what) for what in expected]


def test_a_cohort_is_offered_together_and_revoked_devices_are_left_out(house: RolloutServer) -> None:
    house.enrol("pi-1", "testers")
    house.enrol("pi-2", "testers")
    house.enrol("pi-4", "testers", revoked_at=1.0)
    house.fleet()
    house.rollouts.start(RolloutRequest("m2", cohort="testers"))
    found = house.offered()
    assert {device for device, version in found.items() if version == "m2"} == {"pi-1", "pi-2"}
    with pytest.raises(Refused, match="No device belongs"):
        house.rollouts.start(RolloutRequest("m3", cohort="nobody"))


def test_two_rollouts_at_once_the_later_one_wins_where_they_meet(house: RolloutServer) -> None:
    house.fleet()
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1", "pi-2"]))
    house.rollouts.start(RolloutRequest("m3", devices=["pi-2"]))
    found = house.offered()
    assert (found["pi-1"], found["pi-2"], found["pi-3"]) == ("m2", "m3", "m1")
    with pytest.raises(Refused, match="2 rollouts are running: m2, m3"):
        house.rollouts.halt()
    house.rollouts.halt("m3")
    assert house.offered()["pi-2"] == "m2"


def test_a_champion_promoted_later_overtakes_a_rollout(house: RolloutServer) -> None:
    house.fleet()
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1"]))
    house.offered()
    house.clock.sleep(60)
    house.registry.promote("m3", "the next night")
    assert house.offered() == dict.fromkeys(FLEET, "m3")
    assert house.rollouts.status()[0].rollout.state == "overtaken"


def test_what_cannot_be_rolled_out_is_refused(house: RolloutServer) -> None:
    with pytest.raises(Refused, match="There is no model m9"):
        house.rollouts.start(RolloutRequest("m9", percent=10))
    with pytest.raises(Refused, match="Nobody is named"):
        house.rollouts.start(RolloutRequest("m2"))
    with pytest.raises(Refused, match="is the champion"):
        house.rollouts.start(RolloutRequest("m1", percent=10))
    house.rollouts.start(RolloutRequest("m2", percent=10))
    with pytest.raises(Refused, match="is running"):
        house.rollouts.start(RolloutRequest("m2", percent=20))
    with pytest.raises(Refused, match="0 devices have proven it"):
        house.rollouts.advance()
    with pytest.raises(Refused, match="name a higher share"):
        house.rollouts.advance(percent=5, force=True)
    assert house.rollouts.advance(percent=50, force=True).percent == 50
    flip_byte(house.registry.bundle_folder("m3") / "a.onnx")
    with pytest.raises(BundleError):
        house.rollouts.start(RolloutRequest("m3", percent=10))


def test_a_halted_rollout_offers_the_champion_under_newer_metadata_and_can_be_begun_again(house: RolloutServer) -> None:
    house.says("pi-1", "m1")
    house.offered()
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1"]))
    assert house.offered() == {"pi-1": "m2"}
    first = house.push.offer_for("pi-1")
    house.rollouts.halt(why="it talks too much")
    assert house.offered() == {"pi-1": "m1"}
    second = house.push.offer_for("pi-1")
    assert first is not None
    assert second is not None
    before, after = (messages.decode(Offer, reply[1]) for reply in (first, second))
    assert after.revision > before.revision
    assert versions(after) > versions(before)
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1"]))
    assert house.offered() == {"pi-1": "m2"}


def versions(offer: Offer) -> list[int]:
    return [int(one.name.split(".")[0]) for one in offer.metadata if one.name[0].isdigit()]


# --- stopping by itself ---


def test_one_failure_halts_a_rollout_to_few_and_a_tenth_of_failures_one_to_many(house: RolloutServer) -> None:
    house.fleet()
    house.rollouts.start(RolloutRequest("m2", devices=FLEET))
    house.offered()
    for device in FLEET[:2]:
        house.says(device, "m1", "refused: m2: self-test: stop cases: 3 of 8 are wrong")
    house.offered()
    assert house.rollouts.status()[0].rollout.state == RolloutState.RUNNING  # 2 of 20 are a tenth
    house.says(FLEET[2], "m1", "refused: m2: it failed on probation")
    assert set(house.offered().values()) == {"m1"}
    found = house.rollouts.status()[0]
    assert found.rollout.state == "halted"
    assert found.rollout.why == "3 of 20 devices failed and 0 sent no result; 2 are allowed (10%)"
    reasons = {one.device: one.reason for one in found.outcomes if one.outcome == UpdateOutcome.FAILED}
    assert reasons["pi-0"] == "self-test: stop cases: 3 of 8 are wrong"


def test_a_device_that_falls_silent_with_the_new_model_counts_as_failed(house: RolloutServer) -> None:
    house.says("pi-1", "m1")
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1"], missing_after_s=24 * HOUR_S))
    house.offered()
    house.clock.sleep(60)
    house.says("pi-1", "m1", "downloading m2 40 %")
    house.says("pi-1", "m1", online=False)  # the last will
    house.clock.sleep(23 * HOUR_S)
    house.offered()
    assert house.counts().waiting == 1
    house.clock.sleep(2 * HOUR_S)
    assert house.offered() == {"pi-1": "m1"}
    assert house.counts() == OutcomeCounts(1, missing=1)


def test_a_device_that_was_switched_off_all_the_time_is_waited_for(house: RolloutServer) -> None:
    house.says("pi-1", "m1", online=False)
    house.clock.sleep(1)
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1"], missing_after_s=HOUR_S))
    house.offered()
    house.clock.sleep(1000 * HOUR_S)
    house.push.due()
    assert house.counts() == OutcomeCounts(1, waiting=1)


def test_what_was_proven_stays_proven_whatever_comes_later(house: RolloutServer) -> None:
    house.says("pi-1", "m1")
    house.rollouts.start(RolloutRequest("m2", devices=["pi-1"], missing_after_s=HOUR_S))
    house.offered()
    house.says("pi-1", "m2", "probation m2 3/20")
    house.offered()
    assert house.counts().waiting == 1
    house.says("pi-1", "m2")
    house.offered()
    house.says("pi-1", "m2", online=False)
    house.clock.sleep(1000 * HOUR_S)
    house.push.due()
    assert house.counts() == OutcomeCounts(1, proven=1)
    assert house.rollouts.status()[0].rollout.state == RolloutState.RUNNING


# --- pure ---

OUTCOMES = st.sampled_from(list(UpdateOutcome))


@given(st.lists(OUTCOMES, max_size=60), st.floats(0, 1))
def test_it_halts_exactly_when_more_than_its_share_is_bad(outcomes: list[UpdateOutcome], share: float) -> None:
    counts = count(DeviceOutcome(f"d{number}", 0.0, outcome) for number, outcome in enumerate(outcomes))
    reason = halt_reason(replace(ONE, error_share=share), counts)
    assert counts.covered == len(outcomes)
    assert bool(reason) == (counts.bad > int(share * counts.covered))


@given(st.lists(st.sampled_from(("m1", "m2", "m3")), unique=True), st.integers(0, 100), st.integers(0, 100))
def test_a_device_gets_the_newest_version_it_may_run_and_always_one(order: list[str], first: int, second: int) -> None:
    running = [
        replace(ONE, id=number, version=version, percent=percent, started_utc=1000.0 + number)
        for number, (version, percent) in enumerate(zip(order, (first, second, 100), strict=False))
    ]
    granted = grants(Champion("m0", 500.0), running, {})
    for device in FLEET[:5]:
        assert version_for(granted, device) in {"m0", *order}
    if order and len(order) == 3:
        assert {version_for(granted, device) for device in FLEET[:5]} == {order[2]}


@given(st.integers(0, 100))
def test_the_stages_only_rise_and_end(percent: int) -> None:
    found = next_percent(replace(ONE, percent=percent))
    assert found is None if percent == 100 else found is not None and found > percent


def test_a_status_from_before_the_offer_proves_nothing() -> None:
    known = DeviceOutcome("pi-1", 200.0, UpdateOutcome.WAITING)
    status = Status(online=True, model_version="m2", model_state="idle")
    assert outcome_now(known, ONE, status, 199.0, 300.0).outcome == UpdateOutcome.WAITING
    assert outcome_now(known, ONE, status, 201.0, 300.0).outcome == UpdateOutcome.PROVEN
    assert outcome_now(known, ONE, None, None, 10**9).outcome == UpdateOutcome.WAITING


# --- by hand ---


def test_the_commands_do_it_and_tell_it(house: RolloutServer, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(house.place / "home"), "rollout"]
    assert main([*home, "status"]) == 0
    assert "No rollouts yet" in capsys.readouterr().out
    assert main([*home, "start", "m2", "--device", "pi-1", "--percent", "25", "--error-share", "0"]) == 0
    assert "Rollout 1: m2 is offered to 25 % of all devices and pi-1." in capsys.readouterr().out
    house.says("pi-1", "m1")
    house.offered()
    assert main([*home, "advance"]) == 1
    assert "0 devices have proven it" in capsys.readouterr().err
    assert main([*home, "advance", "--all", "--force"]) == 0
    house.says("pi-1", "m1", "refused: m2: no")
    house.offered()
    assert main([*home, "status"]) == 0
    out = capsys.readouterr().out
    assert "m2  halted since" in out
    assert "pi-1: failed, no" in out
    assert main([*home, "status", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["rollouts"][0]["tally"]["failed"] == 1
    assert [change["what"] for change in value["log"]] == ["started for 25 % and pi-1", "advanced to 100 %", "halted"]
    assert main([*home, "halt"]) == 1
    assert main([*home, "start", "m3", "--all"]) == 0
    assert main([*home, "finish"]) == 0
    assert "m3 is the champion" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [["--percent", "101"], ["--percent", "-1"], ["--error-share", "2"], ["--missing-after-h", "0"]]
)
def test_numbers_that_make_no_sense_are_refused(
    house: RolloutServer, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["--home", str(house.place / "home"), "rollout", "start", "m2", *wrong])
    except SystemExit as error:
        status = int(str(error.code))
    assert status in (1, 2)
    assert house.rollouts.status() == ()
