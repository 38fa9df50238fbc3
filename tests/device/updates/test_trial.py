"""A model on trial, on an enrolled device: it guides whom the newest signed word names, and nobody once that ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.updates.state_file import load_denied
from device.updates.tuf_client import Trust
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollout_rules import Grant
from server.releases.signing import ReleaseTarget
from shared import bundle
from shared.errors import Refused, Transient
from shared.floor import ClockFloor
from tests.device.updates.house import DAY_S, DEVICE, Device, Server, SignedHouse, altered
from tests.shared.bundle.bundles import contents

USES = {"m1": bundle.FIELD, "m2": bundle.FIELD, "t1": bundle.TRIAL, "t2": bundle.TRIAL, "d1": bundle.DEMO}


class Trials(SignedHouse):
    """Its devices guide walks; m1 and m2 are for the field, t1 and t2 on trial, d1 is a demonstration."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, USES, uses=bundle.FOR_WALKS)

    def promote(self, version: str) -> None:
        self.clock.sleep(10)
        self.server.registry.promote(version, "in the test")

    def trial(self, version: str = "t1", *, device: str = DEVICE) -> None:
        self.clock.sleep(10)
        self.server.push.rollouts.start(RolloutRequest(version, devices=[device], supervised=True, companion="Carla"))

    def halt(self) -> None:
        self.clock.sleep(10)
        self.server.push.rollouts.halt(why="enough")

    def says(self, device: Device | None = None) -> bytes:
        offer = self.offers(device)
        assert offer is not None
        return offer


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Trials]:
    house = Trials(tmp_path)
    yield house
    house.close()


# --- whom it guides ---


def test_a_supervised_wearer_gets_the_trial_and_keeps_it_over_a_restart_without_a_link(house: Trials) -> None:
    house.promote("m1")
    assert house.follow() == "idle"
    house.trial()
    assert house.follow() == "idle"
    assert house.device.loaded == ["m1", "t1"]
    house.device.online = False
    house.device.restart()
    assert house.device.current == "t1"
    assert house.device.updater.current_barred is None


def test_a_trial_that_was_offered_without_supervision_is_refused_before_it_is_fetched(house: Trials) -> None:
    """A server that was broken into, or another software: it signs a share of all devices."""
    model = house.server.registry.get("t1")
    house.release.publish([ReleaseTarget(Grant("t1", 1, 100), model.manifest_sha256, model.manifest_size)])
    text = house.follow(house.server.push.make(DEVICE, "t1")[1])
    assert text.startswith("refused: t1: Model t1 is on trial, and nothing signed names pi-1")
    assert house.device.current == ""
    assert load_denied(house.device.state_dir / "models") == ()  # it may be granted yet
    house.trial()
    assert house.follow() == "idle"
    assert house.device.current == "t1"


def test_a_trial_named_for_the_device_but_not_supervised_is_refused(house: Trials) -> None:
    model = house.server.registry.get("t1")
    house.release.publish(
        [ReleaseTarget(Grant("t1", 1, devices=(DEVICE,)), model.manifest_sha256, model.manifest_size)]
    )
    assert "nothing signed names pi-1" in house.follow(house.server.push.make(DEVICE, "t1")[1])
    assert house.device.current == ""


def test_the_trial_of_another_device_is_refused(house: Trials) -> None:
    house.promote("m1")
    house.follow()
    house.trial(device="pi-2")
    other = house.enrolled("pi-2")
    theirs = house.says(other)
    assert house.follow(theirs, other) == "idle"
    assert other.current == "t1"
    other.updater.close()
    assert "what is signed for pi-1 is m1" in house.follow(theirs)
    assert house.device.current == "m1"


def test_an_unsigned_offer_of_a_trial_is_refused_by_an_enrolled_device(house: Trials) -> None:
    house.trial()
    house.device.updater.on_offer(altered(house.says(), metadata=[]))
    house.device.updater.tick()
    assert "is not signed" in house.device.text()
    assert not house.device.wire


def test_a_trial_whose_manifest_was_edited_to_say_field_is_not_the_one_that_was_signed(house: Trials) -> None:
    house.trial()
    signed = house.says()
    folder = house.server.registry.bundle_folder("t1")
    edited = bundle.manifest_bytes(bundle.read_manifest(folder)).replace(b'"trial"', b'"field"')
    assert bundle.parse_manifest(edited).intended_use == bundle.FIELD
    (folder / bundle.MANIFEST_NAME).write_bytes(edited)
    offer = altered(signed, manifest_sha256=hashlib.sha256(edited).hexdigest(), manifest_size=len(edited))
    assert "not the one that was signed" in house.follow(offer)
    assert house.device.current == ""


def test_without_an_identity_no_trial_guides_a_walk_but_the_settings_may_vouch_for_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "home")
    server.register("t1", contents(), intended_use="trial")
    device = Device(tmp_path / "plain", server, uses=bundle.FOR_WALKS)
    device.updater.on_offer(server.offer("t1"))
    device.go(lambda: device.text().startswith("refused: t1: Model t1 is on trial"))
    assert device.current == ""
    device.uses = bundle.FOR_WALKS | {bundle.TRIAL}
    device.restart()
    device.install("t1")
    device.uses = bundle.FOR_WALKS  # the setting was taken out again
    device.restart()
    assert "on trial" in (device.updater.current_barred or "")
    assert device.dropped == ["t1"]
    device.updater.close()
    server.registry.close()


# --- whom it guides no longer ---


def test_a_halted_trial_gives_way_at_once_to_the_model_before_it(house: Trials) -> None:
    house.promote("m1")
    house.follow()
    house.trial()
    house.follow()
    house.device.standing = False  # the wearer walks
    house.halt()
    before = house.device.carried.total()
    assert house.follow().startswith("withdrawn: t1: Model t1 is on trial, and nothing signed names pi-1")
    assert house.device.loaded == ["m1", "t1", "m1"]
    assert house.device.current == "m1"
    assert house.device.dropped == []
    assert house.device.carried.total() - before < 4_000  # the metadata, and nothing of the model
    assert load_denied(house.device.state_dir / "models") == ()
    house.trial()
    house.device.standing = True
    assert house.follow() == "idle"
    assert house.device.current == "t1"


@pytest.mark.parametrize("champion", ["", "d1"])
def test_a_halted_trial_leaves_no_model_where_there_is_none_that_may_guide(house: Trials, champion: str) -> None:
    """No champion at all, or a demonstration model, as on a server whose first model for the field is on trial."""
    if champion:
        house.promote(champion)
        assert "demonstration model" in house.follow()
    house.trial()
    assert house.follow() == "idle"
    assert house.device.loaded == ["t1"]
    house.halt()
    text = house.follow()
    assert house.device.dropped == ["t1"]
    assert text.startswith(
        "refused: d1" if champion else "withdrawn: t1: Model t1 is on trial, and nothing signed names"
    )
    house.device.restart()
    assert house.device.dropped == ["t1", "t1"]
    assert "nothing signed names" in (house.device.updater.current_barred or "")
    house.trial()  # begun anew: the model that lies there is used again, and nothing of it is fetched
    before = house.device.carried.total()
    assert house.follow() == "idle"
    assert house.device.loaded == ["t1", "t1"]
    assert house.device.updater.current_barred is None
    assert house.device.carried.total() - before < 4_000


def test_a_champion_that_overtakes_the_trial_is_fetched_while_no_model_guides(house: Trials) -> None:
    house.trial()
    house.follow()
    house.device.standing = False
    house.promote("m2")
    house.device.updater.on_offer(house.says())
    house.device.go(lambda: house.device.updater.phase == "ready")
    assert house.device.dropped == ["t1"]
    house.device.standing = True  # as the agent says while nobody is guided
    house.device.go(lambda: house.device.updater.phase == "probation")
    house.device.prove()
    assert house.device.current == "m2"


def test_a_new_model_that_fails_does_not_go_back_to_a_trial_that_was_withdrawn(house: Trials) -> None:
    house.trial()
    house.follow()
    house.promote("m1")
    house.device.updater.on_offer(house.says())
    house.device.go(lambda: house.device.updater.phase == "probation")
    house.device.updater.report_failure("it fails", "m1")
    house.device.updater.tick()
    assert house.device.current == "m1"
    assert "there is no other model" in house.device.text()


def test_a_replayed_supervised_offer_of_a_trial_that_was_withdrawn_is_refused(house: Trials) -> None:
    house.promote("m1")
    house.follow()
    house.trial()
    old = house.says()
    house.follow(old)
    house.halt()
    house.follow()
    assert house.device.current == "m1"
    for revision in (None, 2**50):
        payload = old if revision is None else altered(old, revision=revision)
        assert "refused: t1" in house.follow(payload)
        assert house.device.current == "m1"
    house.device.restart()
    assert "refused: t1" in house.follow(old)
    assert house.device.current == "m1"


def test_a_replayed_supervised_offer_does_not_bring_back_the_trial_that_still_lies_in_the_slot(house: Trials) -> None:
    house.trial()
    old = house.says()
    house.follow(old)
    house.halt()
    house.follow()
    assert house.device.dropped == ["t1"]
    house.follow(old)
    house.device.restart()
    house.follow(old)
    assert house.device.loaded == ["t1"]
    assert "nothing signed names" in (house.device.updater.current_barred or "")


def test_a_trial_ends_at_the_first_start_after_its_signed_word_has_and_goes_on_once_the_server_is_heard(
    house: Trials,
) -> None:
    house.trial()
    house.follow()
    house.clock.sleep(13 * DAY_S)
    house.device.restart()
    assert house.device.updater.current_barred is None
    house.clock.sleep(2 * DAY_S)
    house.device.updater.tick()
    assert house.device.dropped == []  # not in mid-walk
    house.device.restart()
    assert house.device.dropped == ["t1"]
    assert "expired" in house.device.text()
    assert house.follow() == "idle"
    assert house.device.loaded == ["t1", "t1"]


def test_a_half_delivered_offer_does_not_end_a_trial(house: Trials) -> None:
    """Whoever carries the metadata must not be able to silence guidance by leaving some of it out."""
    house.trial()
    house.follow()
    house.clock.sleep(10)
    house.release.refresh(force=True)
    offer = json.loads(house.says())
    stamp = [one for one in offer["metadata"] if one["name"] == "timestamp.json"]
    assert "came without a metadata file" in house.follow(altered(house.says(), metadata=stamp))
    assert house.device.dropped == []
    assert house.follow() == "idle"
    house.device.restart()
    assert house.device.updater.current_barred is None


def test_a_trial_on_probation_that_was_withdrawn_is_not_denied(house: Trials) -> None:
    house.promote("m1")
    house.follow()
    house.trial()
    house.device.updater.on_offer(house.says())
    house.device.go(lambda: house.device.updater.phase == "probation")
    house.clock.sleep(15 * DAY_S)
    house.device.restart()
    assert house.device.current == "m1"
    assert load_denied(house.device.state_dir / "models") == ()


# --- the signed word itself ---


def test_the_grant_is_for_that_manifest_that_device_and_that_time(house: Trials, tmp_path: Path) -> None:
    house.trial()
    house.follow()
    manifest = house.server.registry.get("t1").manifest_sha256
    state = house.device.state_dir / "trust"
    trust = Trust(state, house.release.root_json(), ClockFloor(state, house.clock))
    trust.supervised("t1", manifest, DEVICE)
    kept = {path: path.read_bytes() for path in sorted(state.rglob("*.json"))}
    with pytest.raises(Refused, match="not the one that was signed"):
        trust.supervised("t1", "0" * 64, DEVICE)
    with pytest.raises(Refused, match="nothing signed names pi-2"):
        trust.supervised("t1", manifest, "pi-2")
    with pytest.raises(Refused, match="nothing signed names pi-1"):
        trust.supervised("t2", house.server.registry.get("t2").manifest_sha256, DEVICE)
    with pytest.raises(Refused, match="ever verified"):
        Trust(tmp_path / "new", house.release.root_json(), ClockFloor(tmp_path, house.clock)).supervised(
            "t1", manifest, DEVICE
        )
    assert kept == {path: path.read_bytes() for path in sorted(state.rglob("*.json"))}
    house.clock.sleep(15 * DAY_S)
    with pytest.raises(Transient, match="expired"):
        trust.supervised("t1", manifest, DEVICE)


def test_kept_metadata_that_were_edited_grant_nothing(house: Trials) -> None:
    model = house.server.registry.get("t1")
    house.release.publish(
        [ReleaseTarget(Grant("t1", 1, devices=(DEVICE,)), model.manifest_sha256, model.manifest_size)]
    )
    house.follow(house.server.push.make(DEVICE, "t1")[1])
    state = house.device.state_dir / "trust"
    trust = Trust(state, house.release.root_json(), ClockFloor(state, house.clock))
    path = state / "metadata" / "targets.json"
    value = json.loads(path.read_bytes())
    value["signed"]["targets"]["models/t1/manifest.json"]["custom"]["supervised"] = True
    path.write_text(json.dumps(value))
    with pytest.raises(Transient, match="not whole"):
        trust.supervised("t1", model.manifest_sha256, DEVICE)
