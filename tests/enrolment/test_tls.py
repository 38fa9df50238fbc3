"""A device believes whoever is called `broker` by its own authority, at any address, and keeps its own time."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.identity.authority import Authority
from shared import tls
from shared.clock import ManualClock, SystemClock
from tests.enrolment.test_authority import request

YEAR_S = 365 * 86400.0


@contextmanager
def serving(key: Path, certificate: Path) -> Iterator[int]:
    """A TLS server on 127.0.0.1 for one connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listener.accept()
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(60)


def shake_hands(context: ssl.SSLContext, port: int, *, host: str = "broker.example") -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(b"x")


def client(authority: Authority, *, role: str = tls.BROKER, now_s: float | None = None) -> ssl.SSLContext:
    key, certificate = authority.service("waycue-server", server_auth=False)
    return tls.client_context(
        ca_pem=authority.ca_pem.decode(),
        certificate=certificate,
        key=key,
        role=role,
        now_s=None if now_s is None else lambda: now_s,
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "home", clock=SystemClock())


def test_the_broker_may_be_at_any_address(authority: Authority) -> None:
    with serving(*authority.service("broker", server_auth=True)) as port:
        shake_hands(client(authority), port, host="10.1.2.3")


def test_another_part_of_the_server_is_not_the_broker(authority: Authority) -> None:
    with (
        serving(*authority.service("enrol", server_auth=True)) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        shake_hands(client(authority), port)


def test_that_it_is_not_is_for_its_role_alone(authority: Authority) -> None:
    """The control removed."""
    with serving(*authority.service("enrol", server_auth=True)) as port:
        shake_hands(client(authority, role="enrol"), port)


def test_a_certificate_for_clients_cannot_play_the_broker(authority: Authority) -> None:
    with serving(*authority.service("waycue-server", server_auth=False)) as port, pytest.raises(ssl.SSLError) as caught:
        shake_hands(client(authority), port)
    assert "purpose" in str(caught.value)


def test_a_broker_of_another_authority_is_a_stranger(authority: Authority, tmp_path: Path) -> None:
    foreign = Authority.make(tmp_path / "foreign", clock=SystemClock())
    with (
        serving(*foreign.service("broker", server_auth=True)) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="verify failed"),
    ):
        shake_hands(client(authority), port)


@pytest.fixture(params=[-10, 10], ids=["ten years behind", "ten years ahead"])
def elsewhen(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    """An authority whose clock differs from this machine's by years: what a device with a wrong clock meets."""
    return Authority.make(tmp_path / "home", clock=ManualClock(epoch_s=SystemClock().utc_s() + request.param * YEAR_S))


def test_a_clock_that_is_wrong_by_years_does_not_cut_a_device_off(elsewhen: Authority) -> None:
    with serving(*elsewhen.service("broker", server_auth=True)) as port:
        shake_hands(client(elsewhen, now_s=0.0), port)


def test_without_the_floor_it_would(elsewhen: Authority) -> None:
    """The control removed: OpenSSL with the machine's own clock."""
    with serving(*elsewhen.service("broker", server_auth=True)) as port, pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client(elsewhen), port)


def test_a_certificate_that_ended_before_the_floor_is_refused(authority: Authority) -> None:
    now_s = SystemClock().utc_s() + 2 * YEAR_S
    with (
        serving(*authority.service("broker", server_auth=True)) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="has expired"),
    ):
        shake_hands(client(authority, now_s=now_s), port)


def test_a_device_certificate_is_taken_by_its_purpose(authority: Authority, tmp_path: Path) -> None:
    """What openssl says of it is in test_authority; here that loading a pair that does not fit is noticed."""
    path = tmp_path / "device.crt"
    path.write_bytes(authority.issue_device(request(), "pi-1"))
    key, _ = authority.service("waycue-server", server_auth=False)
    with pytest.raises(ssl.SSLError):
        tls.client_context(ca_pem=authority.ca_pem.decode(), certificate=path, key=key)


def test_an_alert_is_put_in_words() -> None:
    error = ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked (_ssl.c:2580)")
    error.reason = "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert tls.alert_text(error) == "certificate revoked"
    error.reason = "TLSV1_ALERT_UNKNOWN_CA"
    assert tls.alert_text(error) == "unknown ca"
