"""What a running systemd is told after the files have changed, and what a person should know of this machine."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Collection
from pathlib import Path

from device.install.machine import HOST
from device.install.plan import SERVICES, Reload
from device.install.programs import ProgramFailed, run_program
from device.install.reporting import Say

ALL = frozenset(Reload)
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
            if shutil.which(command[0]):
                _tried(command, say)


def _tried(command: tuple[str, ...], say: Say) -> None:
    try:
        run_program(*command)
    except ProgramFailed as error:
        say(f"after the next boot only: {error}")


def start(*, restart: bool, say: Say) -> None:
    """Not waited for: the agent is ready only when it guides, and its camera may not be there yet."""
    run_program("systemctl", "--no-block", "restart" if restart else "start", *SERVICES)
    if restart:
        say(f"started: {' '.join(SERVICES)}")


def restart(*, timeout_s: float) -> None:
    """Waited for: the agent is ready soon after it has loaded its model. Raises: ProgramFailed."""
    run_program("systemctl", "restart", *SERVICES, timeout_s=timeout_s)


def stop(*, say: Say) -> None:
    """Raises: ProgramFailed."""
    run_program("systemctl", "stop", *reversed(SERVICES))
    say(f"stopped: {' '.join(reversed(SERVICES))}")


def advice(root: Path) -> list[str]:
    """What is missing for a walk, and the next step."""
    if root != HOST:
        return []
    lines = []
    if not shutil.which("espeak-ng"):
        lines.append("No voice: sudo apt install espeak-ng")
    if importlib.util.find_spec("sounddevice") is None:
        lines.append("The extra [device] is not installed: pip install 'waycue[device] @ …'")
    return lines
