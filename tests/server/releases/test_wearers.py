"""A wearer's version goes to their devices alone, gives way to every later decision, and leaves with their moments."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.commands.main import main
from server.database import store as db
from server.maintenance import check as upkeep
from server.releases import wearers
from server.releases.offers import Offers
from server.releases.registry import CHAMPION, Registry
from server.releases.rollout_requests import RolloutRequest
from server.releases.signing import Release
from server.releases.wearers import WearerVersion
from shared import assignment, bundle, messages
from shared.clock import ManualClock
from shared.errors import Refused
from shared.messages import Offer, Want
from shared.runtime.adapter import ADAPTER
from tests.shared.bundle.bundles import contents, make_bundle

NOW_S = 1_795_200_000.0
ANNA = WearerVersion("anna", ("pi-anna", "pi-old"), "m1", 120, NOW_S, 0.1, 0.04, 0.16, 90, 6)
FLEET = ("pi-anna", "pi-ben")


class WearerServer:
    """Two registered models, m1 the champion, and devices that came."""

    def __init__(self, place: Path) -> None:
        self.place, self.clock = place, ManualClock(epoch_s=NOW_S)
        self.home = place / "home"
        self.registry = Registry(self.home, clock=self.clock)
        self.release = Release.make(self.home, clock=self.clock)
        self.offers = Offers(self.registry, clock=self.clock, release=self.release)
        if self.registry.champion() is None:
            self._begin(place)
        self.clock.sleep(1)

    def _begin(self, place: Path) -> None:
        for number in (1, 2):
            make_bundle(place / f"m{number}", f"m{number}", contents({"a.onnx": 500}, seed=number))
            self.registry.add(place / f"m{number}")
        self.registry.promote("m1", "first")
        with self.registry.store.writing() as connection:
            row = {"seen_at": NOW_S, "online": True, "status": {}}
            connection.execute(db.devices.insert(), [{"device": device, **row} for device in FLEET])

    def adapt(self, whose: WearerVersion = ANNA, *, adapter: bytes = b"anna's own") -> str:
        """Register the champion with an adapter. Returns its version."""
        folder = self.place / "made"
        wearers.linked(self.registry.bundle_folder(whose.of), folder, but=(bundle.MANIFEST_NAME, bundle.BLOCKS_NAME))
        (folder / ADAPTER).write_bytes(adapter)
        version = wearers.version_name(whose.of, hashlib.sha256(adapter).hexdigest())
        like = bundle.read_manifest(self.registry.bundle_folder(whose.of))
        bundle.write_bundle(folder, replace(like, version=version, parent=whose.of))
        registered = wearers.add(self.registry, folder, whose, {"champion": whose.of})
        for file in sorted(folder.rglob("*"), reverse=True):
            file.unlink()
        folder.rmdir()
        return registered.version

    def offered(self) -> dict[str, str]:
        """What is due to be offered: device → version."""
        return {topic.split("/")[2]: messages.decode(Offer, data).version for topic, data in self.offers.due()}

    def sent(self, device: str, data: bytes) -> list[bytes]:
        """What a device gets that asks for these bytes by their hash."""
        want = Want(hashlib.sha256(data).hexdigest(), ((0, len(data)),), 65536)
        return [part for _, part in self.offers.blocks.handle(device, ["up", "want"], messages.encode(want))]

    def erase(self, device: str) -> None:
        row = {"device": device, "erase_id": "e1", "body": {}, "received_at": self.clock.utc_s(), "applied": True}
        with self.registry.store.writing() as connection:
            connection.execute(db.erasures.insert().values(row))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each test has a copy."""
    place = tmp_path_factory.mktemp("begun")
    WearerServer(place).registry.close()
    return place


@pytest.fixture
def house(begun: Path, tmp_path: Path) -> Iterator[WearerServer]:
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    house = WearerServer(tmp_path)
    yield house
    house.registry.close()


def test_the_wearers_devices_are_offered_it_and_all_others_the_champion(house: WearerServer) -> None:
    version = house.adapt()
    assert house.offered() == {"pi-anna": version, "pi-ben": "m1"}
    assert house.offered() == {}


def test_what_is_signed_says_the_same_and_names_nobody(house: WearerServer) -> None:
    version = house.adapt()
    house.offered()
    targets = next(data for entry, data in house.release.files() if entry.name.endswith("targets.json"))
    signed = json.loads(targets)["signed"]["targets"]
    read = [assignment.read(path, entry["custom"]) for path, entry in signed.items()]
    assert [assignment.assigned(read, device) for device in ("pi-anna", "pi-old", "pi-ben")] == [version, version, "m1"]
    assert b"anna" not in targets


def test_its_bytes_are_sent_to_the_wearers_devices_alone(house: WearerServer) -> None:
    version = house.adapt()
    folder = house.registry.bundle_folder(version)
    for name in (ADAPTER, bundle.MANIFEST_NAME, bundle.BLOCKS_NAME):
        data = (folder / name).read_bytes()
        assert house.sent("pi-anna", data) == [data]
        assert house.sent("pi-ben", data) == []
    graph = (folder / "a.onnx").read_bytes()
    assert house.sent("pi-ben", graph) == [graph]  # of the champion, and found there when the adapter is gone


def test_the_champions_files_are_not_stored_twice(house: WearerServer) -> None:
    folder = house.registry.bundle_folder(house.adapt())
    assert (folder / "a.onnx").samefile(house.registry.bundle_folder("m1") / "a.onnx")
    assert bundle.verify(folder).version.startswith("m1-w")


def test_a_champion_that_is_promoted_later_takes_its_place(house: WearerServer) -> None:
    version = house.adapt()
    assert house.offered()["pi-anna"] == version
    house.registry.promote("m2", "better")
    assert house.offered() == {"pi-anna": "m2", "pi-ben": "m2"}
    house.registry.rollback("worse after all")
    assert house.offered()["pi-anna"] == version


def test_a_rollout_that_is_started_later_takes_its_place_until_it_ends(house: WearerServer) -> None:
    version = house.adapt()
    house.offers.rollouts.start(RolloutRequest("m2", devices=("pi-anna",)))
    assert house.offered()["pi-anna"] == "m2"
    house.offers.rollouts.halt("m2")
    assert house.offered()["pi-anna"] == version


def test_nobody_can_make_it_the_champion_or_offer_it_to_others(house: WearerServer) -> None:
    version = house.adapt()
    with pytest.raises(Refused, match="fitted to one wearer"):
        house.registry.promote(version, "for all")
    with pytest.raises(Refused, match="fitted to one wearer"):
        house.offers.rollouts.start(RolloutRequest(version, devices=("pi-ben",)))
    assert house.registry.alias(CHAMPION) == "m1"


@pytest.mark.parametrize("device", ANNA.devices)
def test_erasing_a_moment_of_the_wearer_deletes_it_within_a_second(house: WearerServer, device: str) -> None:
    version = house.adapt()
    house.offered()
    house.erase(device)
    assert house.offered()["pi-anna"] == "m1"
    assert not (house.home / "models" / version).exists()
    assert version not in {model.version for model in house.registry.list()}
    assert house.sent("pi-anna", b"anna's own") == []


def test_what_others_erase_or_what_was_erased_before_leaves_it_alone(house: WearerServer) -> None:
    house.erase("pi-anna")
    house.clock.sleep(10)
    version = house.adapt(replace(ANNA, began_utc=house.clock.utc_s()))
    house.erase("pi-ben")
    assert house.offered()["pi-anna"] == version


def test_a_newer_adapter_takes_the_place_of_the_older_one_which_is_deleted(house: WearerServer) -> None:
    first, second = house.adapt(), house.adapt(adapter=b"anna, a week later")
    assert house.offered()["pi-anna"] == second != first
    assert not (house.home / "models" / first).exists()
    assert [change.new for change in house.registry.log() if change.name == "wearer/anna"] == [first, second]


def test_what_a_cut_off_run_left_is_deleted_by_the_next(house: WearerServer) -> None:
    version = house.adapt()
    house.registry.point("wearer/anna", None, "as a power cut between the two steps leaves it")
    wearers.tidy(house.registry)
    assert not (house.home / "models" / version).exists()
    assert [model.version for model in house.registry.list()] == ["m1", "m2"]


def test_an_adapter_of_a_champion_before_is_deleted_by_the_night(house: WearerServer) -> None:
    version = house.adapt()
    house.registry.promote("m2", "better")
    wearers.tidy(house.registry)
    assert version not in {model.version for model in house.registry.list()}
    assert house.registry.alias("wearer/anna") is None


def test_an_entry_that_cannot_be_read_is_granted_to_nobody_and_stops_no_other_offer(
    house: WearerServer, caplog: pytest.LogCaptureFixture
) -> None:
    version = house.adapt()
    with house.registry.store.writing() as connection:
        where = db.models.c.version == version
        connection.execute(db.models.update().where(where).values(evaluation={"wearer": {"name": "anna"}}))
    assert house.offered() == {"pi-anna": "m1", "pi-ben": "m1"}
    assert "cannot be read" in caplog.text


def test_a_server_with_adapters_is_found_whole(house: WearerServer) -> None:
    house.adapt()
    found = upkeep.check(house.home, house.clock)
    assert "m1-w" not in str(found)


def test_an_admin_sees_which_wearer_has_which_and_takes_it_away(
    house: WearerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (house.home / "waycue.toml").write_text("")
    version, at = house.adapt(), ["--home", str(house.home), "adapters"]
    assert main([*at, "list"]) == 0
    assert f"anna: {version}, on pi-anna, pi-old\n  +0.100 right (+0.040 to +0.160)" in capsys.readouterr().out
    assert main([*at, "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "anna"
    assert main([*at, "withdraw", "anna"]) == 0
    assert main([*at, "withdraw", "anna"]) == 1
    assert "has no adapter" in capsys.readouterr().err
    assert house.offered() == {"pi-anna": "m1", "pi-ben": "m1"}
