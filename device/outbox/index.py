"""The outbox's index: which record is in which state and what to send next. Only an index: the folders are the truth.

SQLite in WAL mode. A commit survives the process; it survives power loss only from the next `make_durable` on, which
comes before anything is deleted (docs/adr says why). What power loss takes back is asked of the server again. Where the
file is missing or damaged it is set aside as `index.sqlite.broken` and built again from the folders; what was merged
meanwhile is then offered once more, and the server answers that it has it.

How much waits is asked for all the time, and 10,000 chunks may wait: triggers keep the sums, so that nobody adds up.

    item:    queued → sending → merged | refused
    record:  queued → deletable (all items merged) → row gone
                    → failed    (an item refused; the folder is in failed/) → queued again, when a person says so
                    → dropped   (deleted to make room; the folder may still be there)
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

RecordState = Literal["queued", "deletable", "failed", "dropped"]
Total = Literal["merged", "lost", "erased"]
WAL_PAGES = 100  # 400 KB, not SQLite's 4 MB: on a full disk it must fit into what device.outbox.reserve holds back

_SCHEMA = """
CREATE TABLE records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, record_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, class INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '');
CREATE INDEX records_by_state ON records (state, class, seq);
CREATE TABLE items (
    record_id TEXT NOT NULL, kind TEXT NOT NULL, file TEXT NOT NULL, size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    bulk INTEGER NOT NULL, class INTEGER NOT NULL, seq INTEGER NOT NULL, rank INTEGER NOT NULL,
    todo INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (record_id, kind)) WITHOUT ROWID;
CREATE INDEX items_to_send ON items (todo, bulk, class, seq, rank);
CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sums (
    name TEXT PRIMARY KEY, count INTEGER NOT NULL, size_bytes INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO sums VALUES
    ('queued', 0, 0), ('deletable', 0, 0), ('failed', 0, 0), ('dropped', 0, 0), ('items to send', 0, 0);
CREATE TRIGGER record_came AFTER INSERT ON records BEGIN
    UPDATE sums SET count = count + 1, size_bytes = size_bytes + new.size_bytes WHERE name = new.state; END;
CREATE TRIGGER record_went AFTER DELETE ON records BEGIN
    UPDATE sums SET count = count - 1, size_bytes = size_bytes - old.size_bytes WHERE name = old.state; END;
CREATE TRIGGER record_changed AFTER UPDATE OF state ON records WHEN old.state != new.state BEGIN
    UPDATE sums SET count = count - 1, size_bytes = size_bytes - old.size_bytes WHERE name = old.state;
    UPDATE sums SET count = count + 1, size_bytes = size_bytes + new.size_bytes WHERE name = new.state; END;
CREATE TRIGGER item_came AFTER INSERT ON items WHEN new.todo BEGIN
    UPDATE sums SET count = count + 1, size_bytes = size_bytes + new.size_bytes WHERE name = 'items to send'; END;
CREATE TRIGGER item_went AFTER DELETE ON items WHEN old.todo BEGIN
    UPDATE sums SET count = count - 1, size_bytes = size_bytes - old.size_bytes WHERE name = 'items to send'; END;
CREATE TRIGGER item_changed AFTER UPDATE OF todo ON items WHEN old.todo != new.todo BEGIN
    UPDATE sums SET count = count + new.todo - old.todo,
        size_bytes = size_bytes + (new.todo - old.todo) * new.size_bytes WHERE name = 'items to send'; END;
"""
_SCHEMA_VERSION = 3
_ITEMS = "SELECT record_id, kind, file, size_bytes, sha256, bulk != 0, rank, state, class, seq FROM items"
_RECORDS = "SELECT record_id, kind, class, size_bytes, state, reason FROM records"
UNKNOWN_BOOT = "00000000"  # device.health.status.kernel_boot, where the kernel does not say
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One thing to send: the record itself or one of its payload files."""

    record_id: str
    kind: str
    """"record" or one of messages.PART_KINDS."""
    file: str
    size_bytes: int
    sha256: str
    """"" for the record itself."""
    bulk: bool
    """Sent only when nothing smaller waits."""
    rank: int
    """Order inside the record."""
    state: str = "queued"
    importance: int = 2
    seq: int = 0
    """Order of sealing; given by the index."""


@dataclass(frozen=True, slots=True)
class RecordRow:
    record_id: str
    kind: str
    importance: int
    """0 corrections, 1 what the wearer flagged, 2 the rest."""
    size_bytes: int
    state: RecordState = "queued"
    reason: str = ""


class Damaged(Exception):
    """The index file is not readable; build a new one."""


_SQLITES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What its calls raise; the latter for damage, in a value or in SQLite's own message of it."""


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors in the block as ours: damage as Damaged, a full or failing disk as OSError."""
    try:
        yield
    except _SQLITES as error:
        raise _translated(error, path) from error


def _translated(error: sqlite3.DatabaseError | UnicodeDecodeError, path: Path) -> Exception:
    # SQLite's own errors have a code; those of Python's module have none, such as of a column that is not text.
    if isinstance(error, UnicodeDecodeError) or (
        type(error) is sqlite3.OperationalError and not hasattr(error, "sqlite_errorcode")
    ):
        return Damaged(str(error))
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):  # ERROR: its tables are gone
        return Damaged(str(error))
    number = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_BUSY: errno.EBUSY}.get(code, errno.EIO)
    return OSError(number, f"{os.strerror(number)}: the outbox index ({error})", str(path))


class Index:
    """An open index. Its caller holds a lock around every call, and puts it into `translated`.

    raises: Damaged, OSError
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with translated(path):
            # isolation_level=None: transactions are begun here, not guessed by the module.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        (damage,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if damage != "ok":
            raise Damaged(damage)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables:  # an index that is there is opened without a write: the disk may be full
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise Damaged(f"it is of another version of waycue: {version}, not {_SCHEMA_VERSION}")

    def close(self) -> None:
        """Fold the WAL into the file and close it. Damage no longer matters then."""
        with contextlib.suppress(*_SQLITES):
            self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk ends the transaction by itself; ROLLBACK would then hide the first error.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def add(self, record: RecordRow, items: Sequence[ItemRow]) -> None:
        """A record with its items, in one transaction, in the place of what was there of it."""
        with self._transaction() as db:
            # Not INSERT OR REPLACE: its conflict rule would rule the triggers too, and they would miss what it deletes.
            db.execute("DELETE FROM items WHERE record_id = ?", (record.record_id,))
            db.execute("DELETE FROM records WHERE record_id = ?", (record.record_id,))
            cursor = db.execute(
                "INSERT INTO records (record_id, kind, class, size_bytes, state, reason) VALUES (?, ?, ?, ?, ?, ?)",
                (record.record_id, record.kind, record.importance, record.size_bytes, record.state, record.reason),
            )
            todo = int(record.state == "queued")
            db.executemany(
                "INSERT INTO items (record_id, kind, file, size_bytes, sha256, bulk, class, seq, rank, todo, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (*astuple(item)[:6], record.importance, cursor.lastrowid, item.rank, todo, item.state)
                    for item in items
                ],
            )

    def make_durable(self) -> None:
        """From here on, everything committed so far survives power loss, too."""
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            with self._transaction() as db:  # one synced commit syncs all that stands before it in the log
                self._set_fact(db, "synced", "")
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")

    def opened(self, boot: str) -> bool:
        """Note that a process has it open, in this boot of the machine. Returns whether power loss may have taken
        commits back since: it was not closed, and that was in another boot. All is then as if it had been sent."""
        row = self._db.execute("SELECT value FROM facts WHERE name = 'open in boot'").fetchone()
        lost = bool(row and row[0]) and (row[0] != boot or boot == UNKNOWN_BOOT)
        with self._transaction() as db:
            if lost:
                db.execute("UPDATE items SET state = 'sending' WHERE todo = 1 AND state = 'queued'")
            self._set_fact(db, "open in boot", boot)
        self.make_durable()
        return lost

    def closed(self) -> None:
        with self._transaction() as db:
            self._set_fact(db, "open in boot", "")
        self.make_durable()

    @staticmethod
    def _set_fact(db: sqlite3.Connection, name: str, value: str) -> None:
        db.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    def next_items(self, count: int, *, bulk: bool) -> list[ItemRow]:
        rows = self._db.execute(
            f"{_ITEMS} WHERE todo = 1 AND bulk = ? ORDER BY todo, bulk, class, seq, rank LIMIT ?", (bulk, count)
        )
        return [ItemRow(*row) for row in rows]

    def mark_sending(self, keys: Sequence[tuple[str, str]]) -> None:
        """The server may have some of these from now on."""
        with self._transaction() as db:
            db.executemany("UPDATE items SET state = 'sending' WHERE record_id = ? AND kind = ? AND todo = 1", keys)

    def mark_merged(self, keys: Sequence[tuple[str, str]]) -> None:
        """The server has these durably; a record of which it has everything becomes deletable."""
        with self._transaction() as db:
            db.executemany("UPDATE items SET todo = 0, state = 'merged' WHERE record_id = ? AND kind = ?", keys)
            for record_id in {record_id for record_id, _ in keys}:
                db.execute(
                    "UPDATE records SET state = 'deletable' WHERE record_id = ? AND state = 'queued' AND NOT EXISTS"
                    " (SELECT 1 FROM items WHERE record_id = ? AND state != 'merged')",
                    (record_id, record_id),
                )

    def mark_refused(self, record_id: str, kind: str, reason: str) -> None:
        """The server will never take this; without its record nothing of it is of use, so that refuses all the rest."""
        with self._transaction() as db:
            db.execute(
                "UPDATE items SET todo = 0, state = 'refused', reason = ? WHERE record_id = ? AND state != 'merged'"
                " AND (kind = ? OR ? = 'record')",
                (reason, record_id, kind, kind),
            )

    def refusals(self, record_id: str) -> dict[str, str]:
        """Kind → reason of what was refused of a record."""
        rows = self._db.execute(
            "SELECT kind, reason FROM items WHERE record_id = ? AND state = 'refused'", (record_id,)
        )
        return dict(rows.fetchall())

    def is_refused(self, record_id: str) -> bool:
        """Whether all of a queued record was answered, and some of it refused: its folder is yet to be moved."""
        left, refused = self._db.execute(
            "SELECT SUM(todo), SUM(state = 'refused') FROM items WHERE record_id ="
            " (SELECT record_id FROM records WHERE record_id = ? AND state = 'queued')",
            (record_id,),
        ).fetchone()
        return bool(left == 0 and refused > 0)

    def set_state(self, record_ids: Sequence[str], state: RecordState, *, reason: str = "") -> None:
        """Move records to another state; nothing of them is sent any more."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE records SET state = ?, reason = ? WHERE record_id = ?", [(state, reason, r) for r in record_ids]
            )
            db.executemany("UPDATE items SET todo = 0 WHERE record_id = ?", [(r,) for r in record_ids])

    def forget(self, record_ids: Sequence[str], *, count_as: Total | None) -> None:
        """Remove rows whose folders are gone, and count them in a total. None = they are listed again at once."""
        with self._transaction() as db:
            gone = 0
            for record_id in record_ids:
                gone += db.execute("DELETE FROM records WHERE record_id = ?", (record_id,)).rowcount
                db.execute("DELETE FROM items WHERE record_id = ?", (record_id,))
            if count_as is not None:
                self._add_to_total(db, count_as, gone)

    def records(self, state: RecordState | None = None, *, order: str = "seq") -> list[RecordRow]:
        """Records, oldest first, or (order="least") least important and then oldest first."""
        by = {"seq": "seq", "least": "class DESC, seq"}[order]
        rows = self._db.execute(f"{_RECORDS} WHERE ? IS NULL OR state = ? ORDER BY {by}", (state, state))
        return [RecordRow(*row) for row in rows]

    def failed(self, kind: str) -> int:
        """How many records of a kind were refused."""
        row = self._db.execute("SELECT COUNT(*) FROM records WHERE state = 'failed' AND kind = ?", (kind,)).fetchone()
        return int(row[0])

    def record(self, record_id: str) -> RecordRow | None:
        row = self._db.execute(f"{_RECORDS} WHERE record_id = ?", (record_id,)).fetchone()
        return RecordRow(*row) if row else None

    def items(self, record_id: str) -> list[ItemRow]:
        """All items of a record, sent or not, in their order."""
        rows = self._db.execute(f"{_ITEMS} WHERE record_id = ? ORDER BY rank", (record_id,))
        return [ItemRow(*row) for row in rows]

    def sums(self) -> dict[str, tuple[int, int]]:
        """State → (records, bytes); "items to send" → (items, bytes)."""
        rows = self._db.execute("SELECT name, count, size_bytes FROM sums")
        return {name: (count, size) for name, count, size in rows}

    def count(self, name: Total, more: int) -> None:
        """Add to a total for records that never had a row."""
        with self._transaction() as db:
            self._add_to_total(db, name, more)

    @staticmethod
    def _add_to_total(db: sqlite3.Connection, name: Total, more: int) -> None:
        db.execute(
            "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )

    def total(self, name: Total) -> int:
        """A count over the outbox's whole life (since the index was last rebuilt)."""
        row = self._db.execute("SELECT value FROM totals WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0


def open_or_replace(path: Path) -> tuple[Index, bool]:
    """The index at `path`, and whether it is new and empty (missing or damaged before). Raises: OSError."""
    fresh = not path.exists()
    try:
        return Index(path), fresh
    except Damaged as error:
        logger.warning("The outbox index %s is damaged (%s) and is built again from the folders.", path, error)
        set_aside(path)
        return Index(path), True


def set_aside(path: Path) -> None:
    """Keep a damaged index for support as *.broken, and make room for a new one."""
    path.replace(path.with_name(path.name + ".broken"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
