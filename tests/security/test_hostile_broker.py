"""Whoever broke into the broker, and not into the server: what it may do to a device by its offers and blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.updates.updater import QUEUE_EVENTS
from shared import messages
from shared.messages import MetadataFile, Offer
from tests.device.updates.house import SignedHouse, altered


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SignedHouse]:
    house = SignedHouse(tmp_path, {"m1": "demo", "m2": "demo"})
    yield house
    house.close()


def flipped(_sha256: str, _offset: int, data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def test_wrong_blocks_of_a_good_model_delay_it_and_do_not_shut_it_out(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.follow()
    house.clock.sleep(10)
    house.server.registry.promote("m2", "better")
    offer = messages.decode(Offer, house.offers() or b"")
    signed = {one.sha256 for one in offer.metadata}
    house.device.spoil = lambda sha256, at, data: data if sha256 in signed else flipped(sha256, at, data)
    house.device.updater.on_offer(messages.encode(offer))
    house.device.go(lambda: "3 times" in house.device.text())
    house.device.carried.clear()
    for _ in range(50):
        house.device.updater.tick()
        house.device.deliver()
        house.clock.sleep(60)
    assert not house.device.carried, "it waits, and does not load for ever"
    house.device.spoil = lambda _sha256, _at, data: data
    house.clock.sleep(house.device.settings.bad_again_s)
    house.device.go(lambda: house.device.updater.phase == "probation")
    assert house.device.current == "m2"


def test_an_offer_that_nobody_signed_shuts_no_model_out_by_naming_it(house: SignedHouse) -> None:
    house.server.registry.promote("m1", "first")
    house.follow()
    house.clock.sleep(10)
    house.server.registry.promote("m2", "better")
    real = house.offers()
    made_up = [{"name": "timestamp.json", "size_bytes": 300, "sha256": "a" * 64}]
    house.device.updater.on_offer(altered(real, metadata=made_up))
    for _ in range(10):
        house.device.updater.tick()
        house.device.updater.on_block(["block", "a" * 64, "0"], b"x" * 300)
    house.device.updater.tick()
    assert house.device.updater.phase == "idle"
    house.device.wire.clear()
    assert house.follow(real) == "idle"
    assert house.device.current == "m2"


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_metadata_are_bounded_all_together(role: str, house: SignedHouse) -> None:
    """250 lists of targets at 1 MiB each would be read into the memory of a device that guides somebody."""
    house.server.registry.promote("m1", "first")
    real = json.loads(house.offers() or b"")
    many = [MetadataFile(f"{number}.{role}.json", 16 * 1024, f"{number:064x}") for number in range(1, 250)]
    house.device.updater.on_offer(
        altered(house.offers(), metadata=real["metadata"] + list(map(messages.to_dict, many)))
    )
    house.device.updater.tick()
    assert "more than one" in house.device.text()
    assert not house.device.wire


def test_a_flood_of_offers_fills_no_memory(house: SignedHouse) -> None:
    """While a model is tested, which takes minutes, nothing is taken out of the inbox."""
    house.server.registry.promote("m1", "first")
    real, updater = house.offers(), house.device.updater
    for number in range(5000):
        updater.on_offer(altered(real, revision=number, metadata=[]))
    assert updater.counters["refused"] == 10_000 - QUEUE_EVENTS
    updater.tick()
    assert house.follow(real) == "idle"
    assert house.device.current == "m1"
