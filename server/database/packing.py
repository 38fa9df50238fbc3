"""A database of before bodies were compressed (0018), or of before files were named by hashes (0023), becomes one of
today, once, when it is opened first.

    copy      waycue-before-0018.sqlite or waycue-before-0023.sqlite: all of it, as it was
    pack      every body, with the columns that SQL selects by instead; some thousand rows at a time
    shrink    VACUUM: pages that are a quarter full would stay so, and the room of the table of before

The migrations come between the first two; one that reads bodies finds both kinds.

Each step may be cut off; the next one who opens the database goes on, since bodies of both kinds are read. Memory is
flat, and how far it is is told every few seconds, also to systemd, which waits longer then. `PRAGMA user_version` says
how far a database is. The copy holds what is erased later: the first erasing deletes it (server.dataset.derived).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from server.database.bodies import pack, said_by, to_text, wearer_of
from shared import atomic
from shared.errors import ConfigError
from shared.notify import notify

COPY_NAMES = "waycue-before-0018.sqlite", "waycue-before-0023.sqlite"
OLD, PACKED, SHRUNK = 0, 1, 3
"""Of `user_version`; 2 = shrunk, before 0023."""
_AT_ONCE = 2_000
_TOLD_EVERY_S = 5.0
_BUSY_TIMEOUT_S = 30.0
_PATIENCE = "EXTEND_TIMEOUT_USEC=600000000"  # a step without news: VACUUM of a million moments takes a minute
_COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dataset_rows": (("body",), ()),
    "samples": (("body",), ("wearer",)),
    "records": (("body",), ("walk_id", "wearer", "context")),
    "reviews": (("before", "after"), ()),
}
"""Table → (its bodies, columns of what the first of them says)."""
Told = Callable[[str, int, int], None]
"""Hears what is done, and how much of it."""
logger = logging.getLogger(__name__)


def keep_copy(database: Path) -> None:
    """Copy a database that is not brought up to date yet. Raises: ConfigError where the disk has no room for it."""
    with _opened(database) as connection:
        name = _copy_name(connection)
        if not name:
            return
        new = (database.parent / name).with_suffix(".part")
        new.unlink(missing_ok=True)  # of a copy that was cut off: what it had taken is room
        size = database.stat().st_size
        free = shutil.disk_usage(database.parent).free
        if free < 2 * size:
            raise ConfigError(
                f"The update copies the database and makes it smaller: that needs {2 * size / 1e9:.1f} GB,"
                f" and {database.parent} has {free / 1e9:.1f} GB free.",
                hint="Make room, and start again. Nothing was changed.",
            )
        _copy(connection, new, new.with_name(name))


def _copy_name(connection: sqlite3.Connection) -> str:
    """Of the copy of rows as they were before 0018 or 0023; "" = there are none."""
    before_0018 = not _has(connection, "records", "walk_id")
    before_0023 = not _has(connection, "parts", "file")
    if before_0018 and any(map(partial(_filled, connection), _COLUMNS)):
        return COPY_NAMES[0]
    return COPY_NAMES[1] if before_0023 and _filled(connection, "parts") else ""


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether a table has a column; also where there is no such table."""
    names = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    return not names or column in names


def _filled(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None  # noqa: S608  a name of ours


def _copy(connection: sqlite3.Connection, new: Path, target: Path) -> None:
    tell = teller()
    new.touch(mode=0o600)
    connection.execute("BEGIN")  # one view of it, whoever writes meanwhile
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    with closing(sqlite3.connect(new)) as copy:
        connection.backup(copy, pages=4096, progress=lambda _, left, total: tell("copying", total - left, total))
    connection.execute("COMMIT")
    with open(new, "rb") as written:
        os.fsync(written.fileno())
    atomic.move(new, target)
    logger.warning("The database as it was is kept in %s: delete it when all is well.", target)


def forget_copy(home: Path) -> None:
    """Delete the copies: something is erased that it holds. Raises: OSError."""
    for copy in (home / name for name in COPY_NAMES):
        if copy.exists():
            copy.unlink()
            atomic.fsync_dir(home)
            logger.warning("Deleted %s, the copy of before the update: it held what was erased.", copy.name)


def bring_up(database: Path) -> None:
    """Pack and shrink what is not yet. Raises: sqlite3.Error."""
    with _opened(database) as connection:
        connection.text_factory = bytes  # of a damaged text not every byte is UTF-8
        version = _version(connection)
        if version < PACKED:
            packed = _pack_all(connection)
            version = PACKED if packed else SHRUNK  # of what is new nothing can be made smaller
            connection.execute(f"PRAGMA user_version = {version}")
        if version < SHRUNK and _shrunk(connection, database.parent):
            connection.execute(f"PRAGMA user_version = {SHRUNK}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        yield connection


def _pack_all(connection: sqlite3.Connection) -> int:
    """All tables; returns how many rows had a body in plain text."""
    tell, packed = teller(), 0
    plain = "SELECT count(*) FROM {} WHERE typeof({}) = 'text'"
    total = sum(connection.execute(plain.format(name, own[0][0])).fetchone()[0] for name, own in _COLUMNS.items())
    for table in _COLUMNS:
        for some in _packing(connection, table):
            packed += some
            tell("packing rows", packed, total)
    return packed


def _packing(connection: sqlite3.Connection, table: str) -> Iterator[int]:
    """Pack the rows of a table that are plain text; how many at a time. What is no body keeps its bytes, as a blob that
    cannot be read: a check names it."""
    bodies, said = _COLUMNS[table]
    listed, last = ", ".join(bodies), -1
    some = f"SELECT rowid, {listed} FROM {table} WHERE rowid > ? AND typeof({bodies[0]}) = 'text'"  # noqa: S608
    change = f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in (*bodies, *said))} WHERE rowid = ?"  # noqa: S608
    while rows := connection.execute(f"{some} ORDER BY rowid LIMIT {_AT_ONCE}", (last,)).fetchall():
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(change, [_packed(row, said) for row in rows])
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        last = rows[-1][0]
        yield len(rows)


def _packed(row: Sequence[Any], said: Sequence[str]) -> tuple[Any, ...]:
    """The values of the row's change."""
    number, *texts = row
    bodies = [_body(text) for text in texts]
    packed = (text if body is None else pack(to_text(body)) for text, body in zip(texts, bodies, strict=True))
    return (*packed, *(_said(bodies[0] or {}, name) for name in said), number)


def _body(text: bytes) -> dict[str, Any] | None:
    """None where it cannot be read."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _said(body: Mapping[str, Any], name: str) -> str:
    """A column's value. A row of the dataset has a speaker and a device, a record a wearer or none."""
    return wearer_of(body, said_by(body, "device")) if "sample_id" in body and name == "wearer" else said_by(body, name)


def _shrunk(connection: sqlite3.Connection, home: Path) -> bool:
    """Write the file anew without room in it; False where that has to wait."""
    notify(_PATIENCE, "STATUS=making the database smaller")
    before = os.environ.get("SQLITE_TMPDIR")
    os.environ["SQLITE_TMPDIR"] = str(home)  # the system's folder of temporary files may be small, or memory
    try:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        logger.warning("The database was not made smaller (%s). The next start tries again.", error)
        return False
    finally:
        os.environ.pop("SQLITE_TMPDIR")
        os.environ.update({"SQLITE_TMPDIR": before} if before else {})
    return True


def teller() -> Told:
    """Tells every few seconds how far an update is: the log, and systemd."""
    began_s = last_s = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s < _TOLD_EVERY_S:
            return
        last_s = now_s
        left_s = (now_s - began_s) * (total - done) / max(1, done)
        line = f"bringing the database up to date, once: {what}, {done * 100 // max(1, total)} %, {left_s:.0f} s left"
        logger.warning("%s", line)
        notify(_PATIENCE, f"STATUS={line}")

    return tell
