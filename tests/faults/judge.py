"""What must hold in the end: every flagged chunk and correction was merged exactly once, or is reported lost by name.

The judge knows from the ledgers what was promised, makes the bytes again from (device, number), and reads the server's
database, its dataset folder and the outboxes with the product's own readers. What the database keeps beside the rows
(their folds, sums and words to search by, compressed bodies) the product's own `check` compares with them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from device.outbox.folder import LOST
from device.outbox.outbox import Outbox
from device.updates.slots import current_slot
from server.database import store as db
from server.database.store import Store, open_store
from server.dataset import part_paths
from server.dataset.folder import Dataset
from server.maintenance.check import check
from shared import bundle
from shared.clock import SystemClock
from shared.errors import BundleError
from tests.faults import cargo
from tests.faults.cargo import Ledger

_OPENING = threading.Lock()  # alembic keeps what it works on in module globals


@dataclass(slots=True)
class Verdict:
    """Record ids, by what became of them."""

    chunks: int = 0
    corrections: int = 0
    merged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """In failed/, with a reason."""
    named_lost: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """Promised, and neither merged nor reported by name: the one thing that must never be."""
    duplicated: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.problems)


@dataclass(frozen=True, slots=True)
class Party:
    """A device whose promises are judged."""

    name: str
    state: Path
    ledger: Path


def judge(home: Path, parties: Iterable[Party]) -> Verdict:
    """The verdict once everybody has stopped. It opens the outboxes, which recovers them first."""
    verdict = Verdict()
    known = _Server.read(home, verdict)
    for party in parties:
        erased = set(Ledger(party.ledger).names("erased"))
        promised = set(Ledger(party.ledger).names("sealed")) - erased
        verdict.problems += [f"not erased: {name}" for name in sorted(erased) if (party.name, name) in known.records]
        refused, named = _outbox(party, verdict)
        for record_id in sorted(promised):
            verdict.corrections += _is_correction(record_id)
            verdict.chunks += not _is_correction(record_id)
            if known.has_all(party.name, record_id):
                verdict.merged.add(record_id)
            elif record_id in refused:
                verdict.refused.add(record_id)
            elif record_id in named:
                verdict.named_lost.add(record_id)
            else:
                verdict.lost.add(record_id)
    return verdict


def open_home(home: Path) -> Store:
    """A server's database, from any thread of the test."""
    with _OPENING:
        return open_store(home)


def _is_correction(record_id: str) -> bool:
    return record_id.rpartition("-")[2].startswith("c")


@dataclass(slots=True)
class _Server:
    records: set[tuple[str, str]]
    parts: Mapping[tuple[str, str, str], str]

    def has_all(self, device: str, record_id: str) -> bool:
        """Record and every part, byte for byte."""
        if (device, record_id) not in self.records:
            return False
        expected = cargo.hashes(record_id, device)
        return all(self.parts.get((device, record_id, kind)) == digest for kind, digest in expected.items())

    @classmethod
    def read(cls, home: Path, verdict: Verdict) -> _Server:
        store, dataset = open_home(home), Dataset(home / "dataset")
        try:
            with store.reading() as connection:
                found = connection.execute(select(db.records.c.device, db.records.c.record_id)).all()
                parts = connection.execute(part_paths.rows()).all()
                kept_aside = connection.execute(select(db.quarantine)).all()
        finally:
            store.close()
        verdict.problems += [
            f"quarantined: {row.kind} of {row.record_id}: {row.reason}" for row in kept_aside if not _meant(row)
        ]
        with _OPENING:
            found_wrong = check(home, SystemClock()).findings
        verdict.problems += [f"check: {one.what}: {one.name} {one.why}" for one in found_wrong]
        _check_blobs(home / "dataset", parts, verdict)
        _check_rows(dataset, {(row.device, row.record_id) for row in found}, verdict)
        return cls(
            {(row.device, row.record_id) for row in found},
            {(row.device, row.record_id, row.kind): row.sha256 for row in parts},
        )


def _meant(row: Any) -> bool:
    """Refusals that a test provokes."""
    return row.kind == "frame" and "is not a JPEG picture" in row.reason


def _check_blobs(folder: Path, parts: Iterable[Any], verdict: Verdict) -> None:
    paths = Counter[str]()
    for row in parts:
        paths[row.path] += 1
        if paths[row.path] > 1:
            verdict.duplicated.add(f"{row.record_id}.{row.kind}")
        file = folder / row.path
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != row.sha256:
            verdict.problems.append(f"{row.path} of {row.record_id} is missing or altered")


def _check_rows(dataset: Dataset, records: set[tuple[str, str]], verdict: Verdict) -> None:
    ids = Counter(row.row_id for row in dataset.history())
    verdict.duplicated |= {row_id for row_id, count in ids.items() if count > 1}
    samples = Counter(row.sample_id for row in dataset.rows())
    verdict.duplicated |= {sample for sample, count in samples.items() if count > 1}
    known = {record_id for _, record_id in records}
    verdict.problems += [f"row without a record: {sample}" for sample in samples if sample not in known]


def _outbox(party: Party, verdict: Verdict) -> tuple[set[str], set[str]]:
    """(refused, named as lost), after a look at what the outbox still holds."""
    box = Outbox(party.state / "outbox")
    try:
        verdict.problems += [f"{party.name}: sealed folder damaged: {name}" for name in box.recovered.damaged]
        left = box.counts().queued
        if left:
            verdict.problems.append(f"{party.name}: {left} records still wait")
        refused = {failure.record_id for failure in box.failures()}
    finally:
        box.close()
    file = party.state / "outbox" / LOST
    lines = file.read_text().splitlines() if file.exists() else []
    return refused, {json.loads(line)["record_id"] for line in lines}


def model_trouble(state: Path, *, had_one: bool) -> str:
    """What is wrong with the model a device would start with, "" = nothing."""
    folder = current_slot(state)
    if folder is None:
        return "there is no model any more" if had_one else ""
    try:
        bundle.verify(folder)
    except BundleError as error:
        return str(error)
    return ""
