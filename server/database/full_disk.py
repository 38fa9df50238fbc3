"""Which errors of a database are those of a full disk."""

from __future__ import annotations

from sqlite3 import SQLITE_FULL, SQLITE_IOERR_SHMSIZE

_SQLITE = (SQLITE_FULL, SQLITE_IOERR_SHMSIZE)
"""The latter is called a "disk I/O error": there was no room for the 32 KiB of the WAL's index."""
_POSTGRESQL = "53100"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def is_said_by(error: BaseException) -> bool:
    """error: SQLAlchemy's or a driver's. Pure."""
    cause = getattr(error, "orig", error)
    return getattr(cause, "sqlite_errorcode", None) in _SQLITE or getattr(cause, "sqlstate", None) == _POSTGRESQL
