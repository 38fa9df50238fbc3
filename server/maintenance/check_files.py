"""Every payload file: there, whole, and somebody's.

Which files are wanted is listed in a database on disk that is nobody's, so that memory is flat; they are read in the
order of their names, so that a look that was cut off goes on where it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import delete, select

from server.database import store as db
from server.database.store import Store
from server.dataset import part_paths, record_log, row_log
from server.dataset.blobs import PLACES
from server.dataset.folder import FOLDERS, Dataset
from server.dataset.sample_row import SampleRow, next_version
from server.maintenance import check_logs
from server.maintenance.findings import HomeFinding, set_blob_aside
from server.maintenance.progress import EVERY, CheckPart, Told, nobody
from shared import atomic
from shared.clock import Clock

YOUNG_S = 3600.0  # beside a running server: a file that is being merged has no row yet
PATHS = tuple(f"{kind}_path" for kind in FOLDERS)


@dataclass(slots=True)
class SeenFiles:
    """How far a look at the files is."""

    after: str = ""
    """The last path that was read, in the order of names."""
    count: int = 0
    bytes: int = 0
    findings: list[HomeFinding] = field(default_factory=list)


class _Wanted:
    """Paths, and who needs them. A context manager."""

    def __init__(self, store: Store) -> None:
        self._list = sqlite3.connect("", isolation_level=None)  # "" = on disk, deleted when it is closed
        self._list.execute("PRAGMA journal_mode = OFF")
        self._list.execute("PRAGMA cache_size = -32000")
        self._list.execute(
            "CREATE TABLE wanted (path TEXT, user TEXT, needed INTEGER, PRIMARY KEY (path, user)) WITHOUT ROWID"
        )
        with store.reading() as connection:
            parts = select(part_paths.PATH, db.parts.c.record_id).execution_options(yield_per=EVERY)
            self._add((path, user, 1) for path, user in connection.execute(parts))
            rows = select(db.dataset_rows.c.sample_id, db.dataset_rows.c.body).execution_options(yield_per=EVERY)
            self._add(
                (body[name], sample_id, 0)
                for sample_id, body in connection.execute(rows)
                for name in PATHS
                if body.get(name)
            )
            folds = select(db.samples.c.sample_id, db.samples.c.body).where(db.samples.c.state != "rejected")
            self._add(
                (body[name], sample_id, 1)
                for sample_id, body in connection.execute(folds.execution_options(yield_per=EVERY))
                for name in PATHS
                if body.get(name)
            )

    def close(self) -> None:
        self._list.close()

    def _add(self, entries: Iterable[tuple[str, str, int]]) -> None:
        self._list.execute("BEGIN")
        self._list.executemany(
            "INSERT INTO wanted VALUES (?, ?, ?) ON CONFLICT (path, user) DO UPDATE SET needed = max(needed, "
            "excluded.needed)",
            entries,
        )
        self._list.execute("COMMIT")

    def count(self) -> int:
        return int(self._list.execute("SELECT count(DISTINCT path) FROM wanted WHERE needed").fetchone()[0])

    def paths(self, *, after: str) -> Iterator[tuple[str, list[str]]]:
        """(path, who needs it), in the order of the paths."""
        query = "SELECT path, group_concat(user, ' ') FROM wanted WHERE needed AND path > ? GROUP BY path"
        for path, users in self._list.execute(query, (after,)):
            yield path, sorted(users.split(" "))

    def users(self, path: str) -> list[str]:
        """All that had it, also moments that teach no more."""
        return [user for (user,) in self._list.execute("SELECT user FROM wanted WHERE path = ?", (path,))]

    def has(self, path: str) -> bool:
        return self._list.execute("SELECT 1 FROM wanted WHERE path = ?", (path,)).fetchone() is not None


class FileCheck:
    """A look at all files of a home, or a repair."""

    def __init__(self, store: Store, dataset: Dataset, home: Path, clock: Clock, *, repair: bool) -> None:
        self._store, self._dataset, self._home, self._clock = store, dataset, home, clock
        self._blobs, self._repair = dataset.blobs, repair

    def look(self, seen: SeenFiles, to: Told = nobody) -> Iterator[SeenFiles]:
        """Read the files behind `seen`, which grows; yielded again and again, for the caller to remember. The last one
        is that of all. Raises: OSError"""
        wanted = _Wanted(self._store)
        try:
            total = wanted.count()
            for path, users in wanted.paths(after=seen.after):
                problem = self._problem(path, users, seen)
                seen.count, seen.after = seen.count + 1, path
                if problem:
                    seen.findings.append(self._lost(path, problem, users, wanted))
                if seen.count % EVERY == 0:
                    to(CheckPart("reading files", seen.count, max(total, seen.count)))
                    yield seen
            to(CheckPart("reading files", seen.count, seen.count))
            seen.findings += [self._orphan(path) for path in self._orphans(wanted)]
            yield seen
        finally:
            wanted.close()

    def _problem(self, path: str, users: Sequence[str], seen: SeenFiles) -> str:
        if not check_logs.is_payload(path):
            return "path unusable"
        try:
            digest = atomic.sha256_file(self._blobs.local(path))
            seen.bytes += self._blobs.size(path) or 0
        except FileNotFoundError:
            # A wearer may have had it erased since the list was made.
            return "file missing" if self._repair or self._is_wanted(path, users) else ""
        except OSError as error:
            return f"file unreadable ({error.strerror})"
        return "" if digest == Path(path).stem else "file damaged"

    def _is_wanted(self, path: str, users: Sequence[str]) -> bool:
        """Whether the database still names it: a record's, or, of moments from elsewhere, a row's."""
        with self._store.reading() as connection:
            if connection.execute(select(db.parts.c.kind).where(part_paths.at(path)).limit(1)).first():
                return True
            rows = [row_log.current(connection, user) for user in users]
        return any(row is not None and without(row, path) != row for row in rows)

    def _lost(self, path: str, problem: str, users: list[str], wanted: _Wanted) -> HomeFinding:
        finding = HomeFinding(problem, path, f"needed by {', '.join(users)}", lost=True)
        if not self._repair:
            return finding
        if check_logs.is_payload(path) and self._blobs.size(path) is not None:
            set_blob_aside(self._home, self._blobs, path)
        self._give_up(path, wanted.users(path))
        return replace(finding, done="given up: its moment no longer teaches, and the server takes these bytes again")

    def _give_up(self, path: str, users: list[str]) -> None:
        table = db.parts
        with self._dataset.appending(), self._store.writing() as connection:
            row_log.catch_up(connection, self._dataset, now_s=self._clock.utc_s())
            rows = list(connection.execute(part_paths.rows().where(part_paths.at(path))).mappings())
            lines = [record_log.line_about("lost", row) for row in rows]
            if lines:
                size = self._dataset.append_records(lines)
                row_log.remember_size(connection, self._dataset.records.name, size)
                connection.execute(delete(table).where(part_paths.at(path)))
            for user in users:
                row = row_log.current(connection, user)
                after = None if row is None else without(row, path)
                if after is not None and after != row:
                    row_log.insert_row(connection, after, now_s=self._clock.utc_s())
        row_log.flush(self._store, self._dataset, now_s=self._clock.utc_s())

    def _orphans(self, wanted: _Wanted) -> Iterator[str]:
        unfinished = check_logs.announced(self._home / "incoming")
        for place in PLACES:
            for name, changed_at_s in sorted((entry.name, entry.changed_at_s) for entry in self._blobs.listed(place)):
                is_used = wanted.has(name) or Path(name).stem in unfinished
                if not is_used and not self._young(name, changed_at_s):
                    yield name

    def _young(self, name: str, changed_at_s: float) -> bool:
        """Whether a running server may be merging it, or has just deleted it."""
        if self._repair:
            return False
        return self._clock.utc_s() - changed_at_s < YOUNG_S or self._blobs.size(name) is None

    def _orphan(self, name: str) -> HomeFinding:
        finding = HomeFinding("file of nobody", name, "no record and no moment has it")
        if not self._repair:
            return finding
        return replace(finding, done=f"put into {set_blob_aside(self._home, self._blobs, name)}")


def without(row: SampleRow, path: str) -> SampleRow:
    """The row after a file of it was lost: without a clip or a correction's sound it still teaches. Pure."""
    after = row
    if path in (row.frame_path, row.audio_path) and not row.rejected:
        after = replace(row, rejected=True, reviewed=False, was_correct=None, ground_truth="")
    if path and path == row.clip_path:
        after = replace(after, clip_path="")
    if path and path == row.correction_audio_path:
        after = replace(after, correction_audio_path="")
    if after == row:
        return row
    return next_version(row, after)
