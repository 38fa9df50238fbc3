"""What a device is known to call by name: its wearer, itself, networks and their passwords, hosts, accounts.

Settings are read as plain lines, too: a file with a slip in it names its wearer as well, and so does the log.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from device import config as settings
from device.config import Config
from device.identity.admission import Admission
from device.install.machine import at
from device.install.redaction import named
from shared.clock import Clock
from shared.errors import WaycueError

Ask = Callable[[tuple[str, ...]], str]
"""Runs a program and returns what it printed, or why it could not be run, in brackets."""
NETWORKS = ("etc/NetworkManager/system-connections/*", "etc/wpa_supplicant/*.conf", "etc/netplan/*.yaml")
NAMING = {
    "name": "device", "wearer": "wearer", "context": "context", "address": "host", "pause_at": "network",
    "output": "output", "input": "input", "microphone": "microphone", "source": "source",
}  # fmt: skip
"""Settings of free text that may name somebody, whatever their section → what stands in the place of their words."""
NAMES_NOBODY = frozenset(
    "root waycue localhost pi lo wifi wireless ethernet default none off auto usb hdmi analog bluetooth bluez speakers "
    "picamera2 camera replay headset headphones".split()
)
_SETTING = re.compile(
    rf"(?:^|[{{,])\s*(?:\w+\.)?({'|'.join(NAMING)})\s*=(.*?)(?=^\s*[\w.]+\s*=|^\s*\[\w|\Z)", re.DOTALL | re.MULTILINE
)
_QUOTED = re.compile(r"\"((?:\\.|[^\"\\\n])*)\"|'([^'\n]*)'")
_KEYED = re.compile(
    r"^\s*[\"']?(ssid|psk|id|password|key|wep_key0)[\"']?\s*[=:]\s*(\S.*)$", re.IGNORECASE | re.MULTILINE
)
_POINT = re.compile(r"^\s*(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s\"'#][^:\n]*)):\s*(?:\{.*)?$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{3,}")


def known_names(config: Config, clock: Clock, *, root: Path, file: Path | None, ask: Ask) -> dict[str, str]:
    """Each → what stands in its place. file: the settings, however broken. Raises nothing."""
    pairs: list[tuple[str, str | None]] = [
        ("wearer", config.device.wearer),
        ("device", config.device.name),
        ("context", config.device.context),
        ("host", socket.gethostname()),
        ("host", config.broker.address.rpartition(":")[0]),
        ("user", _user()),
        *_written(file),
    ]
    try:
        admission = Admission.of(config, settings.state_folder(config), clock)
        pairs += [("device", admission.device), ("host", admission.address.rpartition(":")[0])]
    except (WaycueError, OSError):
        pass
    pairs += [("network", name) for name in networks(root, ask)]
    pairs += [("user", path.name) for path in sorted(at(root, "/home").glob("*"))]
    pairs += [("wearer", word) for what, name in pairs if what == "wearer" for word in _WORD.findall(name or "")]
    return {name: what for name, what in named(pairs).items() if not _is_common(name)}


def _is_common(name: str) -> bool:
    return name.lower() in NAMES_NOBODY or name.isdigit() or name.startswith("/dev/")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _written(file: Path | None) -> Iterator[tuple[str, str]]:
    """What stands in the quotes of a settings file behind NAMING."""
    text = _text_of(file) if file is not None else ""
    for key, values in _SETTING.findall(text):
        for double, single in _QUOTED.findall(values):
            value = (double or single).replace('\\"', '"')
            if key == "source":
                value = value.partition(":")[2]
            yield NAMING[key], value
            if key == "address":
                yield NAMING[key], value.rpartition(":")[0]


def networks(root: Path, ask: Ask) -> list[str]:
    """Names of Wi-Fi networks and their secrets, so that they are found wherever else they stand."""
    said = ask(("nmcli", "--terse", "--escape", "no", "--fields", "NAME", "connection", "show"))
    found = [] if said.startswith("(") else said.splitlines()
    for pattern in NETWORKS:
        for path in sorted(root.glob(pattern)):
            text = _text_of(path)
            found += [value.strip().strip("\"'") for _, value in _KEYED.findall(text)]
            found += [path.stem, *(_points(text) if path.suffix == ".yaml" else ())]
    return [bare for name in found for bare in {name, _bare(name)} if bare]


def _bare(name: str) -> str:
    """The network's own name in that of a profile which we, or netplan, made for it."""
    return re.sub(r"^(?:waycue |netplan-[^-]+-)|(?: \(new\))$", "", name)


def _points(text: str) -> Iterator[str]:
    """Keys of netplan's `access-points:`, which are names of networks."""
    for block in re.findall(r"^([ \t]*)access-points:[ \t]*\n((?:\1[ \t]+.*\n?|[ \t]*\n)*)", text, re.MULTILINE):
        inside = block[1]
        depth = min((len(line) - len(line.lstrip()) for line in inside.splitlines() if line.strip()), default=0)
        level = "\n".join(line for line in inside.splitlines() if len(line) - len(line.lstrip()) == depth)
        yield from (next(filter(None, found)).strip() for found in _POINT.findall(level))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""
