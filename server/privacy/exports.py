"""The register of exports that were made on this machine: which moments went into which folder.

A deletion finds here what to take back. A folder that somebody moved or copied is not found again; the proof says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from exporters.datasets.folder import MARKER
from server.consent.tables import exported, exports_made
from server.database.store import Store
from server.dataset import wishes
from shared import atomic

DELETED_NAME = ".waycue-deleted.json"
"""In an export that was left and marked: which of its moments must go."""
Doing = Literal["remove", "mark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeExport:
    """An export as the register has it."""

    path: Path
    format: str
    audience: str
    anonymous: bool
    at: float
    id: int = 0


def note(store: Store, made: MadeExport, sample_ids: Collection[str]) -> int:
    """Write an export down before its folder appears. Returns its id."""
    with store.writing() as connection:
        values = {"path": str(made.path.absolute()), "format": made.format, "audience": made.audience, "gone": ""}
        row = insert(exports_made).values(at=made.at, anonymous=int(made.anonymous), **values)
        number = int(connection.execute(row.returning(exports_made.c.id)).scalar_one())
        if sample_ids:
            connection.execute(
                insert(exported), [{"export": number, "sample_id": name} for name in sorted(set(sample_ids))]
            )
    return number


def holding(connection: Connection, sample_ids: Collection[str]) -> list[tuple[MadeExport, frozenset[str]]]:
    """Exports that are still here as far as is known, and hold some of these, with which."""
    found: dict[int, set[str]] = {}
    for some in wishes.in_pieces(sample_ids):
        query = select(exported.c.export, exported.c.sample_id).where(exported.c.sample_id.in_(some))
        for number, name in connection.execute(query):
            found.setdefault(number, set()).add(name)
    rows = connection.execute(select(exports_made).where(exports_made.c.gone.in_(("", "marked"))))
    made = [row for row in rows.mappings() if row["id"] in found]
    return [(_made(dict(row)), frozenset(found[row["id"]])) for row in made]


def _made(row: dict[str, object]) -> MadeExport:
    return MadeExport(
        id=int(str(row["id"])),
        path=Path(str(row["path"])),
        format=str(row["format"]),
        at=float(str(row["at"])),
        audience=str(row["audience"]),
        anonymous=bool(row["anonymous"]),
    )


def take_back(store: Store, sample_ids: Collection[str], doing: Doing) -> Iterator[tuple[str, bool]]:
    """Remove or mark every export that holds some of these. Gives (what became of it, whether it is gone). Idempotent.
    Raises: OSError."""
    with store.reading() as connection:
        held = holding(connection, sample_ids)
    for made, names in held:
        what = _taken_back(made, names, doing)
        with store.writing() as connection:
            connection.execute(update(exports_made).where(exports_made.c.id == made.id).values(gone=what))
            if what != "marked":
                connection.execute(delete(exported).where(exported.c.export == made.id))
        where = f"{made.path} ({made.format}, for {made.audience})"
        told = {
            "removed": f"{where} was removed",
            "marked": f"{where} is still there, and marked",
            "away": f"{where} is not there any more: it was moved or deleted",
        }
        yield told[what], what == "removed"


def _taken_back(made: MadeExport, names: frozenset[str], doing: Doing) -> Literal["removed", "marked", "away"]:
    if not (made.path / MARKER).is_file():
        return "away"
    if doing == "remove":
        atomic.remove_tree(made.path)
        return "removed"
    marked = made.path / DELETED_NAME
    atomic.write_json(marked, {"deleted": sorted(names)})
    return "marked"


@contextmanager
def noted(store: Store, made: MadeExport, sample_ids: Collection[str]) -> Iterator[None]:
    """An export that is being made: written down first, and struck out where nothing came of it. Where it took the
    place of an earlier one, that is struck out."""
    before, number = _marker(made.path), note(store, made, sample_ids)
    try:
        yield
    finally:
        table, path = exports_made, str(made.path.absolute())
        earlier = table.c.path == path, table.c.id < number, table.c.gone == ""
        with store.writing() as connection:
            if _marker(made.path) != before:
                connection.execute(update(table).where(*earlier).values(gone="replaced"))
            else:
                connection.execute(update(table).where(table.c.id == number).values(gone="failed"))


def _marker(folder: Path) -> bytes:
    """Which export lies there: its marker says when it was written."""
    try:
        return (folder / MARKER).read_bytes()
    except OSError:
        return b""
