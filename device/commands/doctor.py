"""waycue-device doctor: what somebody needs who helps from afar, in one file, without what names the wearer.

It reads; it changes nothing. What cannot be read is named in the file: a device that needs a doctor may be half broken.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from device import config as settings
from device.boot import agent_version
from device.commands import as_service, selftest
from device.commands.known_names import Ask, known_names
from device.config import Config
from device.health import machine_kind, status
from device.install import machine, manifest, sandbox
from device.install.machine import HOST, at
from device.install.plan import SERVICES, SETTINGS, UNIT_FOLDER
from device.install.redaction import kept_settings, redacted
from device.outbox import inspect
from shared import atomic
from shared.clock import Clock
from shared.errors import ConfigError
from shared.messages import to_dict

COMMAND = "doctor"
ASK_S = 20.0
JOURNAL_LINES = 3000
HOME_SETTINGS = Path(SETTINGS)
SENSORS = (
    "sys/class/thermal/thermal_zone*/t[ey][mp]*",
    "sys/class/power_supply/*/capacity*",
    "sys/class/power_supply/*/c[hu][ar]*",
    "sys/class/power_supply/*/status",
    "proc/asound/cards",
)
"""No serial numbers, which name a device."""
SHOWN = (
    "ActiveState,SubState,Result,NRestarts,ExecMainStatus,MemoryCurrent,TasksCurrent,StatusText,StateChangeTimestamp"
)
STATUS_LEFT_OUT = ("device", "last_said", "broker")


@dataclass(frozen=True, slots=True)
class DoctorPorts:
    """root: HOST, or where a test has laid a machine's files."""

    clock: Clock
    ask: Ask
    root: Path = HOST


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = commands.add_parser(COMMAND, help="write a file for support, without names, networks and secrets")
    doctor.add_argument("--config", type=Path, metavar="FILE", help="settings (default: as for run)")
    doctor.add_argument("--state", metavar="DIR", help="folder of the agent (device.state)")
    doctor.add_argument("--out", type=Path, metavar="FILE", help="where to (waycue-doctor-TIME.tar.gz)")


def run(arguments: argparse.Namespace, clock: Clock) -> int:
    """Raises: OSError where the file cannot be written."""
    now = datetime.fromtimestamp(clock.utc_s(), UTC)
    out = arguments.out or Path()
    if out.is_dir():
        out /= f"waycue-doctor-{now:%Y%m%d-%H%M%S}.tar.gz"
    found = examine(arguments, DoctorPorts(clock, ask))
    atomic.write_bytes(out, packed(found), mode=0o600)
    for name, text in found.items():
        print(f"{name}: {len(text)} characters")
    print(f"{out}: read it before you hand it on. It holds no recordings, names, networks or keys.")
    return 0


def ask(command: tuple[str, ...]) -> str:
    if not shutil.which(command[0]):
        return f"(no {command[0]} here)"
    try:
        done = subprocess.run(command, capture_output=True, timeout=ASK_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return (done.stdout + done.stderr).decode(errors="replace")


def examine(arguments: argparse.Namespace, ports: DoctorPorts) -> dict[str, str]:
    """Name of each file in the bundle → its redacted text. Raises nothing that a broken device could cause."""
    file = arguments.config or (HOME_SETTINGS if HOME_SETTINGS.exists() else None)
    config, trouble = _loaded(arguments, file)
    names = known_names(config, ports.clock, root=ports.root, file=file, ask=ports.ask)
    parts: dict[str, Callable[[], object]] = {
        "about.json": lambda: _about(ports),
        "packages.txt": _packages,
        "settings.json": lambda: {"trouble": trouble, **kept_settings(config)},
        "install.json": lambda: _made(ports.root),
        "units.txt": lambda: _units(ports),
        "journal.txt": lambda: _journal(ports),
        "status.json": lambda: _status(config, ports),
        "outbox.json": lambda: _outbox(config),
        "disk.txt": lambda: ports.ask(("df", "-h", "--output=target,fstype,size,avail,pcent", *_folders(config))),
        "sensors.txt": lambda: _sensors(ports),
        "selftest.json": lambda: _selftest(arguments, config, ports),
    }
    return {name: redacted(_text(part), names) for name, part in parts.items()}


def _text(part: Callable[[], object]) -> str:
    try:
        value = part()
    except Exception as error:  # noqa: BLE001 - whatever is broken on this device, the rest of the bundle is wanted
        value = f"(cannot be read: {type(error).__name__}: {error})"
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)


def packed(files: Mapping[str, str]) -> bytes:
    """A tar.gz with these files in a folder of its own, readable by their owner alone."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as bundle:
        for name, text in files.items():
            data = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"waycue-doctor/{name}")
            entry.size, entry.mode = len(data), 0o600
            bundle.addfile(entry, io.BytesIO(data))
    return held.getvalue()


def _loaded(arguments: argparse.Namespace, file: Path | None) -> tuple[Config, str]:
    """(settings, what is wrong with them). Settings that cannot be read are those of a device that is told nothing."""
    overrides = {"device.state": arguments.state}
    try:
        return settings.load(file, overrides), ""
    except (ConfigError, OSError) as error:
        return settings.load(None, overrides), str(error)


def _about(ports: DoctorPorts) -> dict[str, Any]:
    release = at(ports.root, "/etc/os-release")
    names = (line.partition("=") for line in release.read_text().splitlines()) if release.exists() else ()
    return {
        "waycue": agent_version(),
        "written": f"{datetime.fromtimestamp(ports.clock.utc_s(), UTC):%Y-%m-%d %H:%M} UTC",
        "python": f"{platform.python_version()} in {sys.prefix}",
        "system": next((value.strip('"') for key, _, value in names if key == "PRETTY_NAME"), "?"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "kind": machine_kind.this_machine(),
        "systemd": machine.systemd_version(ports.root),
        "memory": ports.ask(("free", "-m")),
        "uptime": ports.ask(("uptime",)),
    }


def _packages() -> str:
    return "\n".join(sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower))


def _made(root: Path) -> object:
    made = manifest.read(root)
    return "(nothing was installed here)" if made is None else {name: getattr(made, name) for name in made.__slots__}


def _units(ports: DoctorPorts) -> str:
    folder = at(ports.root, UNIT_FOLDER)
    texts = [f"== {name}\n{sandbox.unit_text(folder, name) or '(not installed)'}" for name in SERVICES]
    texts += [f"== {name}\n{ports.ask(('systemctl', 'show', f'--property={SHOWN}', name))}" for name in SERVICES]
    return "\n".join(texts)


def _journal(ports: DoctorPorts) -> str:
    units = [word for name in SERVICES for word in ("--unit", name)]
    return ports.ask(("journalctl", "--no-pager", "--no-hostname", "-o", "short-iso", "-n", str(JOURNAL_LINES), *units))


def _status(config: Config, ports: DoctorPorts) -> object:
    current = status.read(settings.state_folder(config), ports.clock)
    if current is None:
        return "(the agent does not run)"
    return {key: value for key, value in to_dict(current).items() if key not in STATUS_LEFT_OUT}


def _outbox(config: Config) -> object:
    """How many and how large, by kind and state: no names of records, which hold the device's."""
    sums: dict[str, dict[str, int]] = {}
    for line in inspect.waiting(settings.state_folder(config) / "outbox"):
        entry = sums.setdefault(f"{line.kind or 'unreadable'}, {line.state}", {"records": 0, "bytes": 0})
        entry["records"] += 1
        entry["bytes"] += line.size_bytes
    return sums


def _folders(config: Config) -> tuple[str, ...]:
    folder = settings.state_folder(config)
    return ("/", *([str(folder)] if folder.exists() else []))


def _sensors(ports: DoctorPorts) -> str:
    lines = [
        ports.ask(("vcgencmd", "get_throttled")),
        ports.ask(("ls", "-l", "/dev/snd", "/dev/video0", "/dev/gpiochip0")),
    ]
    for pattern in SENSORS:
        for path in sorted(ports.root.glob(pattern)):
            try:
                lines.append(f"{path.relative_to(ports.root)}: {path.read_text(errors='replace').strip()}")
            except OSError:
                continue
    return "\n".join(lines)


def _selftest(arguments: argparse.Namespace, config: Config, ports: DoctorPorts) -> object:
    """In the service's sandbox where it can be: that is what the device does."""
    if as_service.wanted(asked=False, by_hand=ports.root != HOST):
        words = ["selftest", *(["--config", str(arguments.config.resolve())] if arguments.config else [])]
        return selftest.to_json(as_service.run(words, only=(), config=arguments.config))
    return selftest.to_json(selftest.selftest(config, ports.clock))
