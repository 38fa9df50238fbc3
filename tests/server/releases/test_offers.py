"""A device gets the blocks it asks for, of registered bundles only; offers rise in revision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.database import store as tables
from server.releases.blocks import BlockServer
from server.releases.offers import Offers
from server.releases.registry import Registry
from shared import bundle, messages, topics
from shared.clock import ManualClock
from shared.errors import Refused
from shared.messages import Offer, Want
from tests.shared.bundle.bundles import contents, make_bundle

FILES = {"big.onnx": 1_000_000, "tokenizer.json": 3_000, "empty": 0}
WANT = ["up", "want"]


class OffersServer:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = ManualClock()
        self.registry = Registry(place / "home", clock=self.clock)
        self.push = Offers(self.registry, clock=self.clock)

    def register(self, version: str, *, seed: int = 1, by: Registry | None = None) -> dict[str, bytes]:
        files = contents(FILES, seed=seed)
        make_bundle(self.place / version, version, files)
        (by or self.registry).add(self.place / version)
        return files

    def want(self, data: bytes, *spans: tuple[int, int], block_bytes: int = 65536) -> list[tuple[str, bytes]]:
        want = Want(hashlib.sha256(data).hexdigest(), spans, block_bytes)
        return self.push.blocks.handle("pi-1", WANT, messages.encode(want))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[OffersServer]:
    house = OffersServer(tmp_path)
    yield house
    house.registry.close()


def test_the_wanted_ranges_are_answered_by_hash_and_offset(house: OffersServer) -> None:
    big = house.register("m1")["big.onnx"]
    sha256 = hashlib.sha256(big).hexdigest()
    assert house.want(big, (0, 100_000), (500_000, 500_010)) == [
        (topics.block("pi-1", sha256, 0), big[:65_536]),
        (topics.block("pi-1", sha256, 65_536), big[65_536:100_000]),
        (topics.block("pi-1", sha256, 500_000), big[500_000:500_010]),
    ]
    assert house.push.blocks.counters == {"wants": 1, "blocks": 3, "bytes": 100_010}


def test_the_manifest_is_a_file_like_any_other(house: OffersServer) -> None:
    house.register("m1")
    data = bundle.read_manifest_bytes(house.registry.bundle_folder("m1"))
    assert [answer for _, answer in house.want(data, (0, len(data)))] == [data]


def test_one_want_gets_at_most_eight_blocks_of_at_most_256_kib(house: OffersServer) -> None:
    big = house.register("m1")["big.onnx"]
    assert len(house.want(big, (0, 1_000_000))) == 8
    assert len(house.want(big, *((n, n + 1) for n in range(0, 400, 2)))) == 8
    assert {len(data) for _, data in house.want(big, (0, 524_288), block_bytes=2**40)} == {262_144}
    assert len(house.want(big, *[(0, 65_536)] * 1000)) == 1  # the same bytes over and over are sent once


def test_blocks_stay_within_what_the_broker_lets_through(house: OffersServer) -> None:
    big = house.register("m1")["big.onnx"]
    push = Offers(house.registry, blocks=BlockServer(house.registry, max_block_bytes=50_000))
    want = Want(hashlib.sha256(big).hexdigest(), ((0, 100_000),), 65_536)
    assert [len(data) for _, data in push.blocks.handle("pi-1", WANT, messages.encode(want))] == [50_000, 50_000]


def test_bytes_past_the_end_are_not_there(house: OffersServer) -> None:
    files = house.register("m1")
    small = files["tokenizer.json"]
    assert [data for _, data in house.want(small, (2_900, 9_000))] == [small[2_900:]]
    assert house.want(small, (2**50, 2**50 + 5)) == []
    assert house.want(files["empty"], (0, 10)) == []


def test_an_unknown_hash_is_answered_with_nothing_and_counted(house: OffersServer) -> None:
    house.register("m1")
    assert house.want(b"/etc/passwd", (0, 10)) == []
    assert house.push.blocks.counters == {"unknown": 1}


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"\xff", b'{"sha256":"../../etc/passwd","ranges":[[0,1]]}',
     messages.encode(Want("0" * 64, ((5, 1),))), messages.encode(Want("0" * 64, ((0, 1),), 0)),
     messages.encode(Want("0" * 64, ((0, 1),), 10)), b'{"sha256":"' + b"0" * 64 + b'","ranges":[[-1,5]]}',
     b'{"sha256":"' + b"0" * 64 + b'","ranges":[[0,1,2]]}', b'{"sha256":"' + b"0" * 64 + b'","ranges":[[0.5,1]]}'],
)  # fmt: skip
def test_a_want_that_is_none_is_counted_and_answered_with_nothing(house: OffersServer, payload: bytes) -> None:
    assert house.push.blocks.handle("pi-1", WANT, payload) == []
    assert house.push.blocks.counters == {"malformed": 1}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it reads the database
@given(st.binary(max_size=200) | st.builds(
    lambda sha, spans, size: messages.encode(Want(sha, tuple(spans), size)),
    st.sampled_from(("0" * 64, "zz", "")),
    st.lists(st.tuples(st.integers(-5, 2**60), st.integers(-5, 2**60)), max_size=20),
    st.integers(-1, 2**60),
))  # fmt: skip
def test_no_payload_makes_it_fail(house: OffersServer, payload: bytes) -> None:
    assert house.push.blocks.handle("pi-1", WANT, payload) == []


def test_one_device_cannot_starve_the_others(house: OffersServer) -> None:
    big = house.register("m1")["big.onnx"]
    house.push = Offers(house.registry, blocks=BlockServer(house.registry, clock=house.clock, bytes_per_s=600_000))
    assert len(house.want(big, (0, 524_288))) == 8
    assert house.want(big, (0, 524_288)) == []
    assert house.push.blocks.counters["limited"] == 1
    want = Want(hashlib.sha256(big).hexdigest(), ((0, 524_288),))
    assert len(house.push.blocks.handle("pi-2", WANT, messages.encode(want))) == 8
    house.clock.sleep(1.0)
    assert len(house.want(big, (0, 524_288))) == 8


def test_a_model_that_another_process_registered_is_found(house: OffersServer) -> None:
    house.register("m1")
    assert house.want(contents(FILES, seed=2)["big.onnx"], (0, 10)) == []
    other = Registry(house.place / "home")
    house.register("m2", seed=2, by=other)
    other.close()
    house.clock.sleep(2.0)
    assert len(house.want(contents(FILES, seed=2)["big.onnx"], (0, 10))) == 1


def test_files_that_went_missing_are_counted_and_no_error(house: OffersServer) -> None:
    big = house.register("m1")["big.onnx"]
    assert house.want(big, (0, 10))
    (house.registry.bundle_folder("m1") / "big.onnx").unlink()
    assert house.want(big, (0, 10)) == []
    assert house.push.blocks.counters["unreadable"] == 1


def decoded(reply: tuple[str, bytes]) -> Offer:
    return messages.decode(Offer, reply[1])


def test_an_offer_names_the_manifest_and_its_revision_only_rises(house: OffersServer) -> None:
    for number in (1, 2):
        house.register(f"m{number}", seed=number)
    topic, payload = house.push.make("pi-1", "m1")
    assert topic == "wc/v1/pi-1/down/offer"
    first = messages.decode(Offer, payload)
    data = bundle.read_manifest_bytes(house.registry.bundle_folder("m1"))
    assert (first.version, first.manifest_size) == ("m1", len(data))
    assert first.manifest_sha256 == hashlib.sha256(data).hexdigest()
    house.clock.sleep(100)
    assert house.push.make("pi-1", "m1")[1] == payload  # the same version again: the same bytes
    revisions = [first.revision]
    for version in ("m2", "m1", "m2"):
        revisions.append(decoded(house.push.make("pi-1", version)).revision)
    assert revisions == sorted(set(revisions))


def test_revisions_rise_even_after_the_table_was_lost(house: OffersServer) -> None:
    for number in (1, 2):
        house.register(f"m{number}", seed=number)
    before = decoded(house.push.make("pi-1", "m1"))
    with house.registry.store.writing() as connection:
        connection.execute(tables.offers.delete())
    house.clock.sleep(3600)
    assert decoded(house.push.make("pi-1", "m2")).revision > before.revision


def test_revisions_rise_even_when_the_clock_goes_back(house: OffersServer) -> None:
    for number in (1, 2):
        house.register(f"m{number}", seed=number)
    before = decoded(house.push.make("pi-1", "m1"))
    house.clock.epoch_s -= 10 * 365 * 86400
    assert decoded(house.push.make("pi-1", "m2")).revision == before.revision + 1


def test_only_registered_versions_are_offered(house: OffersServer) -> None:
    assert house.push.offer_for("pi-1") is None
    assert house.push.due() == []
    with pytest.raises(Refused, match="There is no model m9"):
        house.push.make("pi-1", "m9")


def test_a_device_is_offered_its_model_when_it_comes_online_and_not_with_every_status(house: OffersServer) -> None:
    house.register("m1")
    assert house.push.greet({"pi-1": True}) == []  # there is nothing to offer yet
    house.registry.promote("m1", "first")
    assert house.push.greet({"pi-1": False, "pi-2": False}) == []
    offers = house.push.greet({"pi-1": True, "pi-2": True})
    assert [decoded(offer).version for offer in offers] == ["m1", "m1"]
    assert house.push.greet({"pi-1": True}) == []
    house.push.greet({"pi-1": False})
    assert house.push.greet({"pi-1": True, "pi-2": True}) == offers[:1]


def test_every_known_device_is_offered_the_champion_and_those_behind_are_found(house: OffersServer) -> None:
    for number in (1, 2):
        house.register(f"m{number}", seed=number)
    house.registry.promote("m1", "first")
    with house.registry.store.writing() as connection:
        connection.execute(tables.enrolments.insert().values(device="pi-1", cohort="", added_at=0.0, why=""))
        connection.execute(tables.devices.insert().values(device="pi-2", seen_at=0.0, online=True, status={}))
    house.push.make("pi-3", "m2")
    assert [topic for topic, _ in house.push.due()] == [topics.offer(f"pi-{n}") for n in (1, 2, 3)]
    assert house.push.due() == []
    house.registry.promote("m2", "better")
    due = house.push.due()
    assert [decoded(reply).version for reply in due] == ["m2"] * 3
    assert house.push.due() == []
