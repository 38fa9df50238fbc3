"""The key that moments are sealed to: made once, vouched for by the authority, and taken from nobody else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509

from device.commands.main import main
from device.identity import identity
from server.identity import sealing_key
from server.identity.authority import Authority
from server.identity.sealing_key import SealingKey
from shared import sealing
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError, Refused
from shared.sealing import CERTIFICATE_NAME, SealedPlace
from tests.enrolment.conftest import Desk
from tests.enrolment.test_authority import request


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "home", clock=SystemClock())


def test_it_is_made_once_and_kept(authority: Authority) -> None:
    first, again = SealingKey.of(authority), SealingKey.of(authority)
    assert first.private.private_bytes_raw() == again.private.private_bytes_raw()
    assert first.certificate_pem == again.certificate_pem
    assert stat.S_IMODE((authority.folder / f"{CERTIFICATE_NAME}.key").stat().st_mode) == 0o600


def test_power_lost_between_key_and_certificate_keeps_the_key(authority: Authority) -> None:
    first = SealingKey.of(authority)
    (authority.folder / f"{CERTIFICATE_NAME}.crt").unlink()
    again = SealingKey.of(authority)
    assert again.private.private_bytes_raw() == first.private.private_bytes_raw()
    identity.check_sealing(again.certificate_pem.encode(), authority.ca_pem)


def test_a_key_that_others_can_read_is_not_used(authority: Authority) -> None:
    SealingKey.of(authority)
    (authority.folder / f"{CERTIFICATE_NAME}.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        SealingKey.of(authority)


def test_a_damaged_key_is_told_and_never_replaced(authority: Authority) -> None:
    SealingKey.of(authority)
    path = authority.folder / f"{CERTIFICATE_NAME}.key"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match="is no key"):
        SealingKey.of(authority)
    assert b"AAAA" in path.read_bytes()


def test_an_enrolled_device_seals_to_it(desk: Desk) -> None:
    found = desk.enrol(desk.book.add("pi-1").code)
    assert found.sealing_key is not None
    place = SealedPlace("pi-1", "pi-1-b-1", "frame")
    sealed = sealing.seal(b"a picture", found.sealing_key, place)
    assert sealing.unseal(sealed, SealingKey.of(desk.certificates.authority).private, place) == b"a picture"


def test_no_device_is_let_in_under_its_name(authority: Authority) -> None:
    with pytest.raises(Refused):
        authority.issue_device(request(), CERTIFICATE_NAME)


def test_a_certificate_of_a_device_is_none_for_sealing(authority: Authority) -> None:
    for pem in (
        authority.issue_device(request(), "pi-1"),
        authority.service("broker", server_auth=True)[1].read_bytes(),
    ):
        with pytest.raises(ValueError, match="the key for sealing"):
            identity.check_sealing(pem, authority.ca_pem)


def test_it_signs_nothing_and_is_nobody_in_tls(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(SealingKey.of(authority).certificate_pem.encode())
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_agreement, usage.digital_signature, usage.key_cert_sign) == (True, False, False)
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_a_damaged_certificate_on_the_device_is_no_reason_to_keep_moments_unencrypted(desk: Desk) -> None:
    found = desk.enrol(desk.book.add("pi-1").code)
    (found.folder / identity.SEALING).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="cannot be used"):
        identity.Identity.open(desk.state, floor=found.floor)


def test_a_person_is_told_whether_moments_are_encrypted(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    found = desk.enrol(desk.book.add("pi-1").code)
    assert main(["identity", "--state", str(desk.state)]) == 0
    assert "moments are kept encrypted for the server" in capsys.readouterr().out
    (desk.folder / "device.toml").write_text("[privacy]\nencrypt = false\n")
    assert main(["identity", "--state", str(desk.state), "--config", str(desk.folder / "device.toml")]) == 0
    assert "unencrypted, as privacy.encrypt says" in capsys.readouterr().out
    (found.folder / identity.SEALING).unlink()
    assert main(["identity", "--state", str(desk.state)]) == 0
    assert "waycue-device renew" in capsys.readouterr().out
    assert main(["identity", "--state", str(desk.state), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sealing_key"] is False


def test_a_new_key_is_another_and_the_ones_before_it_go_on_opening(authority: Authority) -> None:
    place = SealedPlace("pi-1", "pi-1-b-1", "frame")
    keys = [SealingKey.of(authority), sealing_key.rotate(authority), sealing_key.rotate(authority)]
    assert SealingKey.of(authority).key_id == keys[-1].key_id
    assert sealing_key.older(authority) == sorted(key.key_id for key in keys[:-1])
    find = sealing_key.finder(authority)
    for key in keys:
        sealed = sealing.seal(b"a picture", key.private.public_key(), place)
        opened_with = find(sealing.sealed_to(sealed))
        assert opened_with is not None
        assert sealing.unseal(sealed, opened_with, place) == b"a picture"
    assert find(b"8 bytes.") is None
    for path in authority.folder.glob(f"{CERTIFICATE_NAME}*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    dates = [identity.dated(key.certificate_pem.encode()) for key in keys]
    assert dates == sorted(set(dates)), "each is dated later, also within one second"


@pytest.mark.parametrize("step", sealing_key.STEPS)
def test_a_change_of_the_key_that_is_cut_short_leaves_one_that_works_and_none_is_lost(
    authority: Authority, step: str
) -> None:
    class Cut(Exception):
        pass

    def cut(name: str) -> None:
        if name == step:
            raise Cut

    before = SealingKey.of(authority)
    with pytest.raises(Cut):
        sealing_key.rotate(authority, crash_point=cut)
    after = SealingKey.of(authority)
    identity.check_sealing(after.certificate_pem.encode(), authority.ca_pem)
    public = x509.load_pem_x509_certificate(after.certificate_pem.encode()).public_key()
    assert public == after.private.public_key()
    find = sealing_key.finder(authority)
    assert find(bytes.fromhex(before.key_id)) is not None
    assert find(bytes.fromhex(after.key_id)) is not None


def test_a_clock_that_went_back_dates_no_new_key_before_the_old_one(tmp_path: Path) -> None:
    clock = ManualClock()
    home = tmp_path / "home"
    authority = Authority.make(home, clock=clock)
    before = SealingKey.of(authority)
    behind = Authority(home, clock=ManualClock(epoch_s=clock.utc_s() - 1e6))
    assert sealing_key.rotate(behind).since_utc_s > before.since_utc_s


def test_an_older_key_that_others_can_read_is_not_used(authority: Authority) -> None:
    before = SealingKey.of(authority)
    sealing_key.rotate(authority)
    (authority.folder / f"{CERTIFICATE_NAME}-{before.key_id}.key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        sealing_key.finder(authority)(bytes.fromhex(before.key_id))
