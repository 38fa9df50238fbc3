"""What people are told where the database did not do what was asked."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

BUSY = "The server's database did not answer. Wait a moment and try again."
FULL = "The server's disk is full: nothing was saved. Tell whoever runs the server, and try again once there is room."
_DISK_FULL = "53100"
"""Of PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def in_words(error: SQLAlchemyError) -> str:
    """Why, and what to do. To wait helps nobody where the disk is full. Pure."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    full = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return FULL if full or getattr(cause, "sqlstate", None) == _DISK_FULL else BUSY
