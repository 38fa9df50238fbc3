"""An enrolled device follows only what its server signed for it: real keys, real metadata, a wire that lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device.updates.state_file import load_state
from server.releases.rollout_requests import RolloutRequest
from shared import bundle, messages
from shared.clock import ManualClock
from shared.floor import ClockFloor
from shared.messages import Offer
from tests.device.updates.house import DAY_S, DEVICE, NOW_S, QUICK, Device, Server, SignedHouse, altered
from tests.shared.bundle.bundles import contents


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SignedHouse]:
    house = SignedHouse(tmp_path, dict.fromkeys(("m1", "m2", "m3"), bundle.DEMO))
    yield house
    house.close()


def test_a_signed_offer_is_checked_before_anything_else_is_fetched(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    offer = messages.decode(Offer, house.offers() or b"")
    names = [one.name.split(".")[-2] for one in offer.metadata]
    assert names == ["timestamp", "snapshot", "targets"]
    house.device.updater.on_offer(messages.encode(offer))
    house.device.go(lambda: house.device.updater.phase == "manifest")
    assert set(house.device.carried) == {one.sha256 for one in offer.metadata}
    assert house.follow() == "idle"
    assert house.device.current == "m1"


def test_an_unsigned_offer_is_refused_by_an_enrolled_device(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.device.updater.on_offer(altered(house.offers(), metadata=[]))
    house.device.updater.tick()
    assert "is not signed" in house.device.text()
    assert not house.device.wire


def test_an_offer_of_a_model_that_was_not_signed_for_this_device_is_refused(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.server.push.rollouts.start(RolloutRequest("m2", devices=["pi-2"]))
    mine = house.offers()
    other = house.enrolled("pi-2")
    theirs = house.offers(other)
    assert house.follow(theirs, other) == "idle"
    assert other.current == "m2"
    other.updater.close()
    assert "refused: m2" in house.follow(theirs)
    assert house.device.current == ""
    assert house.follow(mine) == "idle"
    assert house.device.current == "m1"


def test_a_replayed_old_offer_is_refused_whatever_revision_it_claims(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    old = house.offers()
    house.follow(old)
    house.clock.sleep(10)
    house.server.registry.promote("m2", "better")
    house.follow()
    assert house.device.current == "m2"
    text = house.follow(altered(old, revision=2**50))
    assert "refused: m1" in text
    assert house.device.current == "m2"
    house.clock.sleep(10)
    house.server.registry.promote("m3", "better still")  # the high revision of the replay shuts nothing out
    assert house.follow() == "idle"
    assert house.device.current == "m3"


def test_an_offer_signed_by_other_keys_is_refused_and_the_download_under_way_goes_on(
    house: SignedHouse, tmp_path: Path
) -> None:
    large = contents({"vision_encoder.onnx": 3_000_000})
    house.server.register("m4", large)
    house.server.registry.promote("m4", "first")
    payload = house.offers()
    assert payload is not None
    house.device.updater.on_offer(payload)
    house.device.go(lambda: house.device.carried.total() > 1_000_000)

    foreign = Server(tmp_path / "foreign", clock=house.clock, signed=True)
    foreign.register("evil", contents(seed=9))
    foreign.registry.promote("evil", "mine")
    reply = foreign.push.offer_for(DEVICE)
    assert reply is not None
    house.device.server = foreign  # whoever sends offers sends the metadata too
    house.device.updater.on_offer(reply[1])
    house.device.go(lambda: house.device.updater.counters["distrusted"] == 1)
    house.device.server = house.server
    house.device.go(lambda: house.device.updater.phase == "probation")
    assert house.device.current == "m4"
    assert house.device.carried.total() < 3_000_000 + QUICK.window_bytes + 20_000  # what had come was kept
    foreign.registry.close()


def test_frozen_metadata_block_updates_until_they_are_renewed_and_nothing_else(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.follow()
    house.clock.sleep(10)
    house.server.registry.promote("m2", "better")
    frozen = house.offers()
    house.clock.sleep(30 * DAY_S)
    text = house.follow(frozen)
    assert text.startswith("checking the offer of m2")
    assert "expired" in text
    assert house.device.current == "m1"
    assert house.device.loaded == ["m1"]
    assert house.follow() == "idle"  # due signatures are renewed before the next offer
    assert house.device.current == "m2"


def test_renewed_signatures_reach_a_device_that_runs_the_model_already(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.follow()
    assert [topic for topic, _ in house.server.push.due()] == []
    house.clock.sleep(10 * DAY_S)
    ((_, renewed),) = house.server.push.due()
    before = house.device.carried.total()
    assert house.follow(renewed) == "idle"
    assert 0 < house.device.carried.total() - before < 3_000  # the metadata, and nothing of the model
    assert ClockFloor(house.device.state_dir / "trust", ManualClock(epoch_s=0.0)).floor_s() >= NOW_S + 10 * DAY_S
    assert house.device.loaded == ["m1"]


def test_newer_metadata_for_a_model_that_waits_to_be_switched_do_not_start_it_over(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.follow()
    house.clock.sleep(10)
    house.server.registry.promote("m2", "better")
    house.device.standing = False
    house.device.updater.on_offer(house.offers() or b"")
    house.device.go(lambda: house.device.updater.phase == "ready")
    tests = len(house.device.selftests)
    house.clock.sleep(10 * DAY_S)
    house.device.updater.on_offer(house.offers() or b"")
    house.device.updater.tick()
    assert house.device.updater.phase == "ready"
    assert len(house.device.selftests) == tests
    house.device.standing = True
    house.device.go(lambda: house.device.updater.phase == "probation")
    house.device.prove()
    assert house.device.current == "m2"


def test_going_back_to_the_old_model_is_a_new_signature_and_fetches_nothing_of_it(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.follow()
    house.clock.sleep(10)
    house.server.push.rollouts.start(RolloutRequest("m2", devices=[DEVICE]))
    house.follow()
    assert house.device.current == "m2"
    house.clock.sleep(10)
    house.server.push.rollouts.halt(why="worse")
    ((_, back),) = house.server.push.due()
    before = house.device.carried.total()
    house.follow(back)
    assert house.device.current == "m1"
    assert house.device.carried.total() - before < 4_000


def test_an_update_from_before_the_enrolment_ends_with_it(house: SignedHouse) -> None:
    plain = Server(house.place / "plain")
    plain.register("m9", contents(seed=9))
    state = house.place / "late"
    device = Device(state, plain)
    device.updater.on_offer(plain.offer("m9"))
    device.go(lambda: device.updater.phase == "files")
    device.updater.close()
    assert load_state(state / "models").phase == "files"
    enrolled = house.enrolled("late")
    assert enrolled.updater.phase == "idle"
    assert "before the enrolment" in enrolled.text()
    enrolled.updater.close()
    plain.registry.close()


@pytest.mark.parametrize(
    "metadata",
    [
        [("timestamp.json", 10**7)],
        [(f"{number}.root.json", 100) for number in range(1, 300)],
        [("timestamp.json", 100), ("timestamp.json", 100)],
        [("manifest.json", 100)],
        [("0.root.json", 100)],
    ],
)
def test_metadata_that_are_too_large_too_many_or_misnamed_are_not_fetched(
    house: SignedHouse, metadata: list[tuple[str, int]]
) -> None:
    house.server.registry.promote("m1", "first")
    entries = [{"name": name, "size_bytes": size, "sha256": "0" * 64} for name, size in metadata]
    house.device.updater.on_offer(altered(house.offers(), metadata=entries))
    house.device.updater.tick()
    assert house.device.updater.counters["refused"] == 1
    assert not house.device.wire


def test_a_server_that_cannot_sign_offers_nothing(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.clock.epoch_s = 0.0  # a server without time signs nothing, and nothing goes out unsigned
    assert house.offers() is None
    assert house.server.push.due() == []
    assert house.server.push.counters["unsigned"] == 2
    house.clock.epoch_s = NOW_S
    assert house.follow() == "idle"


def test_the_metadata_before_the_newest_can_still_be_pulled(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    offer = messages.decode(Offer, house.offers() or b"")
    house.clock.sleep(10)
    house.server.registry.promote("m2", "better")
    assert house.offers() != messages.encode(offer)
    for one in offer.metadata:
        want = messages.Want(one.sha256, ((0, one.size_bytes),))
        ((_, data),) = house.server.push.blocks.handle(DEVICE, ["up", "want"], messages.encode(want))
        assert len(data) == one.size_bytes


def test_offers_stay_small_whatever_they_name(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    offer = messages.decode(Offer, house.offers() or b"")
    many = replace(offer, metadata=offer.metadata * 80)
    assert len(messages.encode(many)) < messages.MAX_MESSAGE_BYTES
