"""Locks between processes: kernel locks on a file (flock), which end with the process that holds them.

The file itself stays; only whether somebody holds it counts.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def acquire(path: Path, *, shared: bool = False, busy: Exception | None = None) -> BinaryIO:
    """Lock `path`, made where there is none, until the returned file is closed.

    shared: others may hold it shared too
    busy: raised at once where another holds it; None = wait for it
    raises: busy, OSError
    """
    file = open(path, "ab")  # noqa: SIM115  kept open as long as the lock is held
    try:
        if try_lock(file.fileno(), shared=shared, wait=busy is None):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    assert busy is not None
    raise busy


@contextmanager
def locked(path: Path, *, shared: bool = False, busy: Exception | None = None) -> Iterator[None]:
    """Hold the lock for as long as the block runs. As `acquire`."""
    with acquire(path, shared=shared, busy=busy):
        yield


def try_lock(fd: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file until it is closed. False where another holds it, unless `wait`. Raises: OSError."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
