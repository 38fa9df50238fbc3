"""The server's database in PostgreSQL, where `database.url` names one.

It promises what SQLite promises here:

1. A write transaction holds a lock of its own from its start (`pg_advisory_xact_lock`), as BEGIN IMMEDIATE does: what
   it read is still so when it writes, and two of them queue up instead of failing half-way.
2. A read has one view of everything (REPEATABLE READ, READ ONLY) and blocks no writer.
3. A committed transaction survives power loss: `synchronous_commit` is on whatever the server's default is.
4. Text is ordered by its bytes: keyset pages and ranges of keys depend on it. A database of another order is refused.
5. Text is as long as it is: VARCHAR(96) is TEXT, as SQLite takes it. A whole number may be asked for up to 64 bits,
   whatever its column holds: no row has it.

A connection that is lost is replaced at the next use; what was under way fails with OperationalError.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection as RawConnection
from psycopg.adapt import Loader
from psycopg.types.string import StrDumper
from sqlalchemy import URL, Connection, Engine, Integer, String, create_engine, event
from sqlalchemy.dialects.postgresql.base import PGTypeCompiler
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import Text

from server.database.migrating import READ_ONLY, bring_up_to_date
from shared.errors import ConfigError, Transient

WRITE_LOCK = 0x7761_7963_7565  # "waycue"; of one database: each has its own
BUSY_TIMEOUT_S = 30
_CONNECT_TIMEOUT_S = 10
_SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": f"{BUSY_TIMEOUT_S}s",
    "timezone": "UTC",
    # A machine that vanished in a transaction holds the write lock no longer than this.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
_CLIENT = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
_FITS = (
    "SELECT 'B' < 'a' AND 'a-c' < 'ab' AND 'ab' < 'a~', current_setting('server_encoding'), current_setting('fsync'),"
    " current_setting('server_version_num')::int"
)
_READERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL"
    " AND pid <> pg_backend_pid()"
)
_LEAST_VERSION = 130_000
MAKE = "createdb --template=template0 --locale=C --encoding=UTF8 --owner=USER NAME"
COPY_STATE = "copy_state"
"""A table that is there while rows are copied into a database (server.maintenance.copying)."""
logger = logging.getLogger(__name__)


@compiles(String, "postgresql")
def _any_length(kind: Any, compiler: PGTypeCompiler, **options: Any) -> str:
    return compiler.process(Text(), **options)


class _PlainText(StrDumper):
    """PostgreSQL keeps no character 0: a device that sends one is no reason to refuse its moment."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


class _Sum(Loader):
    """A sum over BIGINT is NUMERIC: a whole number here, as everywhere else."""

    def load(self, data: Any) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


def open_engine(url: URL, *, may_be_new: bool = True) -> Engine:
    """may_be_new: it may have no tables yet.

    raises: ConfigError where it is no database for waycue, or of a newer one; Transient where it does not answer
    """
    engine = engine_of(url)
    try:
        with asked(url):
            with engine.connect().execution_options(**{READ_ONLY: True}) as connection:
                check(connection, url)
                _check_tables(connection, url, may_be_new=may_be_new)
            bring_up_to_date(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def asked(url: URL) -> Iterator[None]:
    """What fails inside is told in words. Raises: ConfigError, Transient."""
    try:
        yield
    except OperationalError as error:
        raise Transient(
            f"The database {shown(url)} does not answer ({_line(error)}).",
            hint="See that PostgreSQL runs and lets this user in (database.url, database.password_file); try again.",
        ) from None
    except DBAPIError as error:
        raise ConfigError(f"The database {shown(url)} cannot be used ({_line(error)}).") from None


def engine_of(url: URL) -> Engine:
    """Connections as described above. Nothing is asked yet."""
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    connect = {"options": options, "connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "waycue", **_CLIENT}
    engine = create_engine(url, pool_pre_ping=True, connect_args=connect)
    # It would send a number as INTEGER (`::INTEGER`), and one of more than 31 bits be an error of the database; psycopg
    # sends it as what it needs.
    engine.dialect.colspecs = {kind: own for kind, own in engine.dialect.colspecs.items() if kind is not Integer}
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def shown(url: URL) -> str:
    """For people: without the password."""
    return url.render_as_string(hide_password=True)


def _line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())[:300]


def _prepare(connection: RawConnection[Any], _record: Any) -> None:
    connection.adapters.register_dumper(str, _PlainText)
    connection.adapters.register_loader("numeric", _Sum)


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    if options.get(READ_ONLY, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def check(connection: Connection, url: URL) -> None:
    """Whether it keeps the rules above. Raises: ConfigError."""
    by_bytes, encoding, fsync, version = connection.exec_driver_sql(_FITS).one()
    if version < _LEAST_VERSION:
        raise ConfigError(f"PostgreSQL is too old (version {version // 10_000}).", hint="Install version 13 or newer.")
    if not by_bytes or encoding != "UTF8":
        raise ConfigError(
            f"The database {shown(url)} orders text by a language, or is not in UTF-8.", hint=f"Make it anew: {MAKE}"
        )
    if fsync != "on":
        logger.warning("PostgreSQL runs with fsync off: a power cut may take what was acknowledged to devices.")


def _check_tables(connection: Connection, url: URL, *, may_be_new: bool) -> None:
    """Raises: ConfigError."""
    query = f"SELECT to_regclass('{COPY_STATE}') IS NOT NULL, to_regclass('alembic_version') IS NOT NULL"
    copying, made = connection.exec_driver_sql(query).one()
    if copying:
        raise ConfigError(
            f"The database {shown(url)} is a copy that was cut off.", hint="Go on with: waycue-server database copy"
        )
    if not made and not may_be_new:
        raise ConfigError(
            f"The database {shown(url)} is empty, and this home has one in SQLite.",
            hint="Copy that first (without database.url): waycue-server database copy --to URL",
        )


def wipe(engine: Engine) -> bool:
    """Give the room of deleted rows back, so that no query finds them and new rows write over them. False, and nothing
    done, where a reader may be older than the deletion: that would go through all tables for nothing. Raises:
    DBAPIError."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.exec_driver_sql(_READERS).scalar_one():
            return False
        connection.exec_driver_sql("VACUUM (SKIP_LOCKED)")
    return True
