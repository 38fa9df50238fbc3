"""What the database knows about the records of one batch, read in a handful of queries, and what the batch adds to it.

A batch of a hundred messages would otherwise ask the database a thousand questions. Pure but for `load`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, literal_column, or_, select

from server.database import store as db
from server.dataset import choices, part_paths, sample_row
from server.dataset.compose import KnownCorrection
from server.dataset.sample_row import SampleRow
from shared import strict
from shared.errors import DatasetError, MessageError
from shared.messages import ChunkRecord, CorrectionRecord

Key = tuple[str, str]
"""(device, record id)"""


@dataclass(slots=True)
class BatchFacts:
    """The rows about some records, and about the chunks that they belong to."""

    records: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """Rows of the table `records`."""
    owners: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Record id → devices that used it."""
    parts: defaultdict[Key, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    """Part kind → row of the table `parts`."""
    samples: dict[str, SampleRow] = field(default_factory=dict)
    """Chunk id → newest row."""
    corrections: defaultdict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))
    """(device, chunk id) → ids of the corrections about it."""
    read: dict[Key, ChunkRecord | CorrectionRecord] = field(default_factory=dict)
    """Records that were read already."""

    def add_record(self, row: dict[str, Any]) -> None:
        """A row of `records`."""
        key = (row["device"], row["record_id"])
        if key in self.records:
            return
        self.records[key] = row
        self.owners[row["record_id"]].add(row["device"])
        if row["kind"] == "correction":
            self.corrections[row["device"], row["chunk_id"]].append(row["record_id"])

    def add_part(self, row: dict[str, Any]) -> None:
        """A row of `parts`."""
        self.parts[row["device"], row["record_id"]][row["kind"]] = row

    def chunk_of(self, key: Key) -> str | None:
        """The chunk that a record is, or is about; None while the record is not here."""
        row = self.records.get(key)
        return None if row is None else str(row["chunk_id"])

    def chunk(self, key: Key) -> ChunkRecord | None:
        """A chunk's record. Raises: DatasetError."""
        row = self.records.get(key)
        if row is None or row["kind"] != "chunk":
            return None
        record = self._record(key, ChunkRecord, row)
        assert isinstance(record, ChunkRecord)
        return record

    def paths(self, key: Key) -> dict[str, str]:
        """Part kind → path in the dataset."""
        return {kind: row["path"] for kind, row in self.parts[key].items()}

    def heard(self, key: Key) -> list[KnownCorrection]:
        """The corrections about a chunk. Raises: DatasetError."""
        return [self._correction((key[0], record_id)) for record_id in self.corrections[key]]

    def _correction(self, key: Key) -> KnownCorrection:
        row = self.records[key]
        record = self._record(key, CorrectionRecord, row)
        assert isinstance(record, CorrectionRecord)
        return KnownCorrection(
            record=record,
            audio_path=self.paths(key).get("correction_audio", ""),
            transcript=row["transcript"],
            confidence=row["heard_confidence"] or 0.0,
            proposal=row["proposal"] or "",
            choices=choices.from_list(row.get("choices") or []),
        )

    def _record(
        self, key: Key, kind: type[ChunkRecord | CorrectionRecord], row: dict[str, Any]
    ) -> ChunkRecord | CorrectionRecord:
        if key not in self.read:
            try:
                self.read[key] = strict.read(kind, row["body"])
            except MessageError as error:
                raise DatasetError(
                    f"The {kind.__name__} {key[1]} in the database cannot be read ({error}).",
                    hint="Look with: waycue-server check",
                ) from None
        return self.read[key]


def of_chunks(ids: BindParameter[Any] | Collection[str]) -> ColumnElement[bool]:
    """That a record is one of these chunks, or was said about one of them. Pure."""
    own, names = db.records.c, list(ids) if isinstance(ids, Collection) else ids
    is_chunk, is_correction = (own.kind == literal_column(f"'{kind}'") for kind in ("chunk", "correction"))
    return or_(is_chunk & own.record_id.in_(names), is_correction & own.chunk_id.in_(names))


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
# Built once: to build them costs as much as to run them.
_BY_ID = select(db.records).where(db.records.c.record_id.in_(_IDS))
_BY_CHUNK = select(db.records).where(of_chunks(_IDS))
_PARTS = part_paths.rows().where(
    db.parts.c.device.in_(bindparam("devices", expanding=True)), db.parts.c.record_id.in_(_IDS)
)
_SAMPLES = select(db.samples.c.sample_id, db.samples.c.body).where(db.samples.c.sample_id.in_(_IDS))


def load(connection: Connection, keys: Collection[Key], chunk_ids: Collection[str]) -> BatchFacts:
    """Everything about these records and chunks, and about the chunks that the records turn out to belong to."""
    known = BatchFacts()
    for row in connection.execute(_BY_ID, {"ids": [record_id for _, record_id in keys]}).mappings():
        known.add_record(dict(row))
    chunks = {*chunk_ids, *(row["chunk_id"] for row in known.records.values())}
    for row in connection.execute(_BY_CHUNK, {"ids": list(chunks)}).mappings():
        known.add_record(dict(row))
    everyone = {*keys, *known.records}
    own = {"devices": list({key[0] for key in everyone}), "ids": list({key[1] for key in everyone})}
    for row in connection.execute(_PARTS, own).mappings():
        known.add_part(dict(row))
    for sample_id, body in connection.execute(_SAMPLES, {"ids": list(chunks)}):
        known.samples[sample_id] = sample_row.from_dict(body, where=f"sample {sample_id}")
    return known
