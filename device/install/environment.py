"""Whether the services can start from a virtual environment: they run as another account and see not every folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from device.install.machine import HOST
from shared.errors import ConfigError

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""The units see nothing of these, or another folder of that name (ProtectHome, PrivateTmp)."""
STARTED = ("bin/waycue-device", "bin/python")


def check(root: Path, environment: Path, *, hidden: tuple[str, ...] = HIDDEN) -> None:
    """environment: as the machine with this root names it. Of another machine its name alone is judged, not its files.

    raises: ConfigError for one that a service could not start from, OSError
    """
    _check_seen(environment, f"{environment} is in a place of which the", hidden)
    if root != HOST:
        return
    _check_seen(environment.resolve(), f"{environment} lies in {environment.resolve()}, of which the", hidden)
    python = (environment / "bin/python").resolve()
    _check_seen(python, f"Its Python is {python}, of which the", hidden)
    closed = next((path for path in _needed(environment) if not _is_open(path)), None)
    if closed is not None:
        raise ConfigError(
            f"{closed} is for its owner alone, and the services run as another account.",
            hint=f"It was made with a umask of its own: chmod -R a+rX {environment}",
        )


def _check_seen(path: Path, what: str, hidden: tuple[str, ...]) -> None:
    if any(path.is_relative_to(folder) for folder in hidden):
        raise ConfigError(
            f"{what} services see nothing.",
            hint="Make the environment with the system's Python: python3 -m venv /opt/waycue",
        )


def _needed(environment: Path) -> Iterator[Path]:
    """What an account must be able to read and enter to start it."""
    files = [environment / name for name in STARTED]
    files += environment.glob("lib/python*/site-packages/device/__init__.py")
    for file in files:
        real = file.resolve()
        yield from (*reversed(real.parents), real)


def _is_open(path: Path) -> bool:
    """To everybody."""
    mode = path.stat().st_mode
    return bool(mode & (stat.S_IXOTH if path.is_dir() else stat.S_IROTH))
