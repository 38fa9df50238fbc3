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

from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Table, func, select, update

from server.database import store as db
from server.database.store import Store, open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.dataset.sample_row import to_dict
from server.maintenance import check_bodies, check_database, check_folds, check_logs, check_state, home_lock
from server.maintenance.check_files import FileCheck, SeenFiles
from server.maintenance.findings import HomeFinding
from server.maintenance.progress import CheckPart, Told, nobody
from server.releases.registry import Registry, unjudged
from shared.clock import Clock
from shared.errors import BundleError


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


def check(home: Path, clock: Clock, *, repair: bool = False, resume: bool = False, to: Told = nobody) -> CheckReport:
    """Look at everything, and with `repair` mend it. Memory is flat, and a server beside it waits for moments only.

    resume: go on where a look was cut off, with what it had found. to: hears how far it is
    raises: ConfigError where `home` is no server's, or where a server is at work that a repair would disturb; OSError
    """
    with home_lock.alone(home) if repair else nullcontext():
        known = check_state.load(home) if resume and not repair else None
        dataset = Dataset(home / "dataset")
        findings = [] if known else _damage(home, dataset, repair=repair, to=to)
        if not all(finding.done for finding in findings):  # the rest cannot be read before that is mended
            return CheckReport(tuple(findings), rows=0, records=0, files=0, bytes=0)
        with closing(open_store(home, create=repair)) as store:
            if known is None:
                findings += _salvaged(home, store, findings)
                damaged = check_bodies.damage(store, repair=repair, to=to)
                findings += damaged
                if damaged and not repair:  # the rest cannot be read before that is mended
                    return CheckReport(tuple(findings), rows=0, records=0, files=0, bytes=0)
                findings += _sides(store, dataset, Merge(store, dataset, clock), clock, repair=repair, to=to)
                known = SeenFiles(findings=findings)
            seen = _files(FileCheck(store, dataset, home, clock, repair=repair), known, home, repair=repair, to=to)
            rows, records = _count(store, db.dataset_rows), _count(store, db.records)
            never_judged = _never_judged(home, store)
        return CheckReport(tuple(seen.findings), rows, records, seen.count, seen.bytes, never_judged)


def _count(store: Store, table: Table) -> int:
    with store.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar() or 0


def _salvaged(home: Path, store: Store, findings: Sequence[HomeFinding]) -> list[HomeFinding]:
    """What could not be read of a database that was damaged."""
    damaged = any(finding.what == check_database.DAMAGED for finding in findings)
    return check_database.salvage(home, store) if damaged else []


def _damage(home: Path, dataset: Dataset, *, repair: bool, to: Told) -> list[HomeFinding]:
    to(CheckPart("reading the database", 0, 0))
    return check_database.damage(home, repair=repair) + check_logs.damage(dataset, home, repair=repair, to=to)


def _files(files: FileCheck, seen: SeenFiles, home: Path, *, repair: bool, to: Told) -> SeenFiles:
    """All files. How far a look is, is remembered on the way, so that another may go on; a repair is done whole."""
    if not repair:
        check_state.save(home, seen)
    for now in files.look(seen, to):
        if not repair:
            check_state.save_sometimes(home, now)
    check_state.forget(home)
    return seen


def _never_judged(home: Path, store: Store) -> tuple[str, ...]:
    registry, versions = Registry(home, store=store), []
    champion = registry.champion()
    for model in registry.list():
        with suppress(BundleError, OSError):  # said where its files are looked at
            if unjudged(model):
                versions.append(model.version + (" (the champion)" if model.version == champion else ""))
    return tuple(versions)


def _sides(store: Store, dataset: Dataset, merge: Merge, clock: Clock, *, repair: bool, to: Told) -> list[HomeFinding]:
    """The logs against the database."""
    findings = [*check_logs.differences(store, dataset, to=to), *check_folds.differences(store, to=to)]
    if not repair:
        return findings
    _take_bodies(store, dataset, {finding.name for finding in findings if finding.what == check_logs.DIFFERENT})
    recover(store, dataset, merge, clock, thoroughly=True)
    for finding in list(check_folds.differences(store)):  # also those of the rows that were just taken over
        if finding.what == check_folds.OUTDATED:
            check_folds.fold_again(store, finding.name, now_s=clock.utc_s())
    wrong = {finding.what for finding in check_folds.differences(store)}
    if check_folds.MISCOUNTED in wrong:
        check_folds.count_again(store)
    if check_folds.UNFOUND in wrong:
        check_folds.index_again(store)
    left = [*check_logs.differences(store, dataset), *check_folds.differences(store)]
    return _mended(findings, left)


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
