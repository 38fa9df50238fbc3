"""What a fuzz target is: a reader of outside input, examples of good input, and what it may say to bad input."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Run = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Target:
    """make() is called once per process, best in memory; its result is called with each input and must return.

    An exception from there is a crash: what a reader may raise is caught in the target, by name.
    """

    name: str
    make: Callable[[], Run]
    seeds: tuple[bytes, ...]


def scratch() -> Path:
    """A folder that goes when the process ends; in memory where there is some, unless TMPDIR says otherwise."""
    memory = "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK)
    folder = Path(tempfile.mkdtemp(prefix="waycue-fuzz-", dir="/dev/shm" if memory else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
