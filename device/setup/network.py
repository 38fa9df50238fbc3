"""Join a Wi-Fi through NetworkManager, by its own program nmcli.

Promises:

1. The password reaches nmcli by its standard input, never by its arguments, which everybody on the machine can read. It
   is kept by NetworkManager alone (0600, root), and stands in no log and no message; nor does the network's name, which
   tells where somebody lives.
2. A network that is joined already stays until the new one works; what did not work leaves nothing behind.

source: nmcli(1), "passwd-file", "EXIT STATUS"; nm-settings-nmcli(5), "802-11-wireless-security"; for the escapes
NetworkManager 1.42, src/libnmc-base/nm-client-utils.c, nmc_utils_parse_passwd_file
"""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import dataclass

from device.setup.kinds import Joined, JoinTrouble, NotJoined
from shared.setup_code import WifiNetwork, WifiSecurity

logger = logging.getLogger(__name__)

PROGRAM = "nmcli"
WAIT_S = 40  # for the radio, the password and an address
LIMIT_S = 60.0  # for nmcli itself
NO_MANAGER = 8  # exit status
KEY_MANAGEMENT = {WifiSecurity.PSK: "wpa-psk", WifiSecurity.SAE: "sae"}
SECRET = "802-11-wireless-security.psk"
TROUBLES = (
    (JoinTrouble.PASSWORD, ("secrets were required", "no secrets", "supplicant")),
    (JoinTrouble.NOT_FOUND, ("could not be found", "no network with", "ssid not found")),
    (JoinTrouble.UNABLE, ("not authorized", "insufficient privileges", "not running", "no suitable device")),
)
"""By words of nmcli's, in English: the texts of NMDeviceStateReason 7 (secrets), 8 to 11 (a supplicant that was turned
away: a wrong password on some radios, and with WPA3) and 53 (the network is not there), and of its errors."""


@dataclass(frozen=True, slots=True)
class NmcliResult:
    status: int
    said: str


def join(network: WifiNetwork, *, limit_s: float = LIMIT_S) -> Joined | NotJoined:
    """Join it, now and whenever it is there. May take `limit_s`. Raises nothing."""
    name = f"waycue {network.ssid}"
    trial = f"{name} (new)"
    try:
        _nmcli("radio", "wifi", "on", limit_s=limit_s)
        _clear(trial, name, limit_s=limit_s)
        made = _nmcli(*_profile(network, trial), limit_s=limit_s)
        joined = made if made.status else _up(network, trial, limit_s=limit_s)
        if joined.status:
            _nmcli("connection", "delete", "id", trial, limit_s=limit_s)
            return _trouble(network, joined)
        _rename(trial, name, limit_s=limit_s)
    except FileNotFoundError:
        logger.error("No network can be joined: there is no nmcli. apt install network-manager")
        return NotJoined(JoinTrouble.UNABLE)
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.error("The network of the code cannot be joined: %s", type(error).__name__)
        return NotJoined(JoinTrouble.FAILED)
    return Joined()


def _clear(trial: str, name: str, *, limit_s: float) -> None:
    """After a try that was cut short. Raises: OSError, TimeoutExpired."""
    state = _nmcli("--get-values", "GENERAL.STATE", "connection", "show", "id", trial, limit_s=limit_s)
    if state.said == "activated":  # power went after it had worked, and it is what the device is joined by
        _rename(trial, name, limit_s=limit_s)
    else:
        _nmcli("connection", "delete", "id", trial, limit_s=limit_s)


def _rename(trial: str, name: str, *, limit_s: float) -> None:
    """It works: it takes the place of the old profile. Raises: OSError, TimeoutExpired."""
    _nmcli("connection", "delete", "id", name, limit_s=limit_s)
    _nmcli("connection", "modify", "id", trial, "connection.id", name, limit_s=limit_s)


def _profile(network: WifiNetwork, name: str) -> list[str]:
    add = ["connection", "add", "type", "wifi", "con-name", name, "ssid", network.ssid]
    add += ["802-11-wireless.hidden", "yes" if network.hidden else "no"]
    if network.security is not WifiSecurity.OPEN:
        add += ["802-11-wireless-security.key-mgmt", KEY_MANAGEMENT[network.security]]
    return add


def _up(network: WifiNetwork, name: str, *, limit_s: float) -> NmcliResult:
    up = ["--wait", str(WAIT_S), "connection", "up", "id", name]
    if network.security is WifiSecurity.OPEN:
        return _nmcli(*up, limit_s=limit_s)
    secret = f"{SECRET}:{_escaped(network.password)}\n"
    return _nmcli(*up, "passwd-file", "/dev/stdin", secret=secret, limit_s=limit_s)


def _escaped(text: str) -> str:
    """A backslash escapes, and spaces at the ends would be cut off."""
    return text.replace("\\", "\\\\").replace(" ", "\\ ")


def _nmcli(*arguments: str, secret: str = "", limit_s: float) -> NmcliResult:
    """Raises: OSError, TimeoutExpired."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        input=secret.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=limit_s,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8", "LANGUAGE": ""},
    )
    return NmcliResult(done.returncode, done.stdout.decode("utf-8", "replace").strip())


def _trouble(network: WifiNetwork, failed: NmcliResult) -> NotJoined:
    said = failed.said
    for private in filter(None, (network.password, network.ssid)):
        said = said.replace(private, "…")
    logger.error("The network of the code cannot be joined: nmcli says (%d): %s", failed.status, said[-300:])
    if failed.status == NO_MANAGER:
        return NotJoined(JoinTrouble.UNABLE)
    spelt = failed.said.lower()
    return NotJoined(next((why for why, words in TROUBLES if any(w in spelt for w in words)), JoinTrouble.FAILED))
