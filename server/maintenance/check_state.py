"""How far a look at a home was when it was cut off: `cache/check.json`. It can be deleted; a look then begins anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from server.maintenance.check_files import SeenFiles
from server.maintenance.findings import HomeFinding
from server.maintenance.progress import EVERY
from shared import atomic, strict

SAVED_EVERY = 10 * EVERY  # files: some seconds of reading


@dataclass(frozen=True, slots=True)
class CutLook:
    """What the file says."""

    after: str
    count: int
    bytes: int
    findings: list[HomeFinding] = field(default_factory=list)


def _path(home: Path) -> Path:
    return home / "cache" / "check.json"


def load(home: Path) -> SeenFiles | None:
    """None where no look was cut off."""
    try:
        known = msgspec.json.decode(_path(home).read_bytes(), type=strict.ready(CutLook))
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return SeenFiles(known.after, known.count, known.bytes, list(known.findings))


def save(home: Path, seen: SeenFiles) -> None:
    """Remember it. Raises: OSError."""
    now = CutLook(seen.after, seen.count, seen.bytes, seen.findings)
    atomic.write_bytes(_path(home), msgspec.json.encode(now))


def save_sometimes(home: Path, seen: SeenFiles) -> None:
    """Remember it every few thousand files."""
    if seen.count % SAVED_EVERY == 0:
        save(home, seen)


def forget(home: Path) -> None:
    """It came to its end."""
    _path(home).unlink(missing_ok=True)
