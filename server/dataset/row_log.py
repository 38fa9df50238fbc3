"""Keeps `metadata.jsonl` and the database in step, whatever moment the power goes.

A person's decision is written in this order:

    1  `insert_row` inside the caller's transaction: dataset_rows (logged = false) and the fold in `samples`; commit
    2  `flush`, in a second transaction: append to metadata.jsonl, fsync
    3  mark as logged, remember the file's length; commit

After a crash in 1 nothing happened. In 2 the row waits in the database and the next writer appends it. Between 2 and 3
the file is longer than remembered: the next writer reads those lines and marks them, it does not append them again.

What devices send comes by the thousand, and is written with one commit instead of two (server.dataset.merge), which
holds the right to append all the time:

    1  `catch_up`: the file and the database say the same
    2  append to metadata.jsonl and records.jsonl, fsync
    3  dataset_rows (logged = true), the folds, both files' lengths; commit

After a crash between 2 and 3 the files have lines that the database lacks: the next writer's `catch_up` takes them in.

`reconcile` runs at every start, and looks only at what the file's length and the rows that wait tell of: a start costs
the same at a thousand rows and at millions. Where the file is shorter than remembered, or the database is new, and for
`check --repair`, all of the file is read: rows that only it has are taken in (a database that was lost or put back from
a backup), and those that only the database has are appended. Nothing is ever taken out of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    String,
    Table,
    bindparam,
    exists,
    insert,
    select,
    update,
)

from server.database import store as db
from server.database.store import Store
from server.dataset import groups, line_log, rollups, sample_row, sought
from server.dataset.folder import Dataset
from server.dataset.groups import WalkGroup
from server.dataset.sample_row import SampleRow, Split, next_version, version_of

ALONE = WalkGroup()
AT_ONCE = 500  # SQLite takes a bounded number of values in one statement
Item = TypeVar("Item")
_LOG = "metadata.jsonl"
# Corrections first, for the wearer spent breath on them, and what the monitor stopped; then presses, what a teacher on
# the server contradicts, doubt, the rest.
_PRIORITY = {
    "correction": 0, "stopped": 0, "wearer": 1, "disagreement": 2, "low_confidence": 3, "audit": 4, "predecessor": 6,
}  # fmt: skip
_CONTRADICTED, CONTRADICTED_FROM = 2, 0.5
AHEAD_S = 86_400.0
"""A device's clock further ahead than a day is wrong: its moments are ordered by when they came in. Else one from the
year 9999 is the newest for ever."""


def priority(row: SampleRow) -> int:
    """Place in the review queue, 0 first: the most important of the row's flags, and of what a teacher said. A label
    that is doubted stands with what a teacher contradicts: a person has answered its flags already."""
    if row.doubted:
        return _CONTRADICTED
    places = [_PRIORITY.get(flag, 5) for flag in row.flags]
    if row.teacher_disagreement >= CONTRADICTED_FROM:
        places.append(_CONTRADICTED)
    return min(places, default=5)


def insert_row(connection: Connection, row: SampleRow, *, now_s: float, logged: bool = False) -> None:
    """Write a row and the sample's new fold, inside the caller's transaction."""
    query = select(db.samples.c.sample_id).where(db.samples.c.sample_id == row.sample_id)
    insert_rows(connection, [row], known=connection.execute(query).scalars().all(), now_s=now_s, logged=logged)


def insert_rows(
    connection: Connection, rows: Sequence[SampleRow], *, known: Collection[str], now_s: float, logged: bool = False
) -> None:
    """Write rows of different samples and their new folds, inside the caller's transaction. known: samples that have
    a fold already."""
    bodies = [sample_row.to_dict(row) for row in rows]
    connection.execute(
        insert(db.dataset_rows),
        [
            {"row_id": row.row_id, "sample_id": row.sample_id, "body": body, "logged": logged}
            for row, body in zip(rows, bodies, strict=True)
        ],
    )
    _write_folds(connection, _folds(rows, bodies, now_s=now_s), known)
    sought.keep(connection, rows)


def _write_folds(connection: Connection, folds: Sequence[dict[str, Any]], known: Collection[str]) -> None:
    fresh = [fold for fold in folds if fold["sample_id"] not in known]
    changed = [_change(fold) for fold in folds if fold["sample_id"] in known]
    if fresh:
        connection.execute(insert(db.samples), fresh)
    if changed:
        connection.execute(update(db.samples).where(db.samples.c.sample_id == bindparam("own_id")), changed)


def _change(fold: dict[str, Any]) -> dict[str, Any]:
    """Of a fold that is there, what a new row may change: it was received when it was."""
    return {"own_id": fold["sample_id"]} | {n: v for n, v in fold.items() if n not in ("sample_id", "captured_at")}


def _folds(rows: Sequence[SampleRow], bodies: Sequence[dict[str, Any]], *, now_s: float) -> list[dict[str, Any]]:
    """Of what was erased there is none."""
    return [fold_of(row, body, now_s=now_s) for row, body in zip(rows, bodies, strict=True) if not row.erased]


def fold_of(row: SampleRow, body: Mapping[str, Any], *, now_s: float) -> dict[str, Any]:
    """What the table `samples` says about a sample whose newest row this is."""
    return {
        "sample_id": row.sample_id,
        "device": row.device,
        "walk_id": row.walk_id,
        "row_id": row.row_id,
        "version": version_of(row),
        "state": row.state,
        "priority": priority(row),
        "captured_at": row.timestamp if row.timestamp <= now_s + AHEAD_S else now_s,
        "changed_at": now_s,
        "body": body,
        **rollups.values_of(row),
    }


def current(connection: Connection, sample_id: str) -> SampleRow | None:
    """The newest row of a sample."""
    body = connection.execute(select(db.samples.c.body).where(db.samples.c.sample_id == sample_id)).scalar()
    return None if body is None else sample_row.from_dict(body, where=f"sample {sample_id}")


def splits_of(connection: Connection, walk_ids: Iterable[str]) -> dict[str, Split]:
    """Walk id → its side, of those that are known: in one statement, where a batch brings many."""
    table = db.walks
    found = connection.execute(select(table.c.walk_id, table.c.split).where(table.c.walk_id.in_(list(walk_ids))))
    return dict(found.all())


def split_of(connection: Connection, walk_id: str, *, now_s: float, group: WalkGroup = ALONE) -> Split:
    """train, held_out or golden: drawn when a walk first arrives, and kept until a person decides otherwise.

    A server's first walk always teaches (a family with one walk must be able to begin); of the later ones a fifth is
    held out and a tenth becomes golden, drawn by hash. A walk of a group takes the side of the group's first walk.
    """
    table = db.walks
    known: Split | None = connection.execute(select(table.c.split).where(table.c.walk_id == walk_id)).scalar()
    if known is not None:
        return known
    first = connection.execute(select(table.c.walk_id).limit(1)).first() is None
    split: Split = _side_of(connection, group) or ("train" if first else drawn_split(group.lot(walk_id)))
    connection.execute(insert(table).values(walk_id=walk_id, split=split, first_seen_at=now_s))
    return split


def _side_of(connection: Connection, group: WalkGroup) -> Split | None:
    """The side of a group's first walk, None where it has none."""
    known = groups.walks_of(connection, group)
    return known[0][1] if known else None  # type: ignore[return-value]  # the column holds nothing else


def propose_split(
    connection: Connection, walk_id: str, split: Split, *, now_s: float, group: WalkGroup = ALONE
) -> None:
    """Say, inside a transaction, what a walk is good for before its first moment comes; a known walk stays as it is,
    and one of a group that has a side takes that."""
    known = connection.execute(select(db.walks.c.walk_id).where(db.walks.c.walk_id == walk_id)).first()
    if known is None:
        split = _side_of(connection, group) or split
        connection.execute(insert(db.walks).values(walk_id=walk_id, split=split, first_seen_at=now_s))


def drawn_split(walk_id: str) -> Split:
    """By hash, so that it is the same on every server. Pure."""
    number = int(hashlib.sha256(walk_id.encode()).hexdigest()[:8], 16)
    return "held_out" if number % 5 == 0 else "golden" if number % 10 == 7 else "train"


def set_split(connection: Connection, walk_id: str, split: Split, *, now_s: float) -> list[SampleRow]:
    """Change what a walk is good for, inside a transaction: the walk, and a new row for each of its moments, from which
    the log gives the walk back. Returns the new rows; none where it was so already."""
    table = db.samples
    bodies = connection.execute(select(table.c.body).where(table.c.walk_id == walk_id).order_by(table.c.sample_id))
    rows = [sample_row.from_dict(body, where=f"a moment of {walk_id}") for body in bodies.scalars()]
    changed = [next_version(row, row, split=split) for row in rows if row.split != split]
    for start in range(0, len(changed), 500):  # SQLite takes a bounded number of values in one statement
        some = changed[start : start + 500]
        insert_rows(connection, some, known={row.sample_id for row in some}, now_s=now_s)
    connection.execute(update(db.walks).where(db.walks.c.walk_id == walk_id).values(split=split))
    return changed


def set_golden(connection: Connection, sample_id: str, golden: bool | None, *, now_s: float) -> SampleRow | None:
    """Put a moment into the golden set or take it out, inside a transaction. None where there is no such moment."""
    row = current(connection, sample_id)
    if row is None or row.golden == golden:
        return row
    after = next_version(row, row, golden=golden)
    insert_row(connection, after, now_s=now_s)
    return after


def flush(store: Store, dataset: Dataset, *, now_s: float) -> None:
    """Bring every committed row into the file. Raises: OSError (the rows then wait in the database)."""
    with dataset.appending(), store.writing() as connection:
        catch_up(connection, dataset, now_s=now_s)


def catch_up(connection: Connection, dataset: Dataset, *, now_s: float) -> dict[str, int]:
    """Inside a transaction, and inside `dataset.appending()`: make metadata.jsonl and the database say the same.

    Only what the remembered length and the rows that wait tell of is looked at: that costs the same however long the
    log is. Returns the remembered lengths of all logs, by name.
    """
    standing = _standing(connection)
    if standing.from_byte(dataset) is not None or standing.waits:
        _align(connection, dataset, from_byte=standing.from_byte(dataset), now_s=now_s)
    return standing.sizes


@dataclass(frozen=True, slots=True)
class _LogStanding:
    """What the database says about the logs."""

    sizes: dict[str, int]
    waits: bool
    """Rows wait for metadata.jsonl."""

    def from_byte(self, dataset: Dataset) -> int | None:
        """From where on metadata.jsonl has lines that the database may lack; None = from nowhere. A shorter file was
        replaced by an older one: all of it is read."""
        size, known = line_log.size(dataset.log), self.sizes.get(_LOG, 0)
        return None if size == known else known if size > known else 0


def _standing(connection: Connection) -> _LogStanding:
    found = connection.execute(_STANDING).all()
    waits = bool(found[0][2]) if found else bool(connection.execute(select(_WAITS)).scalar())
    return _LogStanding({name: int(size) for name, size, _ in found}, waits)


_WAITS = exists().where(db.dataset_rows.c.logged.is_(False))
_STANDING = select(db.log_state.c.name, db.log_state.c.size_bytes, select(_WAITS).scalar_subquery())


def reconcile(store: Store, dataset: Dataset, *, now_s: float, thoroughly: bool = True) -> tuple[int, int]:
    """Repair what a crash left apart. Idempotent. Returns (rows appended to the file, rows taken in from the file).

    thoroughly: read the whole file, also where its length is the remembered one
    raises: DatasetError where the file holds a line that can not be read.
    """
    with dataset.appending(), store.writing() as connection:
        standing = _standing(connection)
        from_byte = 0 if thoroughly else standing.from_byte(dataset)
        if from_byte is None and not standing.waits:
            return 0, 0
        return _align(connection, dataset, from_byte=from_byte, now_s=now_s)


_IN_FILE = Table("in_file", MetaData(), Column("row_id", String(128), primary_key=True), prefixes=["TEMPORARY"])
"""The rows of the part of the file that was read. On disk where there are many: memory stays flat."""


def _align(connection: Connection, dataset: Dataset, *, from_byte: int | None, now_s: float) -> tuple[int, int]:
    """Take in the file's rows from there on (None = they are known), and append the rows that wait for the file."""
    table, taken = db.dataset_rows, 0
    _IN_FILE.create(connection)  # a transaction that fails takes it along
    if from_byte is not None:
        for some in in_batches(dataset.history(from_byte=from_byte), AT_ONCE):
            taken += _take_in_some(connection, some, now_s=now_s)
    in_file = table.c.row_id.in_(select(_IN_FILE.c.row_id))
    if from_byte == 0:
        connection.execute(update(table).where(table.c.logged.is_(True), ~in_file).values(logged=False))
    appended = _append_waiting(connection, dataset, ~in_file)
    _IN_FILE.drop(connection)
    connection.execute(update(table).where(table.c.logged.is_(False)).values(logged=True))
    remember_size(connection, _LOG, line_log.size(dataset.log))
    return appended, taken


def _take_in_some(connection: Connection, rows: Sequence[SampleRow], *, now_s: float) -> int:
    """Rows of the file, of which the database may know some; how many it did not."""
    table, taken = db.dataset_rows, 0
    ids = {row.row_id for row in rows}
    known = set(connection.execute(select(table.c.row_id).where(table.c.row_id.in_(ids))).scalars())
    noted = set(connection.execute(select(_IN_FILE.c.row_id).where(_IN_FILE.c.row_id.in_(ids))).scalars())
    for row in rows:
        if row.row_id not in known:
            _take_in(connection, row, now_s=now_s)
            known.add(row.row_id)
            taken += 1
    if ids - noted:
        connection.execute(insert(_IN_FILE), [{"row_id": row_id} for row_id in ids - noted])
    return taken


def _append_waiting(connection: Connection, dataset: Dataset, missing: ColumnElement[bool]) -> int:
    """Add the rows that wait and are not in the file, durably; how many."""
    table, appended = db.dataset_rows, 0
    query = select(table.c.body).where(table.c.logged.is_(False), missing).order_by(table.c.seq)
    bodies = connection.execute(query.execution_options(yield_per=AT_ONCE)).scalars()
    for some in in_batches(bodies, AT_ONCE):
        dataset.append(some)
        appended += len(some)
    return appended


def in_batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """The items in lists of `most`, the last of them shorter."""
    rest = iter(items)
    while some := list(islice(rest, most)):
        yield some


def _take_in(connection: Connection, row: SampleRow, *, now_s: float) -> None:
    newest = current(connection, row.sample_id)
    table = db.walks
    known = connection.execute(select(table.c.split).where(table.c.walk_id == row.walk_id)).scalar()
    if known is None and not row.erased:
        connection.execute(insert(table).values(walk_id=row.walk_id, split=row.split, first_seen_at=now_s))
    elif known is not None and known != row.split and (newest is None or version_of(newest) < version_of(row)):
        # set_split said so, before the database was lost
        connection.execute(update(table).where(table.c.walk_id == row.walk_id).values(split=row.split))
    insert_row(connection, row, now_s=now_s, logged=True)
    if newest is not None and version_of(newest) > version_of(row):
        connection.execute(
            update(db.samples)
            .where(db.samples.c.sample_id == row.sample_id)
            .values(
                row_id=newest.row_id,
                version=version_of(newest),
                state=newest.state,
                priority=priority(newest),
                body=sample_row.to_dict(newest),
                **rollups.values_of(newest),
            )
        )
        sought.keep(connection, [newest])


def remembered_size(connection: Connection, name: str) -> int:
    """The length of a log when the database last knew all that was in it."""
    size = connection.execute(select(db.log_state.c.size_bytes).where(db.log_state.c.name == name)).scalar()
    return int(size or 0)


def remember_size(connection: Connection, name: str, size_bytes: int) -> None:
    """Say, inside a transaction, that the database knows all of a log up to there."""
    remember_sizes(connection, {name: size_bytes}, known=())


def remember_sizes(connection: Connection, sizes: Mapping[str, int], *, known: Collection[str]) -> None:
    """The same for several logs. known: those that were remembered before, as far as the caller has looked."""
    if sizes and sizes.keys() <= set(known):
        connection.execute(_REMEMBER, [{"log": name, "size": size} for name, size in sizes.items()])
        return
    for name, size in sizes.items():
        if connection.execute(_REMEMBER, {"log": name, "size": size}).rowcount == 0:
            connection.execute(insert(db.log_state).values(name=name, size_bytes=size))


_REMEMBER = update(db.log_state).where(db.log_state.c.name == bindparam("log")).values(size_bytes=bindparam("size"))
