"""What a person at the terminal is told where the database did not do what was asked."""

from __future__ import annotations

from sqlite3 import SQLITE_CORRUPT, SQLITE_NOTADB

from sqlalchemy.exc import DBAPIError, OperationalError

from server.database import full_disk
from shared.errors import Transient, WaycueError

_PRIMARY = 0xFF  # of SQLite's error codes: the rest says where


def of(error: BaseException) -> WaycueError | None:
    """Why, and what to do; None = it is a fault of this program. Pure."""
    if not isinstance(error, DBAPIError):
        return None
    if full_disk.is_said_by(error):
        return Transient(
            "The database's disk is full. What was under way is not saved.", hint="Make room, run it again."
        )
    code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY
    if code in (SQLITE_CORRUPT, SQLITE_NOTADB):
        return WaycueError(f"The database is damaged ({error.orig}).", hint="Mend it: waycue-server check --repair")
    if isinstance(error, OperationalError):
        return Transient(f"The database did not answer ({error.orig}).", hint="See whether it is well, run it again.")
    return None
