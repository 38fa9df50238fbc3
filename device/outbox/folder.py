"""What a sealed folder of the outbox holds, and what of it is to be sent. See device.outbox.outbox for the promises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from device.outbox.index import ItemRow, RecordRow
from shared import atomic, messages, strict, topics
from shared.errors import MessageError
from shared.messages import ChunkRecord, CorrectionRecord, Envelope, EraseRecord, HelpRecord, Part, Record, SealedRecord

SIDECAR = "record.json"
FAILED = "failed"
REASON = "reason.json"
REQUESTS = ".retry"
LOST = "lost.jsonl"
INDEX = "index.sqlite"
RECORD_KIND = "record"
FILE_NAMES = {"frame": "frame.jpg", "audio": "audio.wav", "clip": "clip.mp4", "correction_audio": "correction.wav"}
_KINDS: Mapping[str, type[Record]] = {
    "chunk": ChunkRecord, "correction": CorrectionRecord, messages.ERASE: EraseRecord, messages.HELP: HelpRecord,
}  # fmt: skip
BULK_KINDS = frozenset({"clip"})


def transfer_name(record_id: str, kind: str) -> str:
    """Name of the transfer of a record's payload file."""
    return f"{record_id}.{kind}"


def wire_name(record_id: str, kind: str) -> str:
    """Name of something of a record: its own id, or that of a file's transfer."""
    return record_id if kind == RECORD_KIND else transfer_name(record_id, kind)


def folders(parent: Path) -> list[Path]:
    """Sealed folders in `parent`, oldest first. Anything else there (lost+found, failed/) is not ours to judge."""
    sealed = [e for e in parent.iterdir() if e.is_dir() and e.name != FAILED and topics.NAME.match(e.name)]
    return sorted(sealed, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))


def requests(parent: Path) -> list[str]:
    """Records that a person wants to be sent again."""
    try:
        names = sorted(entry.name for entry in (parent / REQUESTS).iterdir())
    except FileNotFoundError:
        return []
    return [name for name in names if topics.NAME.match(name) and not name.endswith(atomic.TEMP_SUFFIX)]


def parts(payloads: Mapping[str, bytes]) -> tuple[Part, ...]:
    """Name, size and hash of each payload. Raises: MessageError for an unknown kind."""
    unknown = sorted(set(payloads) - set(FILE_NAMES))
    if unknown:
        raise MessageError(f"{', '.join(unknown)}: not a part kind; known are {', '.join(FILE_NAMES)}.")
    return tuple(
        Part(kind, name, len(payloads[kind]), hashlib.sha256(payloads[kind]).hexdigest())
        for kind, name in FILE_NAMES.items()
        if kind in payloads
    )


def check_names(record_id: str, payloads: Mapping[str, bytes]) -> None:
    """A record id is a folder name, and with ".<kind>" a transfer's: so it is plain and has no dot."""
    for name in (record_id, *(transfer_name(record_id, kind) for kind in payloads)):
        if not topics.NAME.match(name):
            raise MessageError(f"{name!r} cannot be a name on the wire (letters, digits, '-', '_'; at most 96).")
    if "." in record_id or record_id == FAILED:
        raise MessageError(f"{record_id!r} cannot be a record's id: no dots, and not {FAILED!r}.")


def read_sidecar(record_id: str, sidecar: bytes) -> tuple[str, Record | SealedRecord]:
    """(kind, record) of a record.json. Raises: MessageError where it is not the sidecar of `record_id`."""
    envelope = messages.decode(Envelope, sidecar)
    record: Record | SealedRecord
    if envelope.kind == messages.SEALED:
        record = strict.read(SealedRecord, envelope.body)
        envelope, own_id = replace(envelope, kind=record.of), envelope.record_id
    elif envelope.kind in _KINDS:
        record = strict.read(_KINDS[envelope.kind], envelope.body)
        own_id = messages.id_of(record)
    else:
        raise MessageError(f"{envelope.kind!r} is not a kind of record that is sealed.")
    if not envelope.record_id == own_id == record_id:
        raise MessageError(f"The sidecar in {record_id} is about {envelope.record_id} or {own_id}.")
    return envelope.kind, record


def rows(record_id: str, sidecar: bytes) -> tuple[RecordRow, list[ItemRow]]:
    """What the index keeps of a sealed folder. Raises: MessageError."""
    kind, record = read_sidecar(record_id, sidecar)
    parts = parts_of(record)
    if len({part.kind for part in parts}) != len(parts):
        raise MessageError(f"The sidecar of {record_id} names two parts of one kind.")
    items = [ItemRow(record_id, RECORD_KIND, SIDECAR, len(sidecar), "", bulk=False, rank=0)]
    for rank, part in enumerate(parts, start=1):
        bulk = part.kind in BULK_KINDS
        items.append(ItemRow(record_id, part.kind, part.name, part.size_bytes, part.sha256, bulk=bulk, rank=rank))
    size = sum(item.size_bytes for item in items)
    return RecordRow(record_id, kind, importance(record), size), items


def parts_of(record: Record | SealedRecord) -> tuple[Part, ...]:
    """The payload files that a record names."""
    return () if isinstance(record, EraseRecord | HelpRecord) else record.parts


def is_same(kept: bytes, envelope: bytes) -> bool:
    """Whether a record.json holds this envelope, sealed or not. Raises: MessageError."""
    found = messages.decode(Envelope, kept)
    if found.kind != messages.SEALED:
        return kept == envelope
    return strict.read(SealedRecord, found.body).digest == hashlib.sha256(envelope).hexdigest()


def importance(record: Record | SealedRecord) -> int:
    """-1 calls for help, 0 corrections and erasures, 1 what the wearer flagged, 2 the rest: the order of sending, and
    backwards that of giving up."""
    if isinstance(record, HelpRecord):
        return -1
    if isinstance(record, SealedRecord):
        return record.importance
    if isinstance(record, CorrectionRecord | EraseRecord):
        return 0
    return 1 if {"wearer", "correction"} & set(record.flags) else 2


def read_whole(folder: Path) -> tuple[RecordRow, list[ItemRow]]:
    """`rows` of a folder. Raises: OSError, MessageError where a file is missing or was cut short."""
    record, items = rows(folder.name, (folder / SIDECAR).read_bytes())
    for item in items:
        size = (folder / item.file).stat().st_size
        if size != item.size_bytes:
            raise MessageError(f"{item.file} has {size} bytes, {item.size_bytes} were sealed")
    return record, items


def summary(reasons: Mapping[str, str]) -> str:
    """Why parts of a record were refused, on one line."""
    return "; ".join(f"{kind}: {reason}" for kind, reason in sorted(reasons.items()))


def read_reason(folder: Path) -> str:
    """The same, of a folder in failed/; where it cannot be read, that."""
    try:
        return summary(json.loads((folder / REASON).read_bytes())["reasons"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "the reason cannot be read"
