"""Secrets and links on the disk: what lies in the way of a file neither opens it to others nor leads it elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509

from server.broker import files
from server.broker.child import free_port
from server.broker.files import BrokerListener
from server.identity.authority import Authority
from shared import atomic
from shared.clock import SystemClock


def test_a_secret_is_for_its_owner_only_whatever_was_left_in_its_way(tmp_path: Path) -> None:
    left = tmp_path / f"device.key{atomic.TEMP_SUFFIX}"
    left.write_bytes(b"of an older version, open to all")
    left.chmod(0o644)
    atomic.write_bytes(tmp_path / "device.key", b"secret", mode=0o600)
    assert (tmp_path / "device.key").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_way_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """In a folder that was given to the broker's account, whoever broke into the broker may put one."""
    other = tmp_path / "elsewhere"
    other.write_bytes(b"mine")
    (tmp_path / f"crl.pem{atomic.TEMP_SUFFIX}").symlink_to(other)
    atomic.write_bytes(tmp_path / "crl.pem", b"list")
    assert (other.read_bytes(), (tmp_path / "crl.pem").read_bytes()) == (b"mine", b"list")
    assert not (tmp_path / "crl.pem").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_giving_the_folder_to_the_broker_again_gives_away_nothing_outside_it(tmp_path: Path) -> None:
    plugin, mine = tmp_path / "plugin.so", tmp_path / "shadow"
    plugin.touch()
    mine.touch()
    authority = Authority.make(tmp_path / "home", clock=SystemClock())
    listening = BrokerListener("127.0.0.1", free_port(), "nobody", plugin)
    files.write(tmp_path / "broker", authority, listening)
    (tmp_path / "broker" / "sly").symlink_to(mine)
    files.write(tmp_path / "broker", authority, listening)
    assert (tmp_path / "broker").stat().st_uid != 0
    assert mine.stat().st_uid == 0


@pytest.mark.parametrize("damage", [b"", b"no list", b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"])
def test_a_damaged_list_of_those_taken_back_is_made_anew(damage: bytes, tmp_path: Path) -> None:
    """Else nobody could be locked out any more, and the door would not be looked after at all."""
    authority = Authority.make(tmp_path, clock=SystemClock())
    authority.revoke({7: 1_700_000_000.0})
    authority.crl().write_bytes(damage)
    assert authority.revoke({7: 1_700_000_000.0})
    listed = x509.load_pem_x509_crl(authority.crl().read_bytes())
    assert [entry.serial_number for entry in listed] == [7]
