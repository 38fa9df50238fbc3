"""Records and payloads as the agent seals them, small but with the right first bytes, for the outbox and link tests."""

from __future__ import annotations

import random

from shared.messages import ChunkRecord, CorrectionRecord

DEVICE = "pi-1"
BOOT = "b0071"


def chunk(number: int, *, flags: tuple[str, ...] = ("wearer",), device: str = DEVICE) -> ChunkRecord:
    return ChunkRecord(
        chunk_id=f"{device}-{BOOT}-{number:06d}",
        device=device,
        boot_id=BOOT,
        sequence=number,
        walk_id=f"{device}-walk",
        started_at_s=2.0 * number,
        duration_s=2.0,
        captured_at_utc=1_700_000_000.0 + 2 * number,
        clock_synced=True,
        flags=flags,
        raw_output="Stop, curb ahead.",
        spoken="Stop, curb ahead.",
        confidence=0.8,
        model_version="m1",
        parts=(),
        width_px=640,
        height_px=480,
    )


def correction(number: int, *, device: str = DEVICE) -> CorrectionRecord:
    return CorrectionRecord(
        correction_id=f"{device}-{BOOT}-c{number:05d}",
        device=device,
        chunk_id=f"{device}-{BOOT}-{number:06d}",
        wearer="",
        started_at_s=2.0 * number,
        duration_s=1.5,
        captured_at_utc=1_700_000_000.0,
        spoken="",
        model_version="m1",
        parts=(),
    )


def jpeg(number: int, size: int = 3000) -> bytes:
    return b"\xff\xd8\xff\xe0" + random.Random(number).randbytes(size - 4)


def wav(number: int, size: int = 5000) -> bytes:
    return b"RIFF" + (size - 8).to_bytes(4, "little") + b"WAVE" + random.Random(-number - 1).randbytes(size - 12)


def clip(number: int, size: int = 9000) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + random.Random(10_000 + number).randbytes(size - 8)


def payloads(number: int, *, clip_bytes: int = 0) -> dict[str, bytes]:
    found = {"frame": jpeg(number), "audio": wav(number)}
    return found | {"clip": clip(number, clip_bytes)} if clip_bytes else found
