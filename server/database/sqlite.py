"""The server's database in one file of its home: WAL, synced at each commit, a write lock at each write's start."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool

from server.database import full_disk, packing
from server.database.migrating import READ_ONLY, bring_up_to_date
from shared import atomic
from shared.errors import ConfigError, Transient

DATABASE_NAME = "waycue.sqlite"
BUSY_TIMEOUT_S = 30  # a retrain's view or a migration may hold the write lock for seconds, never for half a minute

logger = logging.getLogger(__name__)


def database_url(home: Path) -> str:
    """The default database of a server folder."""
    return f"sqlite:///{home / DATABASE_NAME}"


def open_engine(home: Path) -> Engine:
    """Raises: as `server.database.store.open_store`."""
    database = home / DATABASE_NAME
    database.touch(mode=0o600)  # it holds the keys of open claim codes; SQLite gives its WAL the same mode
    database.chmod(0o600)
    connect = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    engine = create_engine(database_url(home), poolclass=QueuePool, connect_args=connect)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    try:
        packing.keep_copy(database)
        bring_up_to_date(engine)
        packing.bring_up(database)
    except (OperationalError, sqlite3.OperationalError) as error:  # not the file's fault
        raise _not_opened(error, database) from None
    except (DatabaseError, sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the last of a damaged message
        raise ConfigError(
            f"The database {database} is damaged ({getattr(error, 'orig', error)}).",
            hint=f"Mend it: waycue-server --home {home} check --repair",
        ) from None
    return engine


def _not_opened(error: OperationalError | sqlite3.OperationalError, database: Path) -> Transient:
    what = f"The database {database} could not be opened ({getattr(error, 'orig', error)})."
    if full_disk.is_said_by(error):
        left = shutil.disk_usage(database.parent).free
        return Transient(
            f"The disk of {database.parent} is full ({left / 1e6:.1f} MB are left). {what}",
            hint="Free some space and try again: what was begun goes on where it stopped.",
        )
    hint = "See whether the disk has room and is well, and try again. An update goes on where it stopped."
    return Transient(what, hint=hint)


def _prepare(connection: Any, _record: Any) -> None:
    # Python's sqlite3 would begin a transaction only at the first write; _begin does it itself.
    connection.isolation_level = None
    # secure_delete: what is deleted is overwritten with zeros; not every build of SQLite does that by default.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a read that later turns into a write could otherwise fail at once with "database is locked".
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def remove(home: Path) -> None:
    """Delete the file, with what stands beside it. Raises: OSError."""
    found = [path for suffix in ("-wal", "-shm", "") if (path := home / f"{DATABASE_NAME}{suffix}").exists()]
    for path in found:
        path.unlink()
    if found:
        atomic.fsync_dir(home)
        logger.warning("Deleted %s, from before the database moved: it held what was erased.", DATABASE_NAME)


def wipe(engine: Engine) -> bool:
    """Fold the WAL into the file and empty it: in it are older copies of pages, with what was deleted since. False
    where somebody reads or writes at this moment. Raises: OperationalError."""
    with engine.connect() as connection:
        raw = connection.connection.cursor()
        raw.execute("PRAGMA busy_timeout = 0")
        try:
            busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    return not busy
