"""What happens at the step that a process is to come to: it dies, it freezes, or its database lets it down.

kill        SIGKILL to itself
freeze      SIGSTOP to itself, until somebody lets it go on
database    PostgreSQL is shut down at once, as a power cut would; the step goes on when it is gone
sessions    PostgreSQL ends all connections (pg_terminate_backend), whatever transaction they are in
answer      of a COMMIT, which comes and is done: nobody is told
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.crash import Killer

GONE_S = 30.0
_TERMINATED = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Strike(StrEnum):
    KILL = "kill"
    FREEZE = "freeze"
    DATABASE = "database"
    SESSIONS = "sessions"
    ANSWER = "answer"


@dataclass(slots=True)
class Striker:
    """Strikes once it is called. struck: a file that then is there. postmaster: PostgreSQL's process."""

    how: Strike = Strike.KILL
    struck: Path | None = None
    postmaster: int = 0
    engine: Engine | None = None
    """Whose connections are meant."""
    _now: threading.local = field(default_factory=threading.local)

    def __call__(self) -> None:
        if self.struck is not None:
            self.struck.touch()
        match self.how:
            case Strike.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Strike.FREEZE:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Strike.DATABASE:
                os.kill(self.postmaster, signal.SIGQUIT)
                _until_gone(self.postmaster)
            case Strike.SESSIONS:
                self._terminate()
            case Strike.ANSWER:
                # What comes from now on is not read; COMMIT is still sent.
                with socket.socket(fileno=os.dup(self._now.committing.driver_connection.fileno())) as own:
                    own.shutdown(socket.SHUT_RD)

    def _terminate(self) -> None:
        import psycopg

        assert self.engine is not None
        url = self.engine.url
        with closing(
            psycopg.connect(host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database)
        ) as connection:
            connection.execute(_TERMINATED)

    def watch_commits(self, killer: Killer, engine: Engine) -> None:
        """Make the commits of a database steps, right before and right after they happen."""
        self.engine = engine
        commit = engine.dialect.do_commit

        def watched(connection: Any) -> None:
            self._now.committing = connection
            where = killer.callers()
            killer.step(f"commit in {where}")
            commit(connection)
            killer.step(f"committed in {where}")

        setattr(engine.dialect, "do_commit", watched)  # noqa: B010 (mypy: a method)


def _until_gone(pid: int) -> None:
    """Until a process has ended, whether or not its parent knows it yet."""
    end_s, tick = time.monotonic() + GONE_S, threading.Event()
    while state_of(pid) not in ("", "Z"):
        assert time.monotonic() < end_s
        tick.wait(0.02)


def state_of(pid: int) -> str:
    """As the kernel has it: T = stopped, Z = ended; "" = there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
