"""What the wearer's wish to have something erased covers: the same on the device and on the server. Pure."""

from __future__ import annotations

from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord, SealedRecord, id_of


def covers(erase: EraseRecord, record: ChunkRecord | CorrectionRecord) -> bool:
    """Whether it is about this record: named, or recorded at that time. Never about one of another device."""
    if record.device != erase.device:
        return False
    return id_of(record) in erase.record_ids or in_time(erase, id_of(record), record)


def of_its_boot(erase: EraseRecord, record_id: str) -> bool:
    """Whether an id may be one of a record of that boot: what is not need not be read."""
    return bool(erase.boot_id) and record_id.startswith(f"{erase.device}-{erase.boot_id}")


def in_time(erase: EraseRecord, record_id: str, record: ChunkRecord | CorrectionRecord | SealedRecord) -> bool:
    """Whether it was recorded at that time, sealed or not."""
    overlaps = record.started_at_s < erase.to_s and record.started_at_s + record.duration_s > erase.from_s
    return overlaps and of_its_boot(erase, record_id)
