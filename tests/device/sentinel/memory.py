"""A process whose memory is full: the kernel's OOM killer ends it, and nobody else, within a control group of its own.

Needs root and control groups for memory (version 1 or 2); `why_not` says what is missing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ROOM_BYTES = 16 * 1024 * 1024
STEP_BYTES = 1024 * 1024
_PLACES = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))


def why_not() -> str:
    """ "" = it can be tried."""
    return "" if _place() is not None else "no control group for memory can be made here"


def exhaust() -> None:
    """Take memory until the kernel ends this process. Raises: OSError where there is no such group."""
    place = _place()
    if place is None:
        raise OSError(why_not())
    base, limit = place
    group = base / _name(os.getpid())
    group.mkdir()
    (group / limit).write_text(str(ROOM_BYTES))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    taken = []
    while True:
        taken.append(b"x" * STEP_BYTES)


def tidy(pid: int) -> None:
    """Remove the group of a process that has ended."""
    for base, _ in _PLACES:
        with suppress(OSError):
            (base / _name(pid)).rmdir()


def _place() -> tuple[Path, str] | None:
    for base, limit in _PLACES:
        trial = base / _name(os.getpid())
        try:
            trial.mkdir()
        except OSError:
            continue
        found = (trial / limit).exists()
        trial.rmdir()
        if found:
            return base, limit
    return None


def _name(pid: int) -> str:
    return f"waycue-test-{pid}"
