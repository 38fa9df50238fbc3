"""This boot of this machine, and the version of this software."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")


def agent_version() -> str:
    try:
        return version("waycue")
    except PackageNotFoundError:  # run from a copy of the folders
        return "unknown"


def kernel_boot() -> str:
    """The machine's boot, as 8 hex digits; the same until it is switched off."""
    try:
        return _KERNEL_BOOT.read_text().strip()[:8]
    except OSError:
        return "00000000"
