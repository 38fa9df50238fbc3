"""The server's database: what was received, what it means now, and who changed what.

Rules that it keeps:

1. The dataset's truth is `metadata.jsonl`. `dataset_rows` holds the same rows one transaction ahead of the file, so
   that `server.dataset.row_log` repairs a crash between the two on the next open; `samples` is only their newest fold.
2. `reviews`, `alias_log` and `rollout_log` are append-only: no code here or elsewhere updates or deletes their rows.
   One exception: the words of what a wearer has had erased are taken out of `reviews` (server.dataset.erasing).
3. A write transaction takes the database's write lock at its start: two processes (the server, a command) queue up and
   never deadlock.
4. Times are wall-clock seconds since 1970 in UTC.

Tables of decisions, of what is searched and counted by, are in `server.database.review_tables`.
Bodies (JSON of rows and records) are compressed, see `server.database.bodies`: what SQL selects by has a column.
A committed transaction survives power loss, in SQLite (`server.database.sqlite`) and in PostgreSQL
(`server.database.postgresql`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
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
    text,
)

from server.database import bodies, ending, packing, settings, sqlite
from server.database.bodies import Body
from server.database.hashes import Hash
from server.database.migrating import READ_ONLY
from server.database.sqlite import DATABASE_NAME as DATABASE_NAME
from shared import atomic, file_lock
from shared.errors import ConfigError

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SIZE = Integer().with_variant(BigInteger(), "postgresql")
"""Bytes: a log has more than an INTEGER of PostgreSQL. SQLite's are as long as they are."""


def _where(rows: str) -> dict[str, Any]:
    return dict.fromkeys(("sqlite_where", "postgresql_where"), text(rows))


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
Index("ix_records_about", records.c.chunk_id, **_where("kind = 'correction'"))  # a chunk is found by its own id
Index("ix_records_record_id", records.c.record_id)

parts = Table(
    "parts",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("record_id", String(96), primary_key=True),
    Column("kind", String(24), primary_key=True),  # frame | audio | clip | correction_audio
    Column("sha256", Hash, nullable=False),
    Column("size_bytes", SIZE, nullable=False),
    Column("path", String(160)),  # where it lies, null = where its hash says: see server.dataset.part_paths
    Column("file", BigInteger, nullable=False),  # the first 8 bytes of the hash that its path names
    Column("received_at", Float, nullable=False),
)
Index("ix_parts_file", parts.c.file)  # whose a file is

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
_WAITS = dataset_rows.c.logged.is_(False)
# Partial: a row waits for its log for milliseconds, and nobody asks for the others.
Index("ix_dataset_rows_waiting", dataset_rows.c.logged, sqlite_where=_WAITS, postgresql_where=_WAITS)
Index("ix_dataset_rows_sample_id", dataset_rows.c.sample_id)

log_state = Table(
    "log_state",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("size_bytes", SIZE, nullable=False),  # length of the file when its rows were last marked as logged
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
Index("ix_samples_worth", samples.c.worth, samples.c.changed_at, samples.c.sample_id)
# Each is the order of one list, so that a page is read where it stands and no list is sorted.
Index("ix_samples_listed", samples.c.state, samples.c.priority, samples.c.captured_at.desc(), samples.c.sample_id)
Index(
    "ix_samples_decided", samples.c.state, samples.c.changed_at.desc(), samples.c.sample_id, samples.c.captured_at
)  # with the time, by which days are looked for
Index("ix_samples_all", samples.c.priority, samples.c.captured_at.desc(), samples.c.sample_id)
Index("ix_samples_walk", samples.c.walk_id, samples.c.captured_at)
Index("ix_samples_captured", samples.c.captured_at, samples.c.state)
for _whose in (samples.c.wearer, samples.c.device, samples.c.model):
    _name = f"ix_samples_{_whose.name}"
    Index(f"{_name}_listed", _whose, samples.c.state, samples.c.priority, samples.c.captured_at.desc())
    Index(f"{_name}_decided", _whose, samples.c.state, samples.c.changed_at.desc(), **_where("state != 'pending'"))

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
    Column("manifest_size", SIZE, nullable=False),
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
        with self.engine.connect().execution_options(**{READ_ONLY: True}) as connection:
            yield connection

    @property
    def wipes_at_once(self) -> bool:
        """Whether `wipe` takes no time worth mentioning; else it goes through all tables, and is for a thread that
        nobody waits for (server.privacy.retention calls it every hour)."""
        return self.engine.dialect.name == "sqlite"

    def wipe(self) -> bool:
        """Take what was deleted out of where SQL does not look: SQLite's WAL, PostgreSQL's dead rows.

        returns: False where somebody reads or writes at this moment. raises: DBAPIError
        """
        if self.wipes_at_once:
            return sqlite.wipe(self.engine)
        return bool(_postgresql().wipe(self.engine))

    def close(self) -> None:
        """Close every connection; SQLite then folds its WAL back into the one file."""
        self.engine.dispose()


def new_id(inserted: CursorResult[Any]) -> int:
    """The number that a row got that was inserted into a table which numbers its rows."""
    (number,) = inserted.inserted_primary_key or (0,)
    return int(number)


def open_store(home: Path, *, create: bool = True) -> Store:
    """Open the database of `home`, in PostgreSQL where its settings name one, and bring its tables up to date.

    raises: ConfigError where there is no database and `create` is false, or where it is damaged, or newer than this
    software; Transient where it is busy or does not answer, or the disk full or failing
    """
    url = settings.url_of(settings.of_home(home))
    if not create and not has_database(home):
        raise ConfigError(f"{home} is not a waycue server folder.", hint=f"Run: waycue-server --home {home} init")
    atomic.make_dirs(home)
    with file_lock.locked(home / ".migrate.lock"):
        if url is None:
            engine = sqlite.open_engine(home)
        else:
            engine = _postgresql().open_engine(url, may_be_new=not (home / DATABASE_NAME).exists())
    store = Store(engine, home)
    ending.note(store)
    return store


def has_database(home: Path) -> bool:
    """Whether a home is a server's, as far as its database tells without being asked. Raises: ConfigError."""
    return bool(settings.of_home(home).url) or (home / DATABASE_NAME).is_file()


def forget_old(home: Path) -> None:
    """Delete the copies of the database from before an update, and from before it moved to PostgreSQL: something is
    erased that they hold. Raises: OSError, ConfigError."""
    packing.forget_copy(home)
    if settings.of_home(home).url:
        sqlite.remove(home)


def _postgresql() -> ModuleType:
    """Its driver is an extra. Raises: ConfigError where that is not installed."""
    try:
        from server.database import postgresql
    except ImportError as error:
        raise ConfigError(
            f"database.url names PostgreSQL, and its driver is not installed ({error}).",
            hint='Install it: pip install "waycue[server-postgresql]"',
        ) from None
    return postgresql
