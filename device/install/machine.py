"""What the machine is that a device is to be made of: read from its files, so that it also works on a root folder that
does not run (an image, a root of another architecture)."""

from __future__ import annotations

import importlib.util
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device.health import machine_kind
from device.install.plan import MODULES, OLD_POLKIT, MachineFacts

HOST = Path("/")
_RUNNING = Path("/run/systemd/system")
_LIBRARIES = ("usr/lib/systemd", "usr/lib/*/systemd", "lib/systemd")
_LIBRARY = re.compile(r"libsystemd-shared-(\d+)")


@dataclass(frozen=True, slots=True)
class Account:
    """A line of /etc/passwd."""

    uid: int
    gid: int


def at(root: Path, path: str) -> Path:
    """A path of the machine, below its root folder."""
    return root / path.lstrip("/")


def look_at(root: Path) -> MachineFacts:
    """root: HOST, or the root folder of another machine. Raises: OSError."""
    here = root == HOST
    return MachineFacts(
        systemd=systemd_version(root),
        groups=frozenset(groups(root)),
        # A setting for a watchdog that is not there does nothing: what an image will run on is not known yet.
        has_watchdog=not here or Path("/dev/watchdog").exists(),
        kind=machine_kind.this_machine() if here else "",
        has_picamera2=here and importlib.util.find_spec("picamera2") is not None,
        has_old_polkit=at(root, OLD_POLKIT).is_dir(),
        modules=frozenset(name for name in MODULES if _is_module(root, name)),
    )


def systemd_runs(root: Path) -> bool:
    return root == HOST and _RUNNING.is_dir()


def systemd_version(root: Path) -> int:
    """0 = there is none. Told by the name of its library: nothing of another machine can be run."""
    found = (_LIBRARY.match(path.name) for folder in _LIBRARIES for path in root.glob(f"{folder}/libsystemd-shared-*"))
    return max((int(match[1]) for match in found if match), default=0)


def groups(root: Path) -> dict[str, tuple[str, ...]]:
    """Name of each group → its members. Raises: OSError."""
    return {fields[0]: tuple(filter(None, fields[3].split(","))) for fields in _lines(root, "group", count=4)}


def account(root: Path, name: str) -> Account | None:
    """None = there is none of this name. Raises: OSError."""
    for fields in _lines(root, "passwd", count=7):
        if fields[0] == name and fields[2].isdigit() and fields[3].isdigit():
            return Account(int(fields[2]), int(fields[3]))
    return None


def _lines(root: Path, name: str, *, count: int) -> Iterator[list[str]]:
    path = root / "etc" / name
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return (fields for line in text.splitlines() if len(fields := line.split(":")) == count)


def _is_module(root: Path, name: str) -> bool:
    """Whether a kernel of this root has it as a module: naming any other makes systemd-modules-load fail."""
    pattern = re.compile(rf"/{name.replace('-', '[-_]')}\.ko\b", re.MULTILINE)
    kernels = [root / "lib/modules" / platform.release()] if root == HOST else sorted(root.glob("lib/modules/*"))
    lists = [kernel / "modules.dep" for kernel in kernels]
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in lists if path.is_file())
