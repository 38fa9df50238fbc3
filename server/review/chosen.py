"""The rows of an export, read again each time they are wanted: what is kept of a moment is its ids and its name, some
300 bytes, so that a million of them leave a small server, too."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from sqlalchemy import select

from exporters.datasets.rows import LeftOut, Row
from server.database import store as db
from server.database.store import Store, open_store
from server.dataset import sample_row
from server.dataset.blobs import Blobs
from server.dataset.row_log import in_batches
from server.review import export, order, stats
from server.review.export import Wanted

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Named:
    sample_id: str
    walk_id: str
    timestamp: float
    thing: str
    """What should be said of it, "" = nobody asks."""
    row_id: str
    """The row that was chosen; what is decided meanwhile does not change the export."""


class ChosenRows(Sequence[Row]):
    """A sequence that reads its rows from the database, some at a time, whenever it is gone through."""

    def __init__(self, home: Path, moments: Sequence[tuple[str, str]], wanted: Wanted, blobs: Blobs) -> None:
        """moments: (row id, name), in order. blobs: the dataset's"""
        self._home, self._moments, self._wanted, self._blobs = home, moments, wanted, blobs
        self._fields: tuple[str, ...] = ()
        self.left_out = LeftOut()
        self.not_agreed = 0
        """How many may not be handed on."""

    @classmethod
    def of(cls, store: Store, wanted: Wanted, blobs: Blobs) -> ChosenRows:
        """By walk and number, as `export.choose` has them. Raises: DatasetError."""
        left_out, fields, not_agreed = LeftOut(), dict[str, None](), 0
        everyone: list[_Named] = []
        leaving: list[_Named] = []
        for row in order.each(store, ("pending", "reviewed", "rejected")):
            reason = export.reason_to_stay(row, wanted)
            thing = stats.object_in(export.text_of(row)) if wanted.per_object and not reason else ""
            own = _Named(row.sample_id, sys.intern(row.walk_id), row.timestamp, sys.intern(thing), row.row_id)
            everyone.append(own)
            if reason:
                left_out[reason] += 1
                continue
            leaving.append(own)
            not_agreed += not export.may_leave(row, wanted.agreed)
            fields |= dict.fromkeys(export.fields_of(row))
        names = export.names_of(everyone)
        leaving.sort(key=lambda own: names[own.sample_id])
        kept = leaving
        if wanted.per_object:
            kept = export.draw(leaving, wanted.per_object, kind=lambda own: own.thing, name=lambda own: own.sample_id)
        if len(kept) < len(leaving):
            left_out[f"more than {wanted.per_object} of one object"] = len(leaving) - len(kept)
        rows = cls(store.home, [(own.row_id, names[own.sample_id]) for own in kept], wanted, blobs)
        rows._fields, rows.left_out, rows.not_agreed = tuple(sorted(fields)), left_out, not_agreed
        return rows

    @property
    def sample_ids(self) -> list[str]:
        """Of the moments, in their order."""
        return [row_id.rpartition("#")[0] for row_id, _ in self._moments]

    def __len__(self) -> int:
        return len(self._moments)

    def __iter__(self) -> Iterator[Row]:
        return self._read(self._moments)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        """One row, or some; each is read."""
        if isinstance(place, slice):
            return list(self._read(self._moments[place]))
        return next(self._read([self._moments[place]]))

    def _read(self, moments: Sequence[tuple[str, str]]) -> Iterator[Row]:
        table = db.dataset_rows
        store = open_store(self._home, create=False)
        try:
            for some in in_batches(moments, _AT_ONCE):
                query = select(table.c.row_id, table.c.body).where(table.c.row_id.in_([row_id for row_id, _ in some]))
                with store.reading() as connection:
                    bodies = dict(connection.execute(query).all())
                for row_id, name in some:
                    chosen = sample_row.from_dict(bodies[row_id], where=row_id)
                    if chosen.erased:  # since it was chosen
                        continue
                    row = export.made(chosen, name, self._wanted.silence, self._blobs)
                    yield replace(row, fields={field: row.fields.get(field, "") for field in self._fields})
        finally:
            store.close()
