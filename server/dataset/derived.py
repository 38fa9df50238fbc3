"""What was computed from moments, and can be computed again: deleted whenever a moment is erased.

<home>/cache/moments/     answers of models to pictures, and the like; nothing that only exists there
<home>/cache/…            what was computed from drawn pictures stays
Copies of the database of before an update, or of before it moved to PostgreSQL, go with it, and so do logs and
databases that a repair took out (server.maintenance.check): they hold all moments that there were.
"""

from __future__ import annotations

import re
from pathlib import Path

from server.database import store as db
from shared import atomic

_TAKEN_OUT = re.compile(r"((metadata|records)(-\d{14}-\d{14})?\.jsonl(\.gz)?|waycue\.sqlite(-wal|-shm)?)(\.\d+)?")


def folder(home: Path) -> Path:
    """Where it lies; may not exist."""
    return home / "cache" / "moments"


def forget(home: Path) -> None:
    """Delete all of it: which part comes from which moment nobody wrote down. Raises: OSError."""
    db.forget_old(home)
    _forget_taken_out(home / "quarantine")
    _forget_unfinished(home / "dataset")
    atomic.remove_tree(folder(home))
    if folder(home).parent.is_dir():
        atomic.remove_leftovers(folder(home).parent)


def _forget_taken_out(quarantine: Path) -> None:
    paths = [path for path in quarantine.iterdir() if _TAKEN_OUT.fullmatch(path.name)] if quarantine.is_dir() else []
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        atomic.fsync_dir(quarantine)


def _forget_unfinished(dataset: Path) -> None:
    """Logs of a repair that was killed before they were in their places."""
    paths = list(dataset.glob("*.jsonl.mended"))
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        atomic.fsync_dir(dataset)
