"""What lies in an outbox, for a person: read beside a running agent, which it does not disturb.

Safe because sealed folders never change, the index is SQLite in WAL mode (readers and its one writer do not wait for
each other), and nothing here writes into the outbox but `ask_retry`, which leaves a note that the agent takes up.
A record may be sent and deleted while it is being looked at: then it is reported as gone, never as half a record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.outbox import folder as outbox_folder
from device.outbox.folder import FAILED, INDEX, LOST, REASON, REQUESTS, SIDECAR
from device.outbox.index import Damaged, Index, RecordRow, translated
from device.outbox.types import Counts
from shared import atomic, topics
from shared.errors import MessageError
from shared.messages import SealedRecord, to_dict

STATES = {"queued": "waiting", "deletable": "merged", "failed": "refused", "dropped": "lost"}
"""State in the index → as a person reads it."""


@dataclass(frozen=True, slots=True)
class RecordLine:
    record_id: str
    kind: str
    """chunk, correction, or "" where its sidecar cannot be read."""
    state: str
    """waiting, merged (about to be deleted), refused, or lost."""
    size_bytes: int = 0
    merged_bytes: int = 0
    """What the server has of it already."""
    reason: str = ""


def peek(folder: Path) -> Counts:
    """How full an outbox is, without opening it for work: an agent may be running on it. Raises: OSError."""
    with _reading(folder) as index:
        return Counts() if index is None else counts(index)


def counts(index: Index) -> Counts:
    """What the index says of how full it is; it does not know what is being sent at this moment."""
    sums = index.sums()
    return Counts(
        queued=sums["queued"][0],
        queued_bytes=sums["items to send"][1],
        merged=sums["deletable"][0] + index.total("merged"),
        failed=sums["failed"][0],
        failed_erasures=index.failed("erase") if sums["failed"][0] else 0,
        lost=sums["dropped"][0] + index.total("lost"),
        disk_bytes=sum(size for name, (_, size) in sums.items() if name != "items to send"),
    )


def waiting(folder: Path) -> list[RecordLine]:
    """Every record that lies here, in the order in which it was sealed. Raises: OSError."""
    with _reading(folder) as index:
        if index is None:
            return []
        return [_line(index, row) for row in index.records()]


def _line(index: Index, row: RecordRow) -> RecordLine:
    merged = sum(item.size_bytes for item in index.items(row.record_id) if item.state == "merged")
    return RecordLine(row.record_id, row.kind, STATES[row.state], row.size_bytes, merged, row.reason)


def lost(folder: Path) -> list[RecordLine]:
    """What was given up, oldest first, each name once. Raises: OSError."""
    try:
        lines = (folder / LOST).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    by_id: dict[str, RecordLine] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            by_id.setdefault(entry["record_id"], RecordLine(entry["record_id"], "", "lost", reason=entry["why"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # the torn last line of a power cut
    return list(by_id.values())


def show(folder: Path, record_id: str) -> dict[str, Any]:
    """Everything about one record. Raises: MessageError where there is none, OSError."""
    where = find(folder, record_id)
    with _reading(folder) as index:
        row = None if index is None else index.record(record_id)
        items = [] if index is None else index.items(record_id)
    state = STATES[row.state] if row is not None else "refused" if where.parent.name == FAILED else "waiting"
    reason = outbox_folder.read_reason(where) if (where / REASON).exists() else ""
    sidecar = (where / SIDECAR).read_bytes()
    try:
        kind, record = outbox_folder.read_sidecar(record_id, sidecar)
        body = to_dict(record)
        if isinstance(record, SealedRecord):
            body["sealed"] = f"{len(record.sealed)} characters that only the server can read"
    except MessageError as error:
        kind, body = "", {"damaged": str(error)}
    return {
        "record_id": record_id,
        "kind": kind,
        "state": state,
        "reason": reason,
        "folder": str(where),
        "parts": [{"kind": item.kind, "size_bytes": item.size_bytes, "state": item.state} for item in items],
        "record": body,
    }


def find(folder: Path, record_id: str) -> Path:
    """Where a record lies. Raises: MessageError."""
    if topics.NAME.match(record_id):
        for where in (folder / record_id, folder / FAILED / record_id):
            if where.is_dir():
                return where
    raise MessageError(
        f"{record_id!r} is not in the outbox {folder}.", hint="See `waycue-device outbox list`, also with --lost."
    )


def export(folder: Path, record_id: str, target: Path) -> int:
    """Copy a whole record to <target>/<record id>, verified. Returns its bytes; repeating it does no harm.

    raises: MessageError where it is not there or not whole, or other files stand in its place; OSError
    """
    where = find(folder, record_id)
    try:
        files = _verified(where)
    except FileNotFoundError as error:
        raise MessageError(f"{record_id} is not there as a whole: {Path(error.filename).name} is missing.") from None
    own = target / record_id
    if own.exists():
        if {file.name: file.read_bytes() for file in own.iterdir()} != files:
            raise MessageError(f"{own} is there already and holds something else.", hint="Choose an empty folder.")
    else:
        atomic.write_folder(own, files)
    return sum(map(len, files.values()))


def _verified(where: Path) -> dict[str, bytes]:
    files = {SIDECAR: (where / SIDECAR).read_bytes()}
    _, record = outbox_folder.read_sidecar(where.name, files[SIDECAR])
    for part in outbox_folder.parts_of(record):
        data = (where / part.name).read_bytes()
        if len(data) != part.size_bytes or hashlib.sha256(data).hexdigest() != part.sha256:
            raise MessageError(f"{where.name}: {part.name} is not what was sealed: the card has errors.")
        files[part.name] = data
    if (where / REASON).exists():
        files[REASON] = (where / REASON).read_bytes()
    return files


def ask_retry(folder: Path, record_id: str) -> Path:
    """Leave a note for the agent that has this outbox open; it is gone once the agent has done it. Raises: OSError,
    MessageError where the record is not among the refused ones."""
    if not topics.NAME.match(record_id) or not (folder / FAILED / record_id).is_dir():
        raise MessageError(f"{record_id!r} is not among the refused records.", hint="See `waycue-device outbox list`.")
    note = folder / REQUESTS / record_id
    atomic.write_bytes(note, b"")
    return note


@contextmanager
def _reading(folder: Path) -> Iterator[Index | None]:
    path = folder / INDEX
    if not path.exists():
        yield None
        return
    try:
        with closing(Index(path)) as index, translated(path):
            yield index
    except Damaged as error:
        raise OSError(
            f"The outbox index {path} is damaged ({error}); the agent builds it again when it starts."
        ) from None
