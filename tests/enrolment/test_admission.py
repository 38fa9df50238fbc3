"""Who may connect where: no setting turns it off."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.config import BrokerSection, Config, DeviceSection
from device.identity import identity
from device.identity.admission import Admission
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError
from tests.enrolment.quick import enrolled


def config(*, broker: str = "", name: str = "") -> Config:
    return Config(device=DeviceSection(name=name), broker=BrokerSection(address=broker))


@pytest.fixture
def book(tmp_path: Path, fresh_home: Path) -> Iterator[Certificates]:
    shutil.copytree(fresh_home, tmp_path / "home")
    store = open_store(tmp_path / "home")
    yield Certificates(store, Authority(tmp_path / "home", clock=SystemClock()), clock=SystemClock())
    store.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.mark.parametrize("address", ["127.0.0.1:1883", "localhost", "[::1]:1883", "127.8.8.8"])
def test_without_an_identity_a_broker_on_this_machine_will_do(address: str, state: Path) -> None:
    found = Admission.of(config(broker=address), state, SystemClock())
    assert (found.address, found.context, found.identity) == (address, None, None)


@pytest.mark.parametrize("address", ["192.168.1.10:1883", "broker.example", "0.0.0.0:1883", "localhost.evil.example"])
def test_without_an_identity_no_other_will(address: str, state: Path) -> None:
    with pytest.raises(ConfigError, match="not enrolled"):
        Admission.of(config(broker=address), state, SystemClock())


def test_without_server_and_identity_it_walks_alone(state: Path) -> None:
    found = Admission.of(config(name="anna"), state, SystemClock())
    assert (found.device, found.address, found.trouble) == ("anna", "", "")


def test_an_identity_says_who_and_where_and_means_tls(book: Certificates, state: Path) -> None:
    enrolled(book, state, "pi-1", broker="192.168.1.10:8883")
    found = Admission.of(config(), state, SystemClock())
    assert (found.device, found.place) == ("pi-1", ("192.168.1.10", 8883))
    assert isinstance(found.context, ssl.SSLContext)
    assert found.context.verify_mode == ssl.CERT_REQUIRED


def test_with_an_identity_even_a_loopback_broker_is_spoken_to_in_tls(book: Certificates, state: Path) -> None:
    enrolled(book, state, "pi-1")
    found = Admission.of(config(broker="127.0.0.1"), state, SystemClock())
    assert found.context is not None
    assert found.place == ("127.0.0.1", 8883)


def test_a_name_in_the_settings_that_is_not_the_enrolled_one_is_said(book: Certificates, state: Path) -> None:
    enrolled(book, state, "pi-1")
    with pytest.raises(ConfigError, match="enrolled as 'pi-1'"):
        Admission.of(config(name="pi-2"), state, SystemClock())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, b"\xff\xfe torn") for name in (identity.KEY, identity.CERTIFICATE, identity.CA)),
        (identity.KEY, b""),
        (identity.CERTIFICATE, None),
        (identity.ROOT, None),
    ],
)
def test_a_damaged_identity_ends_the_link_and_not_the_walk(
    name: str, damage: bytes | None, book: Certificates, state: Path
) -> None:
    held = enrolled(book, state, "pi-1")
    if damage is None:
        (held.folder / name).unlink()
    else:
        (held.folder / name).write_bytes(damage)
    found = Admission.of(config(broker="192.168.1.10"), state, SystemClock())
    assert (found.address, found.context, found.device) == ("", None, "pi-1")
    assert "enroll" in found.trouble


def test_an_identity_that_points_nowhere_is_a_damaged_one(book: Certificates, state: Path) -> None:
    held = enrolled(book, state, "pi-1")
    for path in held.folder.iterdir():
        path.unlink()
    held.folder.rmdir()
    found = Admission.of(config(broker="192.168.1.10", name="pi-1"), state, SystemClock())
    assert (found.address, found.device) == ("", "pi-1")
    assert found.trouble


def test_a_certificate_that_has_ended_is_said(book: Certificates, state: Path) -> None:
    held = enrolled(book, state, "pi-1")
    held.floor.reset(held.not_after_utc + 1)
    found = Admission.of(config(), state, ManualClock(epoch_s=0.0))
    assert "has ended" in found.trouble
    assert found.context is not None, "it is tried all the same: the floor may be wrong"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from([identity.ENROLMENT, identity.CERTIFICATE, identity.CA, identity.KEY]),
    data=st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["format", "device", "broker", "server", "enrolled_at_utc"]),
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.just("pi-1"),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_bytes_in_an_identity_are_a_damage_that_is_said(
    name: str, data: bytes, book: Certificates, state: Path
) -> None:
    link = state / identity.FOLDER
    held = link.resolve() if link.exists() else enrolled(book, state, "pi-1").folder
    whole = (held / name).read_bytes()
    (held / name).write_bytes(data)
    assert Admission.of(config(), state, SystemClock()).trouble
    (held / name).write_bytes(whole)
    assert not Admission.of(config(), state, SystemClock()).trouble
