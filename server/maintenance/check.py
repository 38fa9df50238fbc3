"""`waycue-server check`: do the database, the logs and the files of a server's home say the same, byte for byte?

What each side can give back to the other:

    lost or damaged                    mended from
    database                           metadata.jsonl and records.jsonl; what can still be read of the old one
    metadata.jsonl, records.jsonl      the database
    a payload file                     nothing: it is named as lost, its moment no longer teaches, and the server takes
                                       those bytes again should a device still have them

A look changes nothing and may be taken beside a running server. A repair works alone, names what it did, and deletes
nothing: what it takes out lies in quarantine/ afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import delete, func, select, update

from server.database import store as db
from server.database.store import Store, open_store
from server.dataset import record_log, row_log, sought
from server.dataset.folder import FOLDERS, Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.dataset.sample_row import SampleRow, from_dict, next_version, to_dict
from server.maintenance import check_database, check_logs, home_lock
from server.maintenance.findings import HomeFinding, set_aside
from server.releases.registry import Registry, unjudged
from shared import atomic
from shared.clock import Clock
from shared.errors import BundleError

YOUNG_S = 3600.0  # beside a running server: a file that is being merged has no row yet
_PATHS = tuple(f"{kind}_path" for kind in FOLDERS)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found."""

    findings: tuple[HomeFinding, ...]
    rows: int
    records: int
    files: int
    bytes: int
    never_judged: tuple[str, ...] = ()
    """Versions for the field that no gate of this server passed, one of them the champion perhaps: of an older server,
    or added by hand. Nothing is wrong with their files."""

    @property
    def well(self) -> bool:
        """Nothing is wrong, or everything that was could be mended."""
        return all(finding.mended for finding in self.findings)


def check(
    home: Path, clock: Clock, *, repair: bool = False, progress: Callable[[int], None] = lambda done: None
) -> CheckReport:
    """Look at everything, and with `repair` mend it.

    progress: called with the number of files that were read so far
    raises: ConfigError where `home` is no server's, or where a server is at work that a repair would disturb; OSError
    """
    with home_lock.alone(home) if repair else nullcontext():
        dataset = Dataset(home / "dataset")
        findings = check_database.damage(home, repair=repair)
        findings += check_logs.damage(dataset, home, repair=repair)
        if not all(finding.done for finding in findings):  # the rest cannot be read before that is mended
            return CheckReport(tuple(findings), rows=0, records=0, files=0, bytes=0)
        with closing(open_store(home, create=repair)) as store:
            merge = Merge(store, dataset, clock)
            if any(finding.what == check_database.DAMAGED for finding in findings):
                findings += check_database.salvage(home, store)
            findings += _sides(store, dataset, merge, clock, repair=repair)
            files = _Files(store, dataset, home, clock, repair=repair)
            findings += files.look(progress)
            with store.reading() as connection:
                rows, records = (
                    connection.execute(select(func.count()).select_from(table)).scalar() or 0
                    for table in (db.dataset_rows, db.records)
                )
        never_judged = _never_judged(home, store)
        return CheckReport(tuple(findings), rows, records, files.count, files.bytes, never_judged)


def _never_judged(home: Path, store: Store) -> tuple[str, ...]:
    registry, versions = Registry(home, store=store), []
    champion = registry.champion()
    for model in registry.list():
        with suppress(BundleError, OSError):  # said where its files are looked at
            if unjudged(model):
                versions.append(model.version + (" (the champion)" if model.version == champion else ""))
    return tuple(versions)


def _sides(store: Store, dataset: Dataset, merge: Merge, clock: Clock, *, repair: bool) -> list[HomeFinding]:
    """The logs against the database."""
    findings = [*check_logs.differences(store, dataset), *_wrong_folds(store)]
    if not repair:
        return findings
    _take_bodies(store, dataset, {finding.name for finding in findings if finding.what == check_logs.DIFFERENT})
    recover(store, dataset, merge, clock, thoroughly=True)
    for finding in list(_wrong_folds(store)):  # also those of the rows that were just taken over
        _fold_again(store, finding.name, now_s=clock.utc_s())
    return _mended(findings, [*check_logs.differences(store, dataset), *_wrong_folds(store)])


def _mended(findings: Sequence[HomeFinding], left: Sequence[HomeFinding]) -> list[HomeFinding]:
    """The findings with what was done about each, and what only shows after it. left: what is wrong after the repair"""
    names = {finding.name for finding in left}
    known = {(finding.what, finding.name) for finding in findings}
    mended = [
        replace(finding, done="" if finding.name in names else finding.remedy or "brought up to date")
        for finding in findings
    ]
    return mended + [finding for finding in left if (finding.what, finding.name) not in known]


def _take_bodies(store: Store, dataset: Dataset, row_ids: set[str]) -> None:
    """The file is the truth about what a row says."""
    if not row_ids:
        return
    with dataset.appending(), store.writing() as connection:
        for row in dataset.history():
            if row.row_id in row_ids:
                table = db.dataset_rows
                connection.execute(update(table).where(table.c.row_id == row.row_id).values(body=to_dict(row)))


def _wrong_folds(store: Store) -> Iterable[HomeFinding]:
    """Samples that do not say what their newest row says."""
    with store.reading() as connection:
        newest = _newest_bodies(connection.execute(select(db.dataset_rows.c.sample_id, db.dataset_rows.c.body)).all())
        folds = dict(connection.execute(select(db.samples.c.sample_id, db.samples.c.body)).all())
    for sample_id, body in newest.items():
        expected = None if body.get("erased") else body
        if folds.get(sample_id) != expected:
            yield HomeFinding(
                "moment out of date", sample_id, "the review queue shows it otherwise than the dataset has it"
            )


def _newest_bodies(rows: Iterable[tuple[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    newest: dict[str, dict[str, str]] = {}
    for sample_id, body in rows:
        if sample_id not in newest or _number(body) >= _number(newest[sample_id]):
            newest[sample_id] = body
    return newest


def _number(body: dict[str, str]) -> int:
    number = str(body["row_id"]).rpartition("#")[2]
    return int(number) if number.isascii() and number.isdigit() else 0  # a name that somebody gave it by hand


def _fold_again(store: Store, sample_id: str, *, now_s: float) -> None:
    table = db.dataset_rows
    with store.writing() as connection:
        rows = connection.execute(select(table.c.sample_id, table.c.body).where(table.c.sample_id == sample_id)).all()
        body = _newest_bodies(rows).get(sample_id)
        if body is not None:
            connection.execute(delete(db.samples).where(db.samples.c.sample_id == sample_id))
            if body.get("erased"):
                return
            row = from_dict(body)
            connection.execute(db.samples.insert().values(**row_log.fold_of(row, body, now_s=now_s)))
            sought.keep(connection, [row], known=())


class _Files:
    """Every payload file: there, whole, and somebody's."""

    def __init__(self, store: Store, dataset: Dataset, home: Path, clock: Clock, *, repair: bool) -> None:
        self.count = 0
        self.bytes = 0
        self._store = store
        self._dataset = dataset
        self._home = home
        self._clock = clock
        self._repair = repair

    def look(self, progress: Callable[[int], None]) -> list[HomeFinding]:
        """All findings."""
        wanted = self._wanted()
        findings = []
        for path, users in sorted(wanted.items()):
            problem = self._problem(path)
            self.count += 1
            progress(self.count)
            if problem:
                findings.append(self._lost(path, problem, users))
        return findings + [self._orphan(path) for path in self._orphans(set(wanted))]

    def _wanted(self) -> dict[str, list[str]]:
        """Path in the dataset → moments and records that need it."""
        wanted: dict[str, list[str]] = {}
        with self._store.reading() as connection:
            for path, record_id in connection.execute(select(db.parts.c.path, db.parts.c.record_id)):
                wanted.setdefault(path, []).append(record_id)
        for row in self._dataset.rows():
            for name in _PATHS:
                path = getattr(row, name)
                if path and not row.rejected:
                    wanted.setdefault(path, []).append(row.sample_id)
        return wanted

    def _problem(self, path: str) -> str:
        if not check_logs.is_payload(path):
            return "path unusable"
        try:
            digest = atomic.sha256_file(self._dataset.folder / path)
            self.bytes += (self._dataset.folder / path).stat().st_size
        except FileNotFoundError:
            return "file missing"
        except OSError as error:
            return f"file unreadable ({error.strerror})"
        return "" if digest == Path(path).stem else "file damaged"

    def _lost(self, path: str, problem: str, users: list[str]) -> HomeFinding:
        names = ", ".join(sorted(set(users)))
        finding = HomeFinding(problem, path, f"needed by {names}", lost=True)
        if not self._repair:
            return finding
        if check_logs.is_payload(path) and (self._dataset.folder / path).exists():
            set_aside(self._home, self._dataset.folder / path)
        self._give_up(path)
        return replace(finding, done="given up: its moment no longer teaches, and the server takes these bytes again")

    def _give_up(self, path: str) -> None:
        table = db.parts
        with self._dataset.appending(), self._store.writing() as connection:
            row_log.catch_up(connection, self._dataset, now_s=self._clock.utc_s())
            rows = list(connection.execute(select(table).where(table.c.path == path)).mappings())
            lines = [record_log.line_about("lost", row) for row in rows]
            if lines:
                size = self._dataset.append_records(lines)
                row_log.remember_size(connection, self._dataset.records.name, size)
                connection.execute(delete(table).where(table.c.path == path))
            for row in self._dataset.rows():
                after = _without(row, path)
                if after != row:
                    row_log.insert_row(connection, after, now_s=self._clock.utc_s())
        row_log.flush(self._store, self._dataset, now_s=self._clock.utc_s())

    def _orphans(self, wanted: set[str]) -> Iterable[Path]:
        past = {getattr(row, name) for row in self._dataset.history() for name in _PATHS}
        unfinished = check_logs.announced(self._home / "incoming")
        for folder in sorted({name for name, _ in FOLDERS.values()}):
            for path in sorted((self._dataset.folder / folder).glob("*")):
                relative = f"{folder}/{path.name}"
                is_used = relative in wanted or relative in past or path.stem in unfinished
                if not is_used and not self._young(path):
                    yield path

    def _young(self, path: Path) -> bool:
        """Whether a running server may be merging it."""
        return not self._repair and self._clock.utc_s() - path.stat().st_mtime < YOUNG_S

    def _orphan(self, path: Path) -> HomeFinding:
        finding = HomeFinding(
            "file of nobody", str(path.relative_to(self._dataset.folder)), "no record and no moment has it"
        )
        if not self._repair:
            return finding
        return replace(finding, done=f"put into {set_aside(self._home, path)}")


def _without(row: SampleRow, path: str) -> SampleRow:
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
