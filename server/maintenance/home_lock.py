"""Who is at work on a server's home: servers and ingest workers side by side, a repair only alone.

Locks of the kernel (flock), so that a process that was killed leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared import atomic
from shared.errors import ConfigError

LOCK = ".serving.lock"
WORKERS = range(1, 9)
"""Numbers that a worker may have; server.broker.dynsec_rules lets their names in."""


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """Work on a home beside others. Raises: ConfigError while it is being repaired."""
    with _held(home / LOCK, fcntl.LOCK_SH, f"{home} is being repaired.", "Wait until `check --repair` is done."):
        yield


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Work on a home that nobody else works on. Raises: ConfigError where somebody does."""
    hint = "Stop waycue-server run and waycue-server ingest first."
    with _held(home / LOCK, fcntl.LOCK_EX, f"A server is at work on {home}.", hint):
        yield


@contextmanager
def numbered(home: Path, number: int) -> Iterator[None]:
    """Be the one worker of that number: a second one of its name would take its connection over again and again.

    raises: ConfigError where there is one already, or no worker may have that number
    """
    if number not in WORKERS:
        raise ConfigError(f"There is no worker {number}.", hint=f"Choose one of 1 to {WORKERS[-1]}.")
    with _held(
        home / "incoming" / f".worker-{number}.lock",
        fcntl.LOCK_EX,
        f"Worker {number} runs already.",
        "Give this one another --number.",
    ):
        yield


@contextmanager
def _held(path: Path, lock: int, problem: str, hint: str) -> Iterator[None]:
    atomic.make_dirs(path.parent)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, lock | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(problem, hint=hint) from None
        yield
    finally:
        os.close(fd)
