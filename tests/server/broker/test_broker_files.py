"""The configuration is complete, private, safe to write again, and good for both versions of Mosquitto."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.broker import files
from server.broker.child import BrokerChild, free_port
from server.broker.files import BrokerListener
from server.identity.authority import Authority
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError, Transient, Unreachable
from tests.secure import secure_site
from tests.security.intruder import Intruder

# Deprecated in 2.1 (https://mosquitto.org/blog/2026/01/version-2-1-0-released/), older deprecations, or only in 2.1.
OUTDATED = {
    "acl_file", "password_file", "per_listener_settings", "auth_plugin", "bind_address", "port", "message_size_limit",
    "retry_interval", "store_clean_interval", "global_plugin", "plugin_load", "plugin_use",
}  # fmt: skip
MODES_OF_OTHERS = 0o077


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "home", clock=SystemClock())


def listener(*, user: str | None = None, plugin: Path | None = None) -> BrokerListener:
    plugin = plugin or files.find_plugin()
    assert plugin is not None
    return BrokerListener("127.0.0.1", free_port(), user or files.own_account(), plugin)


def test_every_line_is_good_for_both_versions(tmp_path: Path) -> None:
    lines = files.configuration(tmp_path, listener(plugin=tmp_path)).splitlines()
    words = {line.split()[0] for line in lines if line and not line.startswith("#")}
    assert words & OUTDATED == set()
    assert len(words) > 20


def test_every_file_is_private(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "broker"
    files.write(folder, authority, listener())
    assert {path.name for path in folder.iterdir()} == {
        "mosquitto.conf",
        "dynamic-security.json",
        "ca.crt",
        "broker.crt",
        "broker.key",
        "crl.pem",
    }
    assert {path.stat().st_mode & MODES_OF_OTHERS for path in (folder, *folder.iterdir())} == {0}


def test_written_again_it_keeps_what_the_broker_learned(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "broker"
    files.write(folder, authority, listener())
    rules = folder / "dynamic-security.json"
    learned = {**json.loads(rules.read_text()), "learned": True}
    rules.write_text(json.dumps(learned))
    files.write(folder, authority, listener(), hosts=["broker.example.org"])
    assert json.loads(rules.read_text()) == learned


@pytest.mark.parametrize("damage", [b"", b'{"clients": [', b"[]", b"\xff"])
def test_rules_that_cannot_be_read_are_made_anew(damage: bytes, tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "broker"
    files.write(folder, authority, listener())
    whole = (folder / "dynamic-security.json").read_bytes()
    (folder / "dynamic-security.json").write_bytes(damage)
    files.write(folder, authority, listener())
    assert (folder / "dynamic-security.json").read_bytes() == whole


def test_with_rules_that_it_cannot_read_the_broker_lets_nobody_do_anything(tmp_path: Path) -> None:
    with secure_site(tmp_path) as site:
        card = site.enrol("anna")
        site.access.stop()
        site.broker.stop()
        (site.folder / "dynamic-security.json").write_bytes(b'{"clients": [')
        try:
            site.broker.start(timeout_s=5)
        except Unreachable:
            return  # it does not start at all: as safe
        with Intruder(site, card.context(), client_id="anna") as anna:
            if anna.connect() == "Success":
                assert anna.publish("wc/v1/anna/up/event") == "Not authorized"


def test_an_account_that_does_not_exist_is_named(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(ConfigError, match="no account 'nobody-at-all'"):
        files.write(tmp_path / "broker", authority, listener(user="nobody-at-all"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_are_given_to_the_account_of_the_broker(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "broker"
    files.write(folder, authority, listener(user="nobody"))
    owner = folder.stat().st_uid
    assert owner != 0
    authority.revoke({7: 1_700_000_000.0})
    assert files.refresh(folder, authority)
    assert {path.stat().st_uid for path in folder.iterdir()} == {owner}


def test_a_renewed_certificate_and_a_revocation_reach_the_folder_once(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    authority, folder = Authority.make(tmp_path / "home", clock=clock), tmp_path / "broker"
    files.write(folder, authority, listener())
    assert not files.refresh(folder, authority)
    authority.revoke({7: 1_700_000_000.0})
    assert (files.refresh(folder, authority), files.refresh(folder, authority)) == (True, False)
    clock.sleep(300 * 86400)
    before = (folder / "broker.crt").read_bytes()
    assert files.refresh(folder, authority)
    assert (folder / "broker.crt").read_bytes() != before


def test_reload_speaks_to_the_broker_of_the_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    files.reload(folder)  # no broker: nothing to do
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (folder / "mosquitto.pid").write_text(str(other.pid))
        assert files.running(folder) is None  # a number that was left behind, now another program's
        files.reload(folder)
        assert other.poll() is None
        other.send_signal(signal.SIGKILL)
    (folder / "mosquitto.pid").write_text("soon")
    assert files.running(folder) is None


def test_a_running_broker_is_found_by_its_folder(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "broker"
    files.write(folder, authority, listener())
    with BrokerChild(tmp_path / "log", secure=folder) as broker:
        assert files.running(folder) == broker.pid
        files.reload(folder)
        assert broker.running


@pytest.mark.parametrize(("command", "said"), [("false", "ended with 1"), ("/no/such/program x", "failed")])
def test_a_reload_command_that_fails_is_tried_again_later(command: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Transient, match=said):
        files.reload(tmp_path, command)


def test_a_path_that_mosquitto_cannot_take_is_refused(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(ConfigError, match="cannot take the path"):
        files.write(tmp_path / "a#b", authority, listener())
