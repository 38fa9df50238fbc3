"""Where a deleted moment could still be, beside the dataset: files that were arriving or put aside, nights, names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from server.consent import terms
from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import feature_cache, line_log, wishes
from server.dataset.folder import Dataset
from server.privacy.plans import DeletionKind, DeletionPlan
from shared import atomic, file_lock
from shared.errors import Transient

NIGHT_LOCK = "nightly.lock"
DELETED = "(deleted)"


def delete_files(home: Path, plan: DeletionPlan) -> Counter[str]:
    """Delete what was arriving, and what was put aside; returns kind → files that went. Raises: OSError."""
    gone = Counter[str]()
    for path in _arriving(home, plan):
        path.unlink(missing_ok=True)
        gone["incoming"] += 1
    stems = tuple(Path(path).stem for path in plan.files)
    aside = [*_files_of(home / "quarantine"), *_files_of(home / "importing")]
    for path in aside if stems else ():
        if path.name.startswith(stems):
            path.unlink(missing_ok=True)
            gone[path.parent.name] += 1
    for folder in (home / "quarantine", *(home / "incoming" / device for device in plan.records)):
        if folder.is_dir():
            atomic.fsync_dir(folder)
    return gone


def _arriving(home: Path, plan: DeletionPlan) -> Iterator[Path]:
    """Files of these records that are not merged: <record>.<kind>.<data|ranges|opened>."""
    for device, names in plan.records.items():
        wanted = frozenset(names)
        for path in _files_of(home / "incoming" / device):
            if path.name.split(".")[0] in wanted:
                yield path


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def forget_nights(home: Path, plan: DeletionPlan) -> str:
    """Delete what cut-off nights had computed, and take ids and names out of the reports of all nights.

    Returns why that was left, "" = it was not. Raises: OSError.
    """
    nights = home / "nights"
    if not nights.is_dir():
        return ""
    try:
        busy = Transient("A night is under way.", hint="Wait until it has ended.")
        with file_lock.locked(home / NIGHT_LOCK, busy=busy):
            for folder in [path for path in nights.iterdir() if path.is_dir() and path.name != "tensorboard"]:
                atomic.remove_tree(folder)
            for report in nights.glob("*.json"):
                _redact_file(report, plan)
    except Transient:
        return "the work of the night that is under way: it is thrown away when that night ends"
    return ""


def _redact_file(report: Path, plan: DeletionPlan) -> None:
    text = report.read_text(encoding="utf-8")
    words = _words(plan)
    if words and any(word in text for word in words):
        atomic.write_json(report, _redacted(json.loads(text), re.compile("|".join(map(re.escape, words)))))


def _redacted(value: Any, wanted: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return wanted.sub(DELETED, value)
    if isinstance(value, Mapping):
        return {wanted.sub(DELETED, str(name)): _redacted(inner, wanted) for name, inner in value.items()}
    return [_redacted(inner, wanted) for inner in value] if isinstance(value, list) else value


def _words(plan: DeletionPlan) -> list[str]:
    names = [plan.name] if plan.what in (DeletionKind.WEARER, DeletionKind.WALK) else []
    return sorted((*plan.moments, *names), key=len, reverse=True)


def forget_names(connection: Connection, plan: DeletionPlan) -> None:
    """A wearer's name in the log of the models' roles (their adapters) becomes its hash."""
    if plan.what is not DeletionKind.WEARER:
        return
    name, log = f"wearer/{plan.name}", db.alias_log
    connection.execute(update(log).where(log.c.name == name).values(name=terms.hashed(plan.name), why=DELETED))


def still_there(dataset: Dataset, plan: DeletionPlan) -> frozenset[str]:
    """Files of the plan that other moments have, too."""
    return frozenset(path for path in plan.files if dataset.blobs.size(path) is not None)


def found(store: Store, dataset: Dataset, plan: DeletionPlan) -> list[str]:
    """Places of the database and of the logs where some of it still is; none where the deletion did its work."""
    with store.reading() as connection:
        places = [*_in_tables(connection, plan), *_shards(store.home, plan)]
    names = {*plan.moments, *(name for names in plan.records.values() for name in names)}
    for log in (dataset.log, dataset.records):
        for number, (_, line) in enumerate(line_log.lines(log), start=1):
            if _speaks(line, names):
                places.append(f"{log.name}, line {number}")
    return places


def _speaks(line: bytes, names: set[str]) -> bool:
    """Whether a line of a log says more of one of these than that it is gone."""
    value = json.loads(line)
    if value.get("erased") or value.get("what") in ("erased", "erasure"):
        return False
    return bool({value.get("sample_id"), value.get("record_id"), value.get("chunk_id")} & names)


def _in_tables(connection: Connection, plan: DeletionPlan) -> Iterator[str]:
    for some in wishes.in_pieces(plan.moments):
        for table, column in ((db.samples, db.samples.c.sample_id), (tables.reviews, tables.reviews.c.sample_id)):
            if connection.execute(select(column).where(column.in_(some))).first():
                yield table.name
        rows = select(db.dataset_rows.c.body).where(db.dataset_rows.c.sample_id.in_(some))
        if not all(body.get("erased") for body in connection.execute(rows).scalars()):
            yield "dataset_rows"
    for device, names in plan.records.items():
        for some in wishes.in_pieces(names):
            for table in (db.records, db.parts, db.quarantine):
                own = table.c.device == device, table.c.record_id.in_(some)
                if connection.execute(select(table.c.record_id).where(*own)).first():
                    yield table.name


def _shards(home: Path, plan: DeletionPlan) -> Iterator[str]:
    """Kept features of its pictures."""
    stems = {Path(path).stem.encode() for path in plan.files}
    for file in _files_of(home / feature_cache.FOLDER):
        with open(file, "rb") as opened:
            head = opened.read(4 * 1024 * 1024)
        if any(stem in head for stem in stems):
            yield file.name
