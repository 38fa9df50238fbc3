"""Joining a Wi-Fi by nmcli: a program of that name records what it is asked, and fails as NetworkManager's does."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from device.setup import network
from device.setup.kinds import Joined, JoinTrouble, NotJoined
from shared.setup_code import WifiNetwork, WifiSecurity
from tests.device.setup.nmcli import FakeNmcli

PASSWORD = r" p:s\ word;1 "
HOME = WifiNetwork("Anna's home", password=PASSWORD)


@pytest.fixture
def nmcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNmcli:
    return FakeNmcli(tmp_path / "bin").used(monkeypatch)


def test_a_network_is_tried_under_a_name_of_its_own_and_then_takes_the_old_one_s_place(nmcli: FakeNmcli) -> None:
    assert network.join(HOME) == Joined()
    old, trial = "waycue Anna's home", "waycue Anna's home (new)"
    assert [call.arguments for call in nmcli.calls] == [
        ["radio", "wifi", "on"],
        ["--get-values", "GENERAL.STATE", "connection", "show", "id", trial],
        ["connection", "delete", "id", trial],
        [
            *("connection", "add", "type", "wifi", "con-name", trial, "ssid", "Anna's home"),
            *("802-11-wireless.hidden", "no", "802-11-wireless-security.key-mgmt", "wpa-psk"),
        ],
        ["--wait", "40", "connection", "up", "id", trial, "passwd-file", "/dev/stdin"],
        ["connection", "delete", "id", old],
        ["connection", "modify", "id", trial, "connection.id", old],
    ]
    (given,) = (call.stdin for call in nmcli.calls if call.stdin)
    assert given.startswith("802-11-wireless-security.psk:")
    assert nmcli.passwords == [PASSWORD]


@pytest.mark.parametrize(
    ("wanted", "key_management", "hidden"),
    [
        (WifiNetwork("cafe", WifiSecurity.OPEN), None, "no"),
        (WifiNetwork("new", WifiSecurity.SAE, "pw"), "sae", "no"),
        (WifiNetwork("quiet", password="password1", hidden=True), "wpa-psk", "yes"),
        (WifiNetwork("-x", password="0" * 64), "wpa-psk", "no"),
    ],
)
def test_open_hidden_and_wpa3_networks_are_joined_as_what_they_are(
    nmcli: FakeNmcli, wanted: WifiNetwork, key_management: str | None, hidden: str
) -> None:
    assert network.join(wanted) == Joined()
    (profile,) = (call.arguments for call in nmcli.calls if "add" in call.arguments)
    assert profile[profile.index("802-11-wireless.hidden") + 1] == hidden
    given = profile[-1] if "802-11-wireless-security.key-mgmt" in profile else None
    assert given == key_management
    assert bool(nmcli.passwords) == (wanted.security is not WifiSecurity.OPEN)


FAILURES = [
    (4, "Error: Connection activation failed: (7) Secrets were required, but not provided.", JoinTrouble.PASSWORD),
    (4, "Error: Connection activation failed: 802.1X supplicant took too long to authenticate", JoinTrouble.PASSWORD),
    (4, "Error: Connection activation failed: (53) The Wi-Fi network could not be found.", JoinTrouble.NOT_FOUND),
    (8, "Error: NetworkManager is not running.", JoinTrouble.UNABLE),
    (1, "Error: Failed to add 'x' connection: Insufficient privileges", JoinTrouble.UNABLE),
    (4, "Error: Connection activation failed: No suitable device found for this connection", JoinTrouble.UNABLE),
    (3, "Error: Timeout expired (40 seconds)", JoinTrouble.FAILED),
    (4, "Error: Connection activation failed: (5) IP configuration could not be reserved", JoinTrouble.FAILED),
]


@pytest.mark.parametrize(("status", "text", "trouble"), FAILURES)
def test_what_nmcli_says_is_told_apart_and_leaves_the_old_network_alone(
    nmcli: FakeNmcli, status: int, text: str, trouble: JoinTrouble, caplog: pytest.LogCaptureFixture
) -> None:
    nmcli.answers(("connection up", status, text))
    assert network.join(HOME) == NotJoined(trouble)
    assert nmcli.calls[-1].arguments == ["connection", "delete", "id", "waycue Anna's home (new)"]
    assert "modify" not in nmcli.arguments
    assert text in caplog.text


def test_a_program_that_repeats_the_password_does_not_bring_it_into_the_log(
    nmcli: FakeNmcli, caplog: pytest.LogCaptureFixture
) -> None:
    nmcli.answers(("connection up", 4, f"Error: {PASSWORD} is no good"))
    with caplog.at_level(logging.DEBUG):
        assert network.join(HOME) == NotJoined(JoinTrouble.FAILED)
    assert PASSWORD not in caplog.text + nmcli.arguments + repr(HOME)


def test_the_name_of_a_network_tells_where_somebody_lives_and_is_in_no_log(
    nmcli: FakeNmcli, caplog: pytest.LogCaptureFixture
) -> None:
    nmcli.answers(("connection up", 10, f"Error: No network with SSID '{HOME.ssid}' found."))
    with caplog.at_level(logging.DEBUG):
        assert network.join(HOME) == NotJoined(JoinTrouble.NOT_FOUND)
    assert "No network with SSID '…' found." in caplog.text
    assert "Anna" not in caplog.text


def test_a_network_that_worked_before_a_power_cut_is_not_left_for_one_that_does_not_work(nmcli: FakeNmcli) -> None:
    trial = "waycue Anna's home (new)"
    nmcli.answers((f"connection show id {trial}", 0, "activated"), ("connection up", 4, "Secrets were required"))
    assert network.join(HOME) == NotJoined(JoinTrouble.PASSWORD)
    kept = nmcli.calls.index(next(call for call in nmcli.calls if "modify" in call.arguments))
    assert [call.arguments for call in nmcli.calls[:kept] if "delete" in call.arguments] == [
        ["connection", "delete", "id", "waycue Anna's home"]
    ]


def test_without_networkmanager_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert network.join(HOME) == NotJoined(JoinTrouble.UNABLE)
    assert "apt install network-manager" in caplog.text


def test_a_networkmanager_that_hangs_is_given_up(nmcli: FakeNmcli, tmp_path: Path) -> None:
    (tmp_path / "bin" / "nmcli").write_text("#!/bin/sh\nexec sleep 30\n")
    assert network.join(HOME, limit_s=0.2) == NotJoined(JoinTrouble.FAILED)
