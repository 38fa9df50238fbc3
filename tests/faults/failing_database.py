"""The storm's PostgreSQL: behind a relay, on a disk whose power can be cut, and what goes wrong with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.faults.databases import PostgresHomes
from tests.faults.disk import PowerDisk
from tests.faults.relay import Relay, Weather
from tests.postgres import PostgresChild

DISK_BYTES = 768 * 1024 * 1024
AGAIN = 5
_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'waycue'"

Moment = Callable[[float, float], object]
"""Waits for a time between these, in seconds."""


class FailingDatabase:
    """What the servers of a storm have their homes in. Everything but the sessions' end leaves it to `revive`."""

    def __init__(self, child: PostgresChild, relay: Relay, disk: PowerDisk | None, moment: Moment) -> None:
        self._child, self._relay, self._disk, self._moment = child, relay, disk, moment
        self.homes = PostgresHomes(child, port=relay.port)
        on_disk = {"database_power_cut": self._power_cut, "database_disk_full": self._disk_full}
        self.faults: Mapping[str, Callable[[], None]] = {
            "database_shut_down": self._shut_down,
            "database_killed": self._killed,
            "database_stopped": self._stopped,
            "database_sessions_ended": self._sessions_ended,
            "database_cut": self._cut,
            "database_unheard": self._unheard,
            **(on_disk if disk is not None else {}),
        }

    def revive(self) -> bool:
        """Start it again where it has ended; whether it had."""
        return self.homes.revive()

    def _shut_down(self) -> None:
        """As a power cut would, of a disk that keeps what it took."""
        self._child.kill()
        self._moment(0.0, 0.8)

    def _killed(self) -> None:
        self._child.lose_first_process()
        self._moment(0.0, 0.8)

    def _stopped(self) -> None:
        """In order, and away for a while."""
        self._child.stop()
        self._moment(0.3, 1.5)

    def _sessions_ended(self) -> None:
        """Again and again: one of them hits a transaction."""
        for _ in range(AGAIN):
            self._child.say(_SESSIONS)
            self._moment(0.02, 0.15)

    def _cut(self) -> None:
        for _ in range(AGAIN):
            self._relay.cut()
            self._moment(0.02, 0.15)

    def _unheard(self) -> None:
        """What is asked is done, and no answer comes: a COMMIT of which nobody knows."""
        self._relay.hush("down")
        self._moment(0.2, 0.8)
        self._relay.cut()

    def _power_cut(self) -> None:
        assert self._disk is not None
        self._disk.cut_power()
        self._moment(0.0, 0.3)
        self._child.kill()
        self._disk.restore()

    def _disk_full(self) -> None:
        assert self._disk is not None
        self._disk.fill()
        self._moment(0.5, 1.5)
        self._disk.empty()


@contextmanager
def failing_database(moment: Moment, *, disk: bool) -> Iterator[FailingDatabase]:
    """It runs for the block. disk: on a disk of its own."""
    place = Path(mkdtemp(prefix="waycue-postgres-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    place.chmod(0o755)  # its user is another one
    try:
        if disk:
            with PowerDisk(place, size_bytes=DISK_BYTES) as own, _running(own.path / "postgres") as child:
                yield from _behind_a_relay(child, own, moment)
        else:
            with _running(place / "postgres") as child:
                yield from _behind_a_relay(child, None, moment)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _running(folder: Path) -> Iterator[PostgresChild]:
    folder.mkdir()
    child = PostgresChild(folder)
    child.start()
    # What initdb of the tests leaves to the kernel (--no-sync) is no part of the storm.
    subprocess.run(["sync", "--file-system", str(folder)], check=True)
    try:
        yield child
    finally:
        child.remove()


def _behind_a_relay(child: PostgresChild, disk: PowerDisk | None, moment: Moment) -> Iterator[FailingDatabase]:
    with Relay("127.0.0.1", child.port, weather=Weather()) as relay:
        yield FailingDatabase(child, relay, disk, moment)
