"""The record of nights: each run of `retrain` with what it said, live; how one is started from the page, and how ended.

    night_runs     a row from the begin of a run on; its outcome when it ended
    night_lines    what it said, line by line; of the newest KEPT runs

Rules that it keeps:

1. A run is a process that may be killed at any time. Without an end in its row it runs only where `nightly.lock` is
   held and the process that the row names is still that process; else it was interrupted.
2. A record that cannot be written (a busy database, a full disk, no memory) ends no night.
3. A run is ended by SIGINT, as by Ctrl-C: the night loses nothing, and the next one goes on where it was.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from server.database import store as db
from server.database.store import Store
from shared import file_lock
from shared.clock import Clock
from shared.errors import Refused, Transient

RUNNING, INTERRUPTED, CANCELLED, FAILED = "running", "interrupted", "cancelled", "failed"
"""Outcomes beside those of a night: skipped, promoted, trial, refused, overtaken."""
ENDED_WELL = ("promoted", "trial", "refused", "overtaken", "skipped")
LOCK = "nightly.lock"
ASKED_BY = "WAYCUE_ASKED_BY"
"""Environment variable: the person for whom the page started a night."""
KEPT, LINES_MOST, LINE_MOST = 30, 5000, 500
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NightRun:
    """One run of `retrain`."""

    id: int
    began_utc: float
    ended_utc: float | None
    asked_by: str
    """"" = the timer, or a command."""
    stage: str
    outcome: str
    """running | interrupted | cancelled | failed | skipped | promoted | trial | refused | overtaken"""
    version: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SaidLine:
    """One line that a run said."""

    at_utc: float
    text: str


class NightRecord:
    """The record of the run that this process is."""

    def __init__(self, store: Store, clock: Clock, *, asked_by: str = "") -> None:
        self._store, self._clock, self._id, self._lines = store, clock, 0, 0
        self._ended: tuple[str, str, tuple[str, ...]] = ("", "", ())
        values = {
            "began_at": clock.utc_s(),
            "asked_by": asked_by[:96],
            "pid": os.getpid(),
            "pid_began": _began(os.getpid()),
            "stage": "",
            "outcome": "",
            "version": "",
            "reasons": [],
        }
        with self._writing("begun") as connection:
            (self._id,) = connection.execute(insert(db.night_runs).values(values)).inserted_primary_key or (0,)
            _forget_old(connection, self._id)

    def say(self, text: str) -> None:
        """One line of progress."""
        self._lines += 1
        if self._lines <= LINES_MOST:
            line = {"run": self._id, "at": self._clock.utc_s(), "text": text[:LINE_MOST]}
            with self._writing("a line") as connection:
                connection.execute(insert(db.night_lines).values(line))

    def stage(self, name: str) -> None:
        """What it is at now."""
        self._change(stage=name[:32])

    def end(self, outcome: str, *, version: str = "", reasons: Sequence[str] = ()) -> None:
        """How it ended."""
        self._ended = outcome, version, tuple(text[:2000] for text in reasons)
        self._change(ended_at=self._clock.utc_s(), outcome=outcome, version=version, reasons=list(self._ended[2]))

    def end_early(self, outcome: str, why: str) -> None:
        """It ended by itself, or after its outcome was known: that one stays."""
        known, version, reasons = self._ended
        self.end(known or outcome, version=version, reasons=(*reasons, why))

    def _change(self, **values: Any) -> None:
        with self._writing("a change") as connection:
            connection.execute(update(db.night_runs).where(db.night_runs.c.id == self._id).values(**values))

    @contextmanager
    def _writing(self, what: str) -> Iterator[Any]:
        try:
            with self._store.writing() as connection:
                yield connection
        except (SQLAlchemyError, OSError, MemoryError) as error:
            logger.warning("The record of this night lacks %s: %s", what, error)


@contextmanager
def recorded(home: Path, store: Store, clock: Clock) -> Iterator[NightRecord | None]:
    """Record what runs inside; None where another night runs, which this one will say itself.

    The block calls `end` once the night has its outcome. What it raises before is recorded as the reason of a failure,
    Ctrl-C as an end by hand; what it raises afterwards, as one more reason.
    """
    if is_held(home):
        yield None
        return
    record = NightRecord(store, clock, asked_by=os.environ.pop(ASKED_BY, ""))
    try:
        yield record
    except KeyboardInterrupt:
        record.end_early(CANCELLED, "Ended by hand. Nothing is lost: the next night goes on where it was.")
        raise
    except BaseException as error:
        record.end_early(FAILED, str(error) or type(error).__name__)
        raise


def runs(home: Path, store: Store, *, most: int = KEPT) -> tuple[NightRun, ...]:
    """The newest runs, the newest first."""
    table = db.night_runs
    with store.reading() as connection:
        rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(most)).all()
    held = is_held(home)
    return tuple(_run(row, runs_now=held and n == 0 and _is_alive(row)) for n, row in enumerate(rows))


def lines(store: Store, run: int, *, most: int = 200) -> tuple[SaidLine, ...]:
    """What a run said last, in its order."""
    table = db.night_lines
    query = select(table.c.at, table.c.text).where(table.c.run == run).order_by(table.c.id.desc()).limit(most)
    with store.reading() as connection:
        return tuple(SaidLine(*row) for row in reversed(connection.execute(query).all()))


def is_held(home: Path) -> bool:
    """Whether a night runs on this home."""
    try:
        with file_lock.locked(home / LOCK, busy=Transient("held")):
            return False
    except Transient:
        return True


class NightControl:
    """Starts and ends nights for the page: one for a server."""

    def __init__(self, home: Path, store: Store) -> None:
        self._home, self._store = home, store
        self._child: subprocess.Popen[bytes] | None = None
        self._newest = 0
        self.trouble = ""
        """Why the last one that was started here never began, in words; "" = it did."""

    def start(self, *, asked_by: str, force: bool) -> None:
        """Start `waycue-server retrain` as a process of its own. Raises: Transient where one runs, OSError."""
        if is_held(self._home) or self._is_starting():
            raise Transient("A night is running already.", hint="Wait for its end, or end it.")
        self._newest, self.trouble = self._newest_run(), ""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "server", "--home", str(self._home), "retrain", *(["--force"] if force else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, ASKED_BY: asked_by},
            start_new_session=True,  # Ctrl-C for the server is none for the night
        )

    def _is_starting(self) -> bool:
        """The process that was started last has not ended; one that has is taken from the system's list."""
        if self._child is not None and (status := self._child.poll()) is not None:
            self._child = None
            if status and self._newest_run() == self._newest:
                self.trouble = (
                    f"It did not begin (exit status {status}). In a terminal it says why: waycue-server retrain"
                )
        return self._child is not None

    def close(self) -> None:
        """Take a night that has ended from the system's list; one that runs goes on."""
        self._is_starting()

    def _newest_run(self) -> int:
        with self._store.reading() as connection:
            return int(connection.scalar(select(func.max(db.night_runs.c.id))) or 0)

    @property
    def starting(self) -> bool:
        """One was started here and has no lock yet: it imports."""
        return self._is_starting() and not is_held(self._home)

    def cancel(self) -> None:
        """End the night that runs, wherever it was started. Raises: Refused where none runs, or it is not ours."""
        table = db.night_runs
        with self._store.reading() as connection:
            row = connection.execute(select(table).order_by(table.c.id.desc()).limit(1)).first()
        if row is None or row.ended_at is not None or not is_held(self._home) or not _interrupt(row):
            raise Refused("No night is running.", hint="It has ended just now.")


def _interrupt(row: Row[Any]) -> bool:
    """SIGINT for the process of a row, never for another one that has its number by now. Raises: Refused."""
    try:
        process = os.pidfd_open(row.pid)
    except OSError:
        return False
    try:
        if _began(row.pid) != row.pid_began:
            return False
        signal.pidfd_send_signal(process, signal.SIGINT)
    except PermissionError:
        raise Refused(
            "The night runs as another user.", hint="As root: systemctl kill -s SIGINT waycue-retrain"
        ) from None
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True


def _began(pid: int) -> int:
    """When a process began, in ticks since boot; 0 = it is not there. source: proc(5), field 22 of stat"""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    return 0


def _is_alive(row: Row[Any]) -> bool:
    return row.ended_at is None and _began(row.pid) == row.pid_began


def _run(row: Row[Any], *, runs_now: bool) -> NightRun:
    outcome = row.outcome or (RUNNING if runs_now else INTERRUPTED)
    reasons = tuple(map(str, row.reasons))
    return NightRun(row.id, row.began_at, row.ended_at, row.asked_by, row.stage, outcome, row.version, reasons)


def _forget_old(connection: Any, newest: int) -> None:
    """Lines of runs before the newest KEPT."""
    connection.execute(delete(db.night_lines).where(db.night_lines.c.run <= newest - KEPT))


Progress = Callable[[str], None]


def telling(record: NightRecord | None, progress: Progress) -> Progress:
    """`progress`, and the record beside it."""
    if record is None:
        return progress

    def both(text: str) -> None:
        record.say(text)
        progress(text)

    return both
