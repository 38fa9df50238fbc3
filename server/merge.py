"""What devices send becomes the dataset: idempotently, in any order, and durably before anything is acknowledged.

    verify → fsync → atomic rename into the content-addressed folder → one transaction → line in metadata.jsonl, synced

The key is (device, record id, part kind) and the SHA-256:

    same key, same hash     merged again (new = false): the acknowledgement was lost
    same key, other hash    quarantined and refused: somebody reused an id, or a disk lies
    a record of another device's chunk, a part that its record names differently: the same

Parts may come before their record and corrections before their chunk. A sample exists once its record, frame and audio
are there; the clip, a correction and its transcript each supersede its row. `server.compose` decides
that row, and is pure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from server import ledger
from server import store as db
from server.compose import KnownCorrection, compose
from server.dataset import Dataset
from server.store import Store
from shared import atomic, messages, topics
from shared.clock import Clock
from shared.errors import DatasetError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord, Part, Status

_log = logging.getLogger(__name__)
QUARANTINE_MAX_BYTES = 256 * 1024 * 1024  # what a device that reuses ids may cost us; beyond that only the fact is kept
_CONTENT = {
    "frame": "a JPEG picture", "audio": "a WAV sound", "correction_audio": "a WAV sound", "clip": "an MP4 video",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a record or a part; only `merged` lets a device delete its copy."""

    state: Literal["merged", "refused"]
    reason: str = ""
    new: bool = True


class Merge:
    """Takes records and parts in. Safe from any thread; construct it once the store is open.

    on_correction: called after a correction's sound is safely stored, from the caller's thread; it must return at once
    (the server wakes its listener with it).
    """

    def __init__(
        self, store: Store, dataset: Dataset, clock: Clock, *, on_correction: Callable[[], None] | None = None
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._clock = clock
        self._on_correction = on_correction
        dataset.create()

    def put_record(self, device: str, kind: str, record: ChunkRecord | CorrectionRecord) -> Merged:
        """Merge a sidecar. kind: chunk | correction. Durable when it returns. Raises: OSError, DatasetError."""
        if isinstance(record, ChunkRecord):
            expected, record_id = "chunk", record.chunk_id
        else:
            expected, record_id = "correction", record.correction_id
        if kind != expected:
            return Merged("refused", f"a {expected} record was sent as {kind!r:.30}")
        if record.device != device:
            return Merged("refused", f"the record names the device {record.device}, the topic {device}")
        body = messages.to_dict(record)
        with self._store.writing() as connection:
            outcome = self._insert_record(connection, record_id, expected, record.chunk_id, device=device, body=body)
            if outcome.state == "merged" and outcome.new:
                if expected == "chunk" and isinstance(record, ChunkRecord):
                    ledger.split_of(connection, record.walk_id, now_s=self._clock.utc_s())
                self._update_sample(connection, device, record.chunk_id)
        ledger.flush(self._store, self._dataset)
        return outcome

    def put_part(self, device: str, record_id: str, part: Part, path: Path) -> Merged:
        """Merge a payload file, synced and checked against `part.sha256` by the caller; it is moved, not copied.

        Durable when it returns. Raises: OSError, DatasetError.
        """
        if not topics.NAME.match(record_id) or part.kind not in _CONTENT:
            return Merged("refused", "not a part of a chunk or a correction")
        with self._store.reading() as connection:
            reason = _objection(connection, device, record_id, part) or _wrong_content(part.kind, path)
        if reason:
            return self._refuse_part(device, record_id, part, path, reason=reason)
        relative = self._dataset.adopt(part.kind, part.sha256, source=path)
        with self._store.writing() as connection:
            reason = _objection(connection, device, record_id, part)
            new = not reason and self._insert_part(connection, device, record_id, part, relative=relative)
            if new:
                self._update_sample(connection, device, _chunk_of(connection, device, record_id))
        if reason:  # another thread brought the same key with other bytes meanwhile
            return self._refuse_part(device, record_id, part, path, reason=reason)
        ledger.flush(self._store, self._dataset)
        if part.kind == "correction_audio" and self._on_correction:
            self._on_correction()
        return Merged("merged", new=new)

    def find_part(self, device: str, record_id: str, part: Part) -> Merged | None:
        """Merged (new = false) where these very bytes were merged before, None where they are needed: also where the
        key is there with other bytes, which then come, and go to quarantine."""
        table = db.parts
        key = (table.c.device == device, table.c.record_id == record_id, table.c.kind == part.kind)
        with self._store.reading() as connection:
            known = connection.execute(select(table.c.sha256).where(*key)).scalar()
        return Merged("merged", new=False) if known == part.sha256 else None

    def put_telemetry(self, device: str, record_id: str, body: Mapping[str, Any]) -> Merged:
        """Keep a telemetry event, once."""
        table = db.telemetry
        key = (table.c.device == device, table.c.record_id == record_id)
        with self._store.writing() as connection:
            new = connection.execute(select(table.c.device).where(*key)).first() is None
            if new:
                now_s = self._clock.utc_s()
                row = {"device": device, "record_id": record_id, "received_at": now_s, "body": dict(body)}
                connection.execute(insert(table).values(**row))
        return Merged("merged", new=new)

    def put_status(self, device: str, status: Status) -> None:
        """Remember what a device last said about itself."""
        table = db.devices
        values = {"seen_at": self._clock.utc_s(), "online": status.online, "status": messages.to_dict(status)}
        with self._store.writing() as connection:
            if connection.execute(update(table).where(table.c.device == device).values(**values)).rowcount == 0:
                connection.execute(insert(table).values(device=device, **values))

    def put_transcript(
        self, device: str, correction_id: str, *, transcript: str, confidence: float, proposal: str
    ) -> None:
        """Write down what was heard in a correction, and the wording that it proposes ("" = not understood)."""
        table = db.records
        values = {"transcript": transcript, "heard_confidence": confidence, "proposal": proposal}
        with self._store.writing() as connection:
            connection.execute(
                update(table).where(table.c.device == device, table.c.record_id == correction_id).values(**values)
            )
            self._update_sample(connection, device, _chunk_of(connection, device, correction_id))
        ledger.flush(self._store, self._dataset)

    def unheard(self) -> list[tuple[str, str, Path]]:
        """Corrections nobody has listened to, oldest first: (device, correction id, WAV file)."""
        r, p = db.records, db.parts
        join = (p.c.device == r.c.device) & (p.c.record_id == r.c.record_id) & (p.c.kind == "correction_audio")
        query = select(r.c.device, r.c.record_id, p.c.path).join(p, join).where(r.c.transcript.is_(None))
        with self._store.reading() as connection:
            found = connection.execute(query.order_by(r.c.received_at)).all()
        return [(device, record_id, self._dataset.folder / path) for device, record_id, path in found]

    def _insert_record(
        self, connection: Connection, record_id: str, kind: str, chunk_id: str, *, device: str, body: dict[str, Any]
    ) -> Merged:
        table = db.records
        same_id = select(table.c.device, table.c.body).where(table.c.record_id == record_id)
        for owner, known in connection.execute(same_id).all():
            if owner == device and known == body:
                return Merged("merged", new=False)
            if owner == device or kind == "chunk":  # a chunk id names the sample, so it must be unique over devices
                reason = "this id was already used for another record"
                self._quarantine(connection, device, record_id, "record", sha256="", path="", reason=reason)
                return Merged("refused", reason)
        clash = _contradicting_part(connection, device, record_id, body["parts"])
        if clash:
            self._quarantine(connection, device, record_id, "record", sha256="", path="", reason=clash)
            return Merged("refused", clash)
        connection.execute(
            insert(table).values(
                device=device, record_id=record_id, kind=kind, chunk_id=chunk_id, body=body,
                received_at=self._clock.utc_s(),
            )
        )  # fmt: skip
        return Merged("merged")

    def _insert_part(self, connection: Connection, device: str, record_id: str, part: Part, *, relative: str) -> bool:
        table = db.parts
        key = (table.c.device == device, table.c.record_id == record_id, table.c.kind == part.kind)
        if connection.execute(select(table.c.sha256).where(*key)).first() is not None:
            return False
        connection.execute(
            insert(table).values(
                device=device, record_id=record_id, kind=part.kind, sha256=part.sha256, size_bytes=part.size_bytes,
                path=relative, received_at=self._clock.utc_s(),
            )
        )  # fmt: skip
        return True

    def _update_sample(self, connection: Connection, device: str, chunk_id: str | None) -> None:
        record = _chunk_record(connection, device, chunk_id) if chunk_id else None
        if record is None:
            return
        now_s = self._clock.utc_s()
        split = ledger.split_of(connection, record.walk_id, now_s=now_s)
        current = ledger.current(connection, record.chunk_id)
        paths = _paths(connection, device, record.chunk_id)
        corrections = _corrections(connection, device, record.chunk_id)
        row = compose(record, paths, corrections, current=current, split="held_out" if split == "held_out" else "train")
        if row is not None and row != current:
            ledger.insert_row(connection, row, now_s=now_s)

    def _refuse_part(self, device: str, record_id: str, part: Part, path: Path, *, reason: str) -> Merged:
        kept = self._set_aside(device, record_id, part, path)
        with self._store.writing() as connection:
            self._quarantine(connection, device, record_id, part.kind, sha256=part.sha256, path=kept, reason=reason)
        return Merged("refused", reason)

    def _set_aside(self, device: str, record_id: str, part: Part, path: Path) -> str:
        folder = self._store.home / "quarantine"
        atomic.make_dirs(folder)
        if not path.exists():
            return ""
        used = sum(entry.stat().st_size for entry in folder.iterdir())
        if used + path.stat().st_size > QUARANTINE_MAX_BYTES:
            path.unlink()
            return ""
        name = f"{device}.{record_id}.{part.kind}.{part.sha256[:12]}"
        atomic.move(path, folder / name)
        return name

    def _quarantine(
        self, connection: Connection, device: str, record_id: str, kind: str, *, sha256: str, path: str, reason: str
    ) -> None:
        _log.warning("Quarantined %s of %s from %s: %s.", kind, record_id, device, reason)
        table = db.quarantine
        key = {"device": device, "record_id": record_id, "kind": kind, "sha256": sha256, "reason": reason}
        again = select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
        if connection.execute(again).first() is None:
            connection.execute(insert(table).values(at=self._clock.utc_s(), path=path, **key))


def _objection(connection: Connection, device: str, record_id: str, part: Part) -> str:
    """Why a part may not be merged, "" = it may."""
    table = db.parts
    key = (table.c.device == device, table.c.record_id == record_id, table.c.kind == part.kind)
    known = connection.execute(select(table.c.sha256).where(*key)).scalar()
    if known is not None and known != part.sha256:
        return f"the {part.kind} of this record was already merged with other bytes"
    body = connection.execute(
        select(db.records.c.body).where(db.records.c.device == device, db.records.c.record_id == record_id)
    ).scalar()
    if body is None:
        return ""
    named = {entry["kind"]: entry["sha256"] for entry in body["parts"]}
    if part.kind not in named:
        return f"its record names no {part.kind}"
    return "" if named[part.kind] == part.sha256 else f"its record names a {part.kind} with other bytes"


def _contradicting_part(connection: Connection, device: str, record_id: str, named: list[dict[str, Any]]) -> str:
    table = db.parts
    found = connection.execute(
        select(table.c.kind, table.c.sha256).where(table.c.device == device, table.c.record_id == record_id)
    )
    hashes = {entry["kind"]: entry["sha256"] for entry in named}
    for kind, sha256 in found:
        if hashes.get(kind) != sha256:
            return f"a {kind} with other bytes than it names was merged before it"
    return ""


def _wrong_content(kind: str, path: Path) -> str:
    if not path.exists():  # moved by an earlier try that was cut off; adopt() looks for it in its place
        return ""
    with open(path, "rb") as file:
        head = file.read(12)
    looks_right = {
        "frame": head[:3] == b"\xff\xd8\xff",
        "audio": head[:4] == b"RIFF" and head[8:] == b"WAVE",
        "correction_audio": head[:4] == b"RIFF" and head[8:] == b"WAVE",
        "clip": head[4:8] == b"ftyp",
    }[kind]
    return "" if looks_right else f"the {kind} is not {_CONTENT[kind]}"


def _chunk_of(connection: Connection, device: str, record_id: str) -> str | None:
    table = db.records
    query = select(table.c.chunk_id).where(table.c.device == device, table.c.record_id == record_id)
    found = connection.execute(query).scalar()
    return None if found is None else str(found)


def _chunk_record(connection: Connection, device: str, chunk_id: str) -> ChunkRecord | None:
    table = db.records
    query = select(table.c.body).where(table.c.device == device, table.c.record_id == chunk_id, table.c.kind == "chunk")
    body = connection.execute(query).scalar()
    return None if body is None else _read(ChunkRecord, body)


def _paths(connection: Connection, device: str, record_id: str) -> dict[str, str]:
    table = db.parts
    query = select(table.c.kind, table.c.path).where(table.c.device == device, table.c.record_id == record_id)
    return dict(connection.execute(query).all())


def _corrections(connection: Connection, device: str, chunk_id: str) -> list[KnownCorrection]:
    table = db.records
    query = select(table).where(table.c.device == device, table.c.chunk_id == chunk_id, table.c.kind == "correction")
    return [
        KnownCorrection(
            record=_read(CorrectionRecord, found.body),
            audio_path=_paths(connection, device, found.record_id).get("correction_audio", ""),
            transcript=found.transcript,
            confidence=found.heard_confidence or 0.0,
            proposal=found.proposal or "",
        )
        for found in connection.execute(query).all()
    ]


def _read(kind: type[Any], body: Any) -> Any:
    try:
        return messages.from_dict(kind, body)
    except MessageError as error:
        raise DatasetError(f"A {kind.__name__} in the database can not be read ({error}).") from None
