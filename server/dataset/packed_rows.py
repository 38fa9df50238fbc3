"""Many rows in little memory: compressed as they lie in the database, and read anew whenever they are gone through.

A row takes 0.3 KB instead of 2.1, and 30 us each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from server.database.bodies import pack, to_text, unpack
from server.dataset import sample_row
from server.dataset.sample_row import SampleRow


class PackedRows(Sequence[SampleRow]):
    """A sequence of rows. Each look at one makes another, equal object."""

    def __init__(self, rows: Iterable[SampleRow] = ()) -> None:
        self._packed = [pack(to_text(sample_row.to_dict(row))) for row in rows]

    def only(self, wanted: Callable[[SampleRow], bool]) -> PackedRows:
        """Those for which it holds."""
        found = PackedRows()
        found._packed = [one for one in self._packed if wanted(_row(one))]
        return found

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[SampleRow]:
        return map(_row, self._packed)

    @overload
    def __getitem__(self, place: int) -> SampleRow: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[SampleRow]: ...
    def __getitem__(self, place: int | slice) -> SampleRow | Sequence[SampleRow]:
        return list(map(_row, self._packed[place])) if isinstance(place, slice) else _row(self._packed[place])


def _row(packed: bytes) -> SampleRow:
    return sample_row.from_dict(json.loads(unpack(packed)))
