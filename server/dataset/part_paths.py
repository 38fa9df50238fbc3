"""Where the files of the table `parts` lie: by their hash, unless one was replaced; and whose a file is.

A row names its file once, by the 32 bytes of its hash. `path` is written only where the file lies elsewhere, as a
blurred picture does (server.privacy.replacing). `file`, in an index, has the first 8 bytes of the hash that its path
names: 16 bytes for each file, where the path in full took a hundred.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, case, func, select

from server.database import store as db
from server.database.hashes import HashDigits
from server.dataset.folder import FOLDERS

_KINDS = db.parts.c.kind
_BY_HASH = (
    case({kind: f"{folder}/" for kind, (folder, _) in FOLDERS.items()}, value=_KINDS, else_="")
    + HashDigits(db.parts.c.sha256)
    + case({kind: suffix for kind, (_, suffix) in FOLDERS.items()}, value=_KINDS, else_="")
)
PATH: ColumnElement[str] = func.coalesce(db.parts.c.path, _BY_HASH, type_=String())
"""Where a part's file lies, below the dataset's folder."""
_NAMES = ("device", "record_id", "kind", "sha256", "size_bytes", "received_at")


def rows() -> Select[Any]:
    """The table as it is read: with the path of each."""
    return select(*(db.parts.c[name] for name in _NAMES), PATH.label("path"))


def stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its path, as it is written."""
    return {**{name: row[name] for name in _NAMES}, **lying_at(row["path"], kind=row["kind"], sha256=row["sha256"])}


def lying_at(path: str, *, kind: str = "", sha256: str = "") -> dict[str, Any]:
    """The columns that say where a file lies. kind, sha256: of its row, "" = it lies elsewhere than by these."""
    folder, suffix = FOLDERS.get(kind, ("", ""))
    return {"path": None if path == f"{folder}/{sha256}{suffix}" else path, "file": key_of(path)}


def at(path: str) -> ColumnElement[bool]:
    """The parts whose file this is."""
    return among([path])


def among(paths: Collection[str]) -> ColumnElement[bool]:
    """The parts whose file is one of these."""
    return and_(db.parts.c.file.in_({key_of(path) for path in paths}), PATH.in_(paths))


def key_of(path: str) -> int:
    """Of a path, for the index. Two that have the same are told apart by their paths."""
    try:
        return int.from_bytes(bytes.fromhex(PurePosixPath(path).name[:16]), "big", signed=True)
    except ValueError:  # no file of a dataset
        return 0
