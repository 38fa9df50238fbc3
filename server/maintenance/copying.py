"""`waycue-server database copy`: the database of a home, from SQLite into PostgreSQL, as it is.

    begin      an empty database gets today's tables and `copy_state`; a server refuses it from then on
    copy       table by table in the order of their keys, some thousand rows and how far it is in one transaction
    end        the numbers of new rows are set, rows are counted on both sides, `copy_state` goes

It works alone on the home. Cut off anywhere, the next one goes on where the same file was copied to; where the file has
changed since (a server ran), it begins anew. Bodies, sums and what triggers keep are copied and not made again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from psycopg import Connection as RawConnection
from sqlalchemy import URL, Boolean, Column, Connection, Engine, Table, func, inspect, select, text

from server.access import tables as _accounts  # noqa: F401  its tables are copied too
from server.consent import tables as _consents  # noqa: F401  likewise
from server.database import postgresql, settings
from server.database import review_tables as _reviews  # noqa: F401  likewise
from server.database import store as db
from server.database.bodies import BodyText, pack
from server.database.migrating import bring_up_to_date
from server.database.sqlite import DATABASE_NAME
from server.maintenance import copyable, home_lock
from server.maintenance.progress import CheckPart, Told, nobody
from shared.errors import ConfigError, DatasetError

AT_ONCE = 5_000
_READ_BYTES = 1 << 20
_STATE = postgresql.COPY_STATE


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied."""

    rows: dict[str, int]
    """Table → rows, as counted on both sides."""
    resumed: bool


def copy(home: Path, to: URL, *, told: Told = nobody) -> CopyReport:
    """Copy all rows. to: the target with its password. told: hears how far it is.

    raises: ConfigError where there is nothing to copy, a server is at work, or the target holds something else;
    Refused for a text that PostgreSQL has no index of; Transient where it does not answer; DatasetError where counts
    differ; DBAPIError
    """
    if settings.url_of(settings.of_home(home)) is not None:
        raise ConfigError(f"{home} has its database in PostgreSQL already (database.url).")
    with home_lock.alone(home):
        with closing(db.open_store(home, create=False)) as store:  # brings it up to date
            store.wipe()
        source = home / DATABASE_NAME
        told(CheckPart("looking for what is too long", 0, 0))
        with closing(_read_only(source)) as rows:
            copyable.check(rows, _names())
        engine = postgresql.engine_of(to)
        try:
            mark = _fingerprint(source, told)
            resumed = _begin(engine, to, mark)
            with closing(_read_only(source)) as rows:
                for table in db.metadata.sorted_tables:
                    _copy_table(rows, engine, table, told)
                return CopyReport(_end(rows, engine, told), resumed)
        finally:
            engine.dispose()


def _read_only(source: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{source}?mode=ro", uri=True)


def _fingerprint(source: Path, told: Told) -> str:
    """Of the file's bytes: nobody else writes."""
    digest, done, total = hashlib.sha256(), 0, source.stat().st_size
    with open(source, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            done += len(block)
            told(CheckPart("reading the database", done, total))
    return digest.hexdigest()


def _begin(engine: Engine, url: URL, mark: str) -> bool:
    """Make the target ready; whether a copy of the same file goes on there. Raises: ConfigError, Transient."""
    with postgresql.asked(url), engine.connect() as connection:
        postgresql.check(connection, url)
        names = set(inspect(connection).get_table_names())
        if names and _STATE not in names:
            raise ConfigError(
                f"The database {postgresql.shown(url)} is not empty.", hint=f"Make another: {postgresql.MAKE}"
            )
        if not names:
            connection.exec_driver_sql(f"CREATE TABLE {_STATE} (name text PRIMARY KEY, last text NOT NULL)")
            connection.commit()
    bring_up_to_date(engine)
    with engine.begin() as connection:
        if _last(connection, "") == mark:
            return True
        connection.exec_driver_sql(f"TRUNCATE {_STATE}, {', '.join(_names())}")
        _switch_triggers(connection, "DISABLE")
        _note(connection, "", mark)
    return False


def _names() -> list[str]:
    return [table.name for table in db.metadata.sorted_tables]


def _switch_triggers(connection: Connection, how: Literal["DISABLE", "ENABLE"]) -> None:
    """What they keep is copied as well."""
    for name in _names():
        connection.exec_driver_sql(f"ALTER TABLE {name} {how} TRIGGER USER")


def _last(connection: Connection, name: str) -> str | None:
    query = text(f"SELECT last FROM {_STATE} WHERE name = :name")  # noqa: S608  a name of ours
    last: str | None = connection.execute(query, {"name": name}).scalar()
    return last


def _note(connection: Connection, name: str, last: str) -> None:
    into = f"INSERT INTO {_STATE} VALUES (:name, :last)"  # noqa: S608  a name of ours
    connection.execute(
        text(f"{into} ON CONFLICT (name) DO UPDATE SET last = excluded.last"), {"name": name, "last": last}
    )


def _copy_table(rows: sqlite3.Connection, engine: Engine, table: Table, told: Told) -> None:
    """What is left of a table."""
    with engine.connect() as connection:
        last = _last(connection, table.name)
    total, done = _count(rows, table.name), 0
    for some, key in _batches(rows, table, last):
        with engine.begin() as connection:
            _write(connection, table, some)
            _note(connection, table.name, key)
        done += len(some)
        told(CheckPart(f"copying {table.name}", done, max(total, done)))


def _batches(rows: sqlite3.Connection, table: Table, last: str | None) -> Iterator[tuple[list[tuple[Any, ...]], str]]:
    """The rows behind a key, with the key of the last one: row numbers, or what a table without them is sorted by."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    without = table.dialect_options["sqlite"]["with_rowid"] is False
    keys = [column.name for column in table.primary_key] if without else ["rowid"]
    key = ", ".join(f'"{name}"' for name in keys)
    behind: list[Any] = [] if last is None else json.loads(last)
    while True:
        where = f"WHERE ({key}) > ({', '.join('?' * len(keys))})" if behind else ""
        query = f"SELECT {key}, {names} FROM {table.name} {where} ORDER BY {key} LIMIT {AT_ONCE}"  # noqa: S608
        found = rows.execute(query, behind).fetchall()
        if not found:
            return
        behind = list(found[-1][: len(keys)])
        yield [row[len(keys) :] for row in found], json.dumps(behind)


def _write(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    kinds = [_converter(column) for column in table.columns]
    raw = connection.connection.driver_connection
    assert isinstance(raw, RawConnection)
    with raw.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN'.encode()) as stream:
        for row in rows:
            stream.write_row([None if v is None else kind(v) for kind, v in zip(kinds, row, strict=True)])


def _converter(column: Column[Any]) -> Callable[[Any], Any]:
    """From what SQLite's driver gives to what PostgreSQL's takes."""
    if isinstance(column.type, BodyText):
        return lambda value: pack(value) if isinstance(value, str) else value
    return bool if isinstance(column.type, Boolean) else lambda value: value


def _end(rows: sqlite3.Connection, engine: Engine, told: Told) -> dict[str, int]:
    """Count, and make it a server's. Raises: DatasetError."""
    told(CheckPart("counting", 0, 0))
    with engine.begin() as connection:
        counts = {name: _count(rows, name) for name in _names()}
        for name, count in counts.items():
            there = connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608
            if there != count:
                raise DatasetError(f"Of {count} rows of {name}, {there} are in PostgreSQL.", hint="Copy again.")
        for table in db.metadata.sorted_tables:
            _number(connection, table)
        _switch_triggers(connection, "ENABLE")
        connection.exec_driver_sql(f"DROP TABLE {_STATE}")
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    return counts


def _count(rows: sqlite3.Connection, name: str) -> int:
    return int(rows.execute(f"SELECT count(*) FROM {name}").fetchone()[0])  # noqa: S608  a name of ours


def _number(connection: Connection, table: Table) -> None:
    """New rows are numbered behind those that are there."""
    for column in table.primary_key:
        own = connection.execute(select(func.pg_get_serial_sequence(table.name, column.name))).scalar()
        if own is not None:
            newest = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
            connection.execute(select(func.setval(own, newest, False)))
