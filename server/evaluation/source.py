"""What a kept result was made with, beside its inputs: the source that made it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def digest(*names: str) -> str:
    """SHA-256 of these files, and of the Python files of these folders; names are relative to the program's root.

    raises: OSError where one is missing
    """
    found = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return found.hexdigest()
