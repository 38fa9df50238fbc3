"""A wearer's version reaches their device like any other, in a few kilobytes, and is taken back by erasing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.database import store as db
from server.releases import wearers
from server.releases.wearers import WearerVersion
from shared import bundle
from shared.runtime.adapter import ADAPTER
from tests.device.updates.house import DEVICE, SignedHouse
from tests.shared.bundle.bundles import contents

OWN = b"what anna's moments taught" * 1000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SignedHouse]:
    """A device that guides with the champion, a model of some size."""
    house = SignedHouse(tmp_path, {})
    house.server.register("m1", contents({"vision_encoder.onnx": 800_000}))
    house.server.registry.promote("m1", "first")
    assert house.follow() == "idle"
    house.clock.sleep(10)
    yield house
    house.close()


def adapted(house: SignedHouse, place: Path, devices: tuple[str, ...] = (DEVICE,)) -> str:
    registry = house.server.registry
    champion, folder = registry.bundle_folder("m1"), place / "adapted"
    wearers.linked(champion, folder, but=(bundle.MANIFEST_NAME, bundle.BLOCKS_NAME))
    (folder / ADAPTER).write_bytes(OWN)
    version = wearers.version_name("m1", hashlib.sha256(OWN).hexdigest())
    bundle.write_bundle(folder, replace(bundle.read_manifest(champion), version=version, parent="m1"))
    whose = WearerVersion("anna", devices, "m1", 60, house.clock.utc_s(), 0.1, 0.02, 0.2, 60, 6)
    return wearers.add(registry, folder, whose, {}).version


def test_the_device_fetches_the_adapter_and_takes_all_else_from_the_champion_that_it_has(
    house: SignedHouse, tmp_path: Path
) -> None:
    before = house.device.carried.total()
    version = adapted(house, tmp_path)
    assert house.follow() == "idle"
    assert house.device.current == version
    assert house.device.carried.total() - before < len(OWN) + 20_000


def test_a_device_of_somebody_else_goes_on_with_the_champion(house: SignedHouse, tmp_path: Path) -> None:
    other = house.enrolled("pi-2")
    adapted(house, tmp_path)
    assert house.follow(house.offers(other), other) == "idle"
    assert other.current == "m1"
    other.updater.close()


def test_after_an_erasure_the_device_guides_with_the_champion_again_and_fetches_no_model_for_it(
    house: SignedHouse, tmp_path: Path
) -> None:
    version = adapted(house, tmp_path)
    house.follow()
    assert house.device.current == version
    house.clock.sleep(10)
    wish = {"device": DEVICE, "erase_id": "e1", "body": {}, "received_at": house.clock.utc_s(), "applied": True}
    with house.server.registry.store.writing() as connection:
        connection.execute(db.erasures.insert().values(wish))
    house.server.push.due()
    before = house.device.carried.total()
    assert house.follow() == "idle"
    assert house.device.current == "m1"
    assert house.device.carried.total() - before < 20_000


def test_a_champion_that_is_promoted_later_takes_its_place_on_the_device(house: SignedHouse, tmp_path: Path) -> None:
    adapted(house, tmp_path)
    house.follow()
    house.clock.sleep(10)
    house.server.register("m2", contents(seed=5))
    house.server.registry.promote("m2", "better")
    assert house.follow() == "idle"
    assert house.device.current == "m2"
