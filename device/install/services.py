"""What a running systemd is told after the files have changed, and what a person should know of this machine."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Collection
from ctypes.util import find_library
from pathlib import Path

from device.health import machine_kind
from device.install import machine
from device.install.machine import HOST
from device.install.plan import SERVICES, UNIT_FOLDER, Reload
from device.install.programs import ProgramFailed, run_program
from device.install.reporting import Say

NO_PICAMERA2 = (
    "A camera on the Pi's ribbon cable cannot be used (one on USB can): sudo apt install python3-picamera2, and make "
    "the environment with --system-site-packages."
)
ALL = frozenset(Reload)
UDEV_RUNS = Path("/run/udev/control")
_COMMANDS: dict[Reload, tuple[tuple[str, ...], ...]] = {
    Reload.UDEV: (
        ("udevadm", "control", "--reload"),
        ("udevadm", "trigger", "--subsystem-match=input", "--subsystem-match=i2c-dev", "--subsystem-match=gpio"),
    ),
    Reload.MODULES: (("systemctl", "restart", "systemd-modules-load.service"),),
    Reload.JOURNAL: (("systemctl", "try-restart", "systemd-journald.service"),),
    Reload.MANAGER: (("systemctl", "daemon-reexec"),),
    Reload.UNITS: (("systemctl", "daemon-reload"),),
}


def reload(reloads: Collection[Reload], *, say: Say) -> None:
    """Have the parts of the system read their changed files. A part that refuses is told; the rest goes on."""
    for reload, commands in _COMMANDS.items():
        for command in commands if reload in reloads else ():
            if shutil.which(command[0]) and (command[0] != "udevadm" or UDEV_RUNS.exists()):
                _tried(command, say)


def _tried(command: tuple[str, ...], say: Say) -> None:
    try:
        run_program(*command)
    except ProgramFailed as error:
        say(f"after the next boot only: {Exception.__str__(error)}")


def start(*, restart: bool, say: Say) -> None:
    """Not waited for: the agent is ready only when it guides, and its camera may not be there yet."""
    names = unmasked(Path(UNIT_FOLDER))
    if names:
        run_program("systemctl", "--no-block", "restart" if restart else "start", *names)
    if names and restart:
        say(f"started: {' '.join(names)}")


def restart(*, timeout_s: float) -> None:
    """Waited for: the agent is ready soon after it has loaded its model. Raises: ProgramFailed."""
    names = unmasked(Path(UNIT_FOLDER))
    if names:
        run_program("systemctl", "restart", *names, timeout_s=timeout_s)


def unmasked(folder: Path) -> tuple[str, ...]:
    """Those that may be started: systemctl fails for one that a person has masked. folder: of the units"""
    return tuple(name for name in SERVICES if not (folder / name).is_symlink())


def stop(*, say: Say) -> None:
    """Raises: ProgramFailed."""
    run_program("systemctl", "stop", *reversed(SERVICES))
    say(f"stopped: {' '.join(reversed(SERVICES))}")


def advice(root: Path) -> list[str]:
    """What is missing for a walk on this machine, and the next step. Raises nothing."""
    if root != HOST:
        return []
    return [
        text
        for missing, text in (
            (not shutil.which("espeak-ng"), "There is no voice. sudo apt install espeak-ng"),
            (
                machine.systemd_version(root) == 0,
                "There is no systemd, which starts the services: start them by other means.",
            ),
            (not shutil.which("nmcli"), "A set-up code's Wi-Fi cannot be joined. sudo apt install network-manager"),
            (not _has("sounddevice"), "The extra [device] is not installed: pip install 'waycue[device] @ …'"),
            (find_library("portaudio") is None, "Nothing can be played or heard. sudo apt install libportaudio2"),
            (machine_kind.this_machine().startswith("raspberry-pi") and not _has("picamera2"), NO_PICAMERA2),
        )
        if missing
    ]


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
