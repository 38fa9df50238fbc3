"""Who is at work on a server's home: one server and its ingest workers side by side, a repair only alone.

A process that was killed leaves no lock behind (shared.file_lock).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared import atomic, file_lock
from shared.errors import ConfigError, InUse

LOCK, SERVER_LOCK = ".serving.lock", ".server.lock"
WORKERS = range(1, 9)
"""Numbers that a worker may have; server.broker.dynsec_rules lets their names in."""


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """Work on a home beside others. Raises: ConfigError while it is being repaired."""
    busy = ConfigError(f"{home} is being repaired.", hint="Wait until `check --repair` is done.")
    with file_lock.locked(home / LOCK, shared=True, busy=busy):
        yield


@contextmanager
def the_server(home: Path) -> Iterator[None]:
    """Be the one `run` of a home: two of one name would take the broker's connection from each other for ever.

    raises: InUse naming the process that is
    """
    path = home / SERVER_LOCK
    busy = InUse(
        f"waycue-server run is at work on {home} already ({_holder(path)}).",
        hint="Stop that one first, or give this one another --home.",
    )
    with file_lock.acquire(path, busy=busy) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_bytes()[:20])}"
    except (OSError, ValueError):  # it began just now
        return "another process"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Work on a home that nobody else works on. Raises: ConfigError where somebody does."""
    hint = "Stop waycue-server run and waycue-server ingest first."
    with file_lock.locked(home / LOCK, busy=ConfigError(f"A server is at work on {home}.", hint=hint)):
        yield


@contextmanager
def numbered(home: Path, number: int) -> Iterator[None]:
    """Be the one worker of that number: a second one of its name would take its connection over again and again.

    raises: ConfigError where there is one already, or no worker may have that number
    """
    if number not in WORKERS:
        raise ConfigError(f"There is no worker {number}.", hint=f"Choose one of 1 to {WORKERS[-1]}.")
    path = home / "incoming" / f".worker-{number}.lock"
    atomic.make_dirs(path.parent)
    busy = ConfigError(f"Worker {number} runs already.", hint="Give this one another --number.")
    with file_lock.locked(path, busy=busy):
        yield
