"""What kind of machine this is, in one word: what a model may cost is judged by kind.

    "Raspberry Pi 5 Model B Rev 1.0"            raspberry-pi-5
    "NVIDIA Jetson Orin Nano Developer Kit"     jetson-orin-nano
    no device tree, x86_64                      x86-64

Promise: the name does not change with the board's revision or memory, so that all boards of a kind share a budget.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

MODEL = Path("/proc/device-tree/model")
MOST_CHARS = 48
_PI = re.compile(r"raspberry pi (zero 2 w|zero w|zero 2|zero|compute module \d\w*|\d+)")
_JETSON = re.compile(r"(?:jetson|nvidia) (?:jetson )?((?:agx )?(?:orin|xavier|thor)(?: nano| nx)?|nano|tx\d)")


def kind_of(model: str, machine: str) -> str:
    """The kind, of lower-case letters, digits and hyphens.

    model: as the device tree has it, with its null byte; "" = there is none. machine: as `uname -m` says
    """
    text = " ".join(model.replace("\0", " ").lower().split())
    for family, pattern in (("raspberry-pi", _PI), ("jetson", _JETSON)):
        match = pattern.search(text)
        if match is not None:
            return f"{family}-{_plain(match[1])}"
    return _plain(text) or _plain(machine)


def this_machine() -> str:
    """Raises nothing."""
    try:
        model = MODEL.read_text(errors="replace")
    except OSError:
        model = ""
    return kind_of(model, platform.machine())


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MOST_CHARS].strip("-")
