"""What was computed from moments, and can be computed again: deleted whenever a moment is erased.

<home>/cache/moments/     answers of models to pictures, and the like; nothing that only exists there
<home>/cache/…            what was computed from drawn pictures stays
Copies of the database of before an update, or of before it moved to PostgreSQL, go with it.
"""

from __future__ import annotations

from pathlib import Path

from server.database import store as db
from shared import atomic


def folder(home: Path) -> Path:
    """Where it lies; may not exist."""
    return home / "cache" / "moments"


def forget(home: Path) -> None:
    """Delete all of it: which part comes from which moment nobody wrote down. Raises: OSError."""
    db.forget_old(home)
    atomic.remove_tree(folder(home))
    if folder(home).parent.is_dir():
        atomic.remove_leftovers(folder(home).parent)
