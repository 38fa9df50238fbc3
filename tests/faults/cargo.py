"""What devices seal in the fault tests: made from (device, number) alone, so that the judge knows every byte of it.

Every seventh chunk has a clip; some are larger than a window, so that their ranges are written down on the way. The
ledger lies outside of the disk under test: it is what the wearer was promised.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.messages import ChunkRecord, CorrectionRecord
from tests.device.outbox import records

HEARD = "Stop, curb ahead."
CLIP_EVERY = 7
CORRECTION_EVERY = 8
CLIP_SIZES = (40_000, 250_000, 700_000)


def chunk_id(device: str, number: int) -> str:
    return records.chunk(number, device=device).chunk_id


def correction_id(device: str, number: int) -> str:
    return records.correction(number, device=device).correction_id


def has_correction(number: int) -> bool:
    """Whether the wearer corrects this chunk."""
    return number % CORRECTION_EVERY == 1


def chunk(device: str, number: int) -> tuple[ChunkRecord, dict[str, bytes]]:
    seed = _seed(device, number)
    payloads = {"frame": records.jpeg(seed), "audio": records.wav(seed)}
    if number % CLIP_EVERY == 2:
        size = CLIP_SIZES[random.Random(seed).randrange(len(CLIP_SIZES))]
        payloads["clip"] = records.clip(seed, size)
    return records.chunk(number, device=device), payloads


def correction(device: str, number: int) -> tuple[CorrectionRecord, bytes]:
    return records.correction(number, device=device), records.wav(_seed(device, number) + 1)


def _seed(device: str, number: int) -> int:
    return zlib.crc32(f"{device} {number}".encode())


@cache
def hashes(record_id: str, device: str) -> Mapping[str, str]:
    """Part kind → SHA-256 of what a record must have at the server."""
    tail = record_id.rpartition("-")[2]
    if tail.startswith("c"):
        return {"correction_audio": _sha256(correction(device, int(tail[1:]))[1])}
    return {kind: _sha256(data) for kind, data in chunk(device, int(tail))[1].items()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a device did, in its own words."""

    what: str
    name: str
    more: Any = None


class Ledger:
    """What one device told the world, over all its lives. A line is one write: a kill leaves it whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def say(self, what: str, name: str, more: Any = None) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(fd, (json.dumps([what, name, more]) + "\n").encode())
        finally:
            os.close(fd)

    def lines(self) -> list[Line]:
        if not self.path.exists():
            return []
        return [Line(*json.loads(line)) for line in self.path.read_text().splitlines()]

    def names(self, what: str) -> list[str]:
        return [line.name for line in self.lines() if line.what == what]
