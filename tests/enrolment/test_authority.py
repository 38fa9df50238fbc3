"""The authority: who gets which certificate, and what becomes of them."""

from __future__ import annotations

import datetime as dt
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from server.identity.authority import MAX_CSR_BYTES, Authority, read_csr
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError, Refused

DAY_S = 86400.0
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def request(name: str = "pi-1", *, key: Key | None = None) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path, clock=SystemClock())


def test_making_it_again_keeps_what_is_there(tmp_path: Path) -> None:
    first = Authority.make(tmp_path, clock=SystemClock())
    again = Authority.make(tmp_path, clock=SystemClock())
    assert again.ca_pem == first.ca_pem
    assert again.ca_pem == first.ca_pem


def test_a_home_without_one_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="init"):
        Authority(tmp_path, clock=SystemClock())


def test_power_lost_between_key_and_certificate_leaves_a_working_authority(tmp_path: Path) -> None:
    Authority.make(tmp_path, clock=SystemClock())
    (tmp_path / "ca" / "ca.crt").unlink()
    (tmp_path / "ca" / "crl.pem").unlink()
    authority = Authority.make(tmp_path, clock=SystemClock())
    authority.issue_device(request(), "pi-1")


def test_every_key_is_for_its_owner_only(authority: Authority) -> None:
    authority.service("broker", server_auth=True)
    keys = list(authority.folder.glob("*.key"))
    assert len(keys) == 2
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    Authority.make(tmp_path, clock=SystemClock())
    os.chmod(tmp_path / "ca" / "ca.key", 0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Authority(tmp_path, clock=SystemClock())


def test_a_device_gets_the_name_that_it_was_given_and_not_the_one_it_asked_for(authority: Authority) -> None:
    made = x509.load_pem_x509_certificate(authority.issue_device(request("broker"), "pi-1"))
    assert [name.value for name in made.subject] == ["pi-1"]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("name", ["broker", "waycue-server", "waycue-worker-7", "enrol", "A", "", "a/b", "x" * 33])
def test_some_names_are_never_given_to_a_device(authority: Authority, name: str) -> None:
    with pytest.raises(Refused, match="name"):
        authority.issue_device(request(), name)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "P-256"),
        (rsa.generate_private_key(65537, 1024), "bits"),
        (ed25519.Ed25519PrivateKey.generate(), "neither"),
    ],
    ids=["p384", "rsa-1024", "ed25519"],
)
def test_a_weak_or_strange_key_is_refused(key: Key, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read_csr(request(key=key))


def test_a_request_for_somebody_elses_key_is_refused() -> None:
    der = bytearray(x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Refused, match="own key"):
        read_csr(forged)


def test_a_huge_request_is_not_even_read() -> None:
    with pytest.raises(Refused, match="at most"):
        read_csr(b"x" * (MAX_CSR_BYTES + 1))


PLAIN = request()


@given(st.binary(max_size=600) | st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)))
def test_any_bytes_are_refused_or_read_and_nothing_else(change: bytes | tuple[int, int]) -> None:
    data = change if isinstance(change, bytes) else PLAIN[: change[0]] + bytes([change[1]]) + PLAIN[change[0] + 1 :]
    try:
        read_csr(data)
    except Refused:
        pass


def test_openssl_agrees_with_the_chain_and_the_purposes(authority: Authority, tmp_path: Path) -> None:
    device = tmp_path / "device.crt"
    device.write_bytes(authority.issue_device(request(), "pi-1"))
    _, broker = authority.service("broker", hosts=["broker.example", "192.168.1.10"], server_auth=True)
    _, server = authority.service("waycue-server", server_auth=False)

    def verify(path: Path, purpose: str) -> bool:
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            str(authority.folder / "ca.crt"),
            "-purpose",
            purpose,
        ]
        return subprocess.run([*command, str(path)], capture_output=True, timeout=30).returncode == 0

    assert verify(device, "sslclient")
    assert not verify(device, "sslserver")
    assert verify(broker, "sslserver")
    assert not verify(broker, "sslclient")
    assert verify(server, "sslclient")
    assert not verify(server, "sslserver")


def test_a_part_keeps_key_and_certificate_until_a_third_of_its_life_is_left(tmp_path: Path) -> None:
    clock = ManualClock()
    authority = Authority.make(tmp_path, clock=clock)
    key, crt = authority.service("broker", server_auth=True)
    first, first_key = crt.read_bytes(), key.read_bytes()
    clock.sleep(240 * DAY_S)
    authority.service("broker", server_auth=True)
    assert crt.read_bytes() == first
    clock.sleep(5 * DAY_S)
    authority.service("broker", server_auth=True)
    assert crt.read_bytes() != first
    assert key.read_bytes() == first_key


def test_a_new_host_is_added_and_the_old_ones_stay(authority: Authority) -> None:
    authority.service("broker", hosts=["a.example"], server_auth=True)
    _, crt = authority.service("broker", hosts=["192.168.1.10"], server_auth=True)
    names = x509.load_pem_x509_certificate(crt.read_bytes()).extensions
    found = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"broker", "localhost", "a.example"} <= set(found.get_values_for_type(x509.DNSName))
    assert "192.168.1.10" in {str(address) for address in found.get_values_for_type(x509.IPAddress)}


def test_a_certificate_of_an_authority_before_this_one_is_made_anew(tmp_path: Path) -> None:
    _, crt = Authority.make(tmp_path, clock=SystemClock()).service("broker", server_auth=True)
    old = crt.read_bytes()
    for name in ("ca.key", "ca.crt"):
        (tmp_path / "ca" / name).unlink()
    Authority.make(tmp_path, clock=SystemClock()).service("broker", server_auth=True)
    assert crt.read_bytes() != old


def test_the_list_of_those_taken_back_is_signed_and_outlives_a_long_absence(tmp_path: Path) -> None:
    clock = ManualClock()
    authority = Authority.make(tmp_path, clock=clock)
    assert authority.revoke({5: clock.utc_s()})
    assert not authority.revoke({5: clock.utc_s()}), "nothing changed"
    listed = x509.load_pem_x509_crl(authority.crl().read_bytes())
    assert [entry.serial_number for entry in listed] == [5]
    end = listed.next_update_utc
    assert end is not None
    assert end - dt.datetime.fromtimestamp(clock.utc_s(), dt.UTC) > dt.timedelta(days=10 * 365)
