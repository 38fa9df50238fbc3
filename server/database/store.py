"""The server's database: what was received, what it means now, and who changed what.

Rules that it keeps:

1. The dataset's truth is `metadata.jsonl`. `dataset_rows` holds the same rows one transaction ahead of the file, so
   that `server.dataset.row_log` repairs a crash between the two on the next open; `samples` is only their newest fold.
2. `reviews`, `alias_log` and `rollout_log` are append-only: no code here or elsewhere updates or deletes their rows.
   One exception: the words of what a wearer has had erased are taken out of `reviews` (server.dataset.erasing).
3. A write transaction takes SQLite's write lock at its start: two processes (the server, a command) queue up and never
   deadlock.
4. Times are wall-clock seconds since 1970 in UTC.

Bodies (JSON of rows and records) are compressed, see `server.database.bodies`: what SQL selects by has a column.
SQLite runs in WAL mode with synchronous=FULL: a committed transaction survives power loss.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    CursorResult,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool

from server.database import bodies, packing
from server.database.bodies import Body
from shared import atomic, file_lock
from shared.errors import ConfigError, Transient

DATABASE_NAME = "waycue.sqlite"
BUSY_TIMEOUT_S = 30  # a retrain's view or a migration may hold the write lock for seconds, never for half a minute
MIGRATIONS = Path(__file__).parent / "migrations"  # each step's file begins with its revision
_READ_ONLY = "waycue_read_only"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

records = Table(
    "records",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("record_id", String(96), primary_key=True),
    Column("kind", String(16), nullable=False),  # chunk | correction
    Column("chunk_id", String(96), nullable=False),  # the chunk it is, or is about
    Column("body", Body, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("transcript", Text),  # corrections: what was heard; null = nobody has listened yet
    Column("heard_confidence", Float),
    Column("proposal", Text),  # corrections: the transcript in the vocabulary's words, "" = not understood
    Column("choices", JSON),  # corrections: what may have been meant instead; null = as none
    # Of its body, to be selected by; "" = it does not say.
    Column("walk_id", String(96), nullable=False, server_default="", default=bodies.said("walk_id")),
    Column("wearer", String(96), nullable=False, server_default="", default=bodies.said("wearer")),
    Column("context", Text, nullable=False, server_default="", default=bodies.said("context")),
)
Index("ix_records_walk_id", records.c.walk_id)
Index("ix_records_chunk_id", records.c.chunk_id)
Index("ix_records_record_id", records.c.record_id)

parts = Table(
    "parts",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("record_id", String(96), primary_key=True),
    Column("kind", String(24), primary_key=True),  # frame | audio | clip | correction_audio
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("path", String(160), nullable=False),  # inside the dataset folder
    Column("received_at", Float, nullable=False),
)
Index("ix_parts_path", parts.c.path)  # whose a file is

erasures = Table(
    "erasures",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("erase_id", String(96), primary_key=True),
    Column("body", JSON, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("applied", Boolean, nullable=False),  # what it covered is gone; what it covers and comes later is refused
)
Index("ix_erasures_applied", erasures.c.applied)

help_calls = Table(
    "help_calls",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", String(32), nullable=False),
    Column("call_id", String(96), nullable=False),
    Column("asked_at", Float),  # null = the device's clock was not set
    Column("received_at", Float, nullable=False),
    UniqueConstraint("device", "call_id"),
)
Index("ix_help_calls_received_at", help_calls.c.received_at)

walks = Table(
    "walks",
    metadata,
    Column("walk_id", String(96), primary_key=True),
    Column("split", String(16), nullable=False),  # train | held_out | golden; changed by a person only
    Column("first_seen_at", Float, nullable=False),
)

dataset_rows = Table(
    "dataset_rows",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),  # the order of the lines in metadata.jsonl
    Column("row_id", String(128), nullable=False, unique=True),
    Column("sample_id", String(96), nullable=False),
    Column("body", Body, nullable=False),
    Column("logged", Boolean, nullable=False),  # the line is in metadata.jsonl and synced
)
# Partial: a row waits for its log for milliseconds, and nobody asks for the others.
Index("ix_dataset_rows_waiting", dataset_rows.c.logged, sqlite_where=dataset_rows.c.logged.is_(False))
Index("ix_dataset_rows_sample_id", dataset_rows.c.sample_id)

log_state = Table(
    "log_state",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("size_bytes", Integer, nullable=False),  # length of the file when its rows were last marked as logged
)

samples = Table(
    "samples",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("device", String(32), nullable=False),
    Column("walk_id", String(96), nullable=False),
    Column("row_id", String(128), nullable=False),
    Column("version", Integer, nullable=False),  # how many rows this sample has had
    Column("state", String(16), nullable=False),  # pending | reviewed | rejected
    Column("priority", Integer, nullable=False),  # 0 first: see server.dataset.row_log.priority
    Column("captured_at", Float, nullable=False),  # when it was received, where its clock was ahead of ours
    Column("changed_at", Float, nullable=False),
    Column("body", Body, nullable=False),  # the newest row
    Column("wearer", String(96), nullable=False, server_default="", default=bodies.whose),
    Column("model", String(96), nullable=False, server_default=""),  # the version that guided, "" = none
    Column("marks", Integer, nullable=False, server_default="0"),  # bits: see server.dataset.judged
    Column("cells", JSON, nullable=False, server_default="[]"),  # the rollups that this moment counts in
    Column("worth", Integer, nullable=False, server_default="9"),  # server.dataset.worth: 0 is deleted first
)
Index("ix_samples_wearer", samples.c.wearer, samples.c.state, samples.c.priority, samples.c.captured_at)
Index("ix_samples_worth", samples.c.worth, samples.c.changed_at, samples.c.sample_id)
# Each is the order of one list, so that a page is read where it stands and no list is sorted.
Index("ix_samples_listed", samples.c.state, samples.c.priority, samples.c.captured_at.desc(), samples.c.sample_id)
Index("ix_samples_decided", samples.c.state, samples.c.changed_at.desc(), samples.c.sample_id)
Index("ix_samples_all", samples.c.priority, samples.c.captured_at.desc(), samples.c.sample_id)
Index("ix_samples_walk", samples.c.walk_id, samples.c.captured_at)
Index("ix_samples_model", samples.c.model, samples.c.captured_at)
Index("ix_samples_device", samples.c.device, samples.c.state, samples.c.priority, samples.c.captured_at)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sample_id", String(96), nullable=False),
    Column("at", Float, nullable=False),
    Column("reviewer", String(96), nullable=False),
    Column("action", String(16), nullable=False),  # accept | edit | nothing | reject | return | undo
    Column("before", Body, nullable=False),
    Column("after", Body, nullable=False),
)
Index("ix_reviews_sample_id", reviews.c.sample_id)
Index("ix_reviews_reviewer", reviews.c.reviewer, reviews.c.id)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("device", String(32), nullable=False),
    Column("record_id", String(96), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("path", String(200), nullable=False),  # inside <home>/quarantine, "" = not kept
    Column("reason", Text, nullable=False),
)
Index("ix_quarantine_key", quarantine.c.device, quarantine.c.record_id, quarantine.c.kind)

telemetry = Table(
    "telemetry",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("record_id", String(96), primary_key=True),
    Column("received_at", Float, nullable=False),
    Column("body", JSON, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("seen_at", Float, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("status", JSON, nullable=False),  # the last retained Status
)

models = Table(
    "models",
    metadata,
    Column("version", String(96), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("parent", String(96), nullable=False),
    Column("base", String(200), nullable=False),
    Column("folder", String(400), nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("manifest_size", Integer, nullable=False),
    Column("evaluation", JSON, nullable=False),
    Column("state", String(24), nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", String(96), primary_key=True),
    Column("version", String(96), ForeignKey("models.version"), nullable=False),
)

alias_log = Table(
    "alias_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("name", String(96), nullable=False),
    Column("old", String(96), nullable=False),  # "" = the alias was new
    Column("new", String(96), nullable=False),  # "" = the alias was taken away
    Column("why", Text, nullable=False),
)

offers = Table(
    "offers",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("version", String(96), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("issued_at", Float, nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("cohort", String(96), nullable=False),  # whose models are offered together; "" = none
    Column("added_at", Float, nullable=False),
    Column("revoked_at", Float),  # null = may come in, as far as its certificates go
    Column("why", Text, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", String(32), nullable=False),
    Column("key", String(64), nullable=False),  # made from the code, which is nowhere kept
    Column("made_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
    Column("csr_sha256", String(64)),  # of the request that used it: the same one is answered again
    Column("serial", String(40)),  # of the certificate that it was answered with
)
Index("ix_claims_device", claims.c.device)

certificates = Table(
    "certificates",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # the order in which they were issued
    Column("serial", String(40), nullable=False, unique=True),  # hexadecimal
    Column("device", String(32), nullable=False),
    Column("issued_at", Float, nullable=False),
    Column("not_after", Float, nullable=False),
    Column("revoked_at", Float),
    Column("why", Text, nullable=False),
    Column("pem", Text, nullable=False),
)
Index("ix_certificates_device", certificates.c.device)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("version", String(96), ForeignKey("models.version"), nullable=False),
    Column("state", String(16), nullable=False),  # running | halted | finished | overtaken
    Column("percent", Integer, nullable=False),  # of all devices, beside those that are named
    Column("devices", JSON, nullable=False),  # names
    Column("cohort", String(96), nullable=False),  # "" = none
    Column("error_share", Float, nullable=False),
    Column("missing_after_s", Float, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("why", Text, nullable=False),
    Column("supervised", Boolean, nullable=False),  # its version is on trial
    Column("companion", Text, nullable=False),  # who walks along where it is supervised
    Column("days_percent", Integer, nullable=False, default=0),  # of the wearer-days of its devices; 0 = every day
    Column("day_begins_h", Integer, nullable=False, default=3),  # in UTC
)

rollout_devices = Table(
    "rollout_devices",
    metadata,
    Column("rollout", Integer, ForeignKey("rollouts.id"), primary_key=True),
    Column("device", String(32), primary_key=True),
    Column("offered_at", Float, nullable=False),
    Column("outcome", String(16), nullable=False),  # waiting | proven | failed | missing
    Column("reason", Text, nullable=False),
)

rollout_log = Table(
    "rollout_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("rollout", Integer, ForeignKey("rollouts.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("what", String(96), nullable=False),
    Column("why", Text, nullable=False),
)

intake = Table(
    "intake",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("day", String(10), primary_key=True),  # UTC, YYYY-MM-DD
    Column("name", String(24), primary_key=True),  # one of server.ingest.counters.NAMES
    Column("value", BigInteger, nullable=False),
)
Index("ix_intake_day", intake.c.day)

review_acts = Table(
    "review_acts",
    metadata,
    Column("review", Integer, primary_key=True, autoincrement=False),  # its id in reviews
    Column("act", Integer, nullable=False),  # the first of what was decided at once
    Column("undone_by", Integer),  # the review that took it back; null = it stands
)
Index("ix_review_acts_act", review_acts.c.act)

review_skips = Table(
    "review_skips",
    metadata,
    Column("person", String(96), primary_key=True),
    Column("sample_id", String(96), primary_key=True),
    Column("at", Float, nullable=False),
)

review_marks = Table(
    "review_marks",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("difficult_by", String(96), nullable=False),  # "" = nobody finds it so
    Column("difficult_at", Float, nullable=False),
    Column("assigned_to", String(96), nullable=False),  # "" = nobody
    Column("assigned_by", String(96), nullable=False),
)
Index("ix_review_marks_assigned_to", review_marks.c.assigned_to)

review_comments = Table(
    "review_comments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sample_id", String(96), nullable=False),
    Column("at", Float, nullable=False),
    Column("author", String(96), nullable=False),
    Column("text", Text, nullable=False),
)
Index("ix_review_comments_sample_id", review_comments.c.sample_id)

review_leases = Table(
    "review_leases",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("person", String(96), nullable=False),
    Column("until", Float, nullable=False),
)
Index("ix_review_leases_person", review_leases.c.person)

proposed_words = Table(
    "proposed_words",
    metadata,
    Column("words", String(96), primary_key=True),  # lower case
    Column("sample_id", String(96), primary_key=True),
    Column("at", Float, nullable=False),
    Column("person", String(96), nullable=False),
    Column("text", Text, nullable=False),  # all that was typed or heard
)

sought = Table(
    "sought",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("wearer", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("flags", Text, nullable=False),  # |wearer|audit|
    Column("things", Text, nullable=False),  # |cone|head obstacle|: named by any wording of it
    Column("words", Text, nullable=False),  # all wordings, in lower case
    Column("look", String(16)),  # the picture's difference hash, hexadecimal; null = not made yet
)
Index("ix_sought_wearer", sought.c.wearer)

ABOUT_MOMENTS = (samples, review_skips, review_marks, review_comments, review_leases, proposed_words, sought)
"""Tables of which the rows of an erased moment are deleted."""

night_runs = Table(
    "night_runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("began_at", Float, nullable=False),
    Column("ended_at", Float),  # null = it runs, or was killed
    Column("asked_by", String(96), nullable=False),  # a person, by the page; "" = the timer, or a command
    Column("pid", Integer, nullable=False),
    Column("pid_began", BigInteger, nullable=False),  # in ticks since boot: tells it from a later process of its number
    Column("stage", String(32), nullable=False),  # what it is at
    Column("outcome", String(16), nullable=False),  # "" until it ended; see server.admin.nights
    Column("version", String(96), nullable=False),
    Column("reasons", JSON, nullable=False),
)

night_lines = Table(
    "night_lines",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", Integer, ForeignKey("night_runs.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("text", Text, nullable=False),
)
Index("ix_night_lines_run", night_lines.c.run)

storage_days = Table(
    "storage_days",
    metadata,
    Column("day", String(10), primary_key=True),  # UTC, YYYY-MM-DD
    Column("used", BigInteger, nullable=False),  # bytes of the whole home
    Column("free", BigInteger, nullable=False),
)

stored_bytes = Table(
    "stored_bytes",  # the sum over parts, one row, kept by triggers (migration 0019)
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size_bytes", BigInteger, nullable=False),
)

rollups = Table(
    "rollups",  # sums over samples, kept by triggers (migration 0011) in the transaction that changes a sample
    metadata,
    Column("cell", Text, primary_key=True),  # "kind:name": server.dataset.judged, and "state:..."
    Column("moments", Integer, nullable=False),
    Column("corrections", Integer, nullable=False),
    Column("judged", Integer, nullable=False),
    Column("correct", Integer, nullable=False),
    Column("audit_judged", Integer, nullable=False),
    Column("audit_correct", Integer, nullable=False),
    sqlite_with_rowid=False,
)

rollup_state = Table(
    "rollup_state",
    metadata,
    Column("rules", String(64), primary_key=True),  # by which the cells of samples were made
    Column("after", String(96), nullable=False),  # samples up to this one have them
    Column("whole", Boolean, nullable=False),  # all samples have them
)

ingest_workers = Table(
    "ingest_workers",  # processes that take in, and until when each may be believed to live
    metadata,
    Column("name", String(32), primary_key=True),
    Column("until", Float, nullable=False),
)

ingest_leases = Table(
    "ingest_leases",  # who takes in the devices of a partition (server.ingest.partitions)
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(32), nullable=False),
    Column("until", Float, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Store:
    """An open database. Share one per process; every method may be called from any thread."""

    engine: Engine
    home: Path

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its start; committed when the block ends well."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view that blocks no writer."""
        with self.engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
            yield connection

    def empty_wal(self) -> bool:
        """Fold the WAL into the file and empty it: in it are older copies of pages, with what was deleted since.

        returns: False where somebody reads or writes at this moment. raises: OperationalError
        """
        with self.engine.connect() as connection:
            raw = connection.connection.cursor()
            raw.execute("PRAGMA busy_timeout = 0")
            try:
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        return not busy

    def close(self) -> None:
        """Close every connection; SQLite then folds its WAL back into the one file."""
        self.engine.dispose()


def new_id(inserted: CursorResult[Any]) -> int:
    """The number that a row got that was inserted into a table which numbers its rows."""
    (number,) = inserted.inserted_primary_key or (0,)
    return int(number)


def database_url(home: Path) -> str:
    """The default database of a server folder."""
    return f"sqlite:///{home / DATABASE_NAME}"


def open_store(home: Path, *, create: bool = True) -> Store:
    """Open the database of `home` and bring its tables up to date.

    raises: ConfigError where there is no database and `create` is false, or where it is damaged, or newer than this
    software; Transient where it is busy, or the disk full or failing
    """
    database = home / DATABASE_NAME
    if not create and not database.exists():
        raise ConfigError(f"{home} is not a waycue server folder.", hint=f"Run: waycue-server --home {home} init")
    atomic.make_dirs(home)
    database.touch(mode=0o600)  # it holds the keys of open claim codes; SQLite gives its WAL the same mode
    database.chmod(0o600)
    connect = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    engine = create_engine(database_url(home), poolclass=QueuePool, connect_args=connect)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    with file_lock.locked(home / ".migrate.lock"):
        try:
            packing.keep_copy(database)
            if not _is_current(engine):
                from server.database.migrating import migrate

                migrate(engine, MIGRATIONS)
            packing.bring_up(database)
        except (OperationalError, sqlite3.OperationalError) as error:  # not the file's fault
            raise Transient(
                f"The database {database} could not be opened ({getattr(error, 'orig', error)}).",
                hint="See whether the disk has room and is well, and try again. An update goes on where it stopped.",
            ) from None
        except (DatabaseError, sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the last of a damaged message
            raise ConfigError(
                f"The database {database} is damaged ({getattr(error, 'orig', error)}).",
                hint=f"Mend it: waycue-server --home {home} check --repair",
            ) from None
    return Store(engine, home)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's sqlite3 would begin a transaction only at the first write; _begin_sqlite does it itself.
    connection.isolation_level = None
    # secure_delete: what is deleted is overwritten with zeros; not every build of SQLite does that by default.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a read that later turns into a write could otherwise fail at once with "database is locked".
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _is_current(engine: Engine) -> bool:
    """Whether the last step of `migrations/versions` was done. Alembic itself, which takes 0.1 s to import, is needed
    for the others alone."""
    newest = max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    with engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
        try:
            done = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
        except OperationalError:  # a new database has no such table
            return False
    return done == [newest]
