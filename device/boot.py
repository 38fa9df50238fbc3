"""This boot of this machine, the version of this software, and what it says where a library is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EXTRA = "Install the extra [device] of waycue with pip."
MISSING = {
    "onnxruntime": "On a Jetson install NVIDIA's onnxruntime-gpu for this Python, elsewhere the extra [device].",
    "cv2": EXTRA,
    "av": EXTRA,
    "rich": EXTRA,
    "paho": EXTRA,
    "cryptography": EXTRA,
    "tuf": EXTRA,
    "tokenizers": EXTRA,
}
_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def missing_named() -> Iterator[None]:
    """Around imports: a library that is not installed ends the process with what to do, and not with a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in MISSING:
            raise
        print(f"waycue-device: There is no {name} in {sys.prefix}. {MISSING[name]}", file=sys.stderr)
        raise SystemExit(1) from None


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
