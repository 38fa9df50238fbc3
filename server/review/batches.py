"""Moments that one decision may be about.

    similar    near-duplicates on one walk, at which the device said the same: a person looks at one of them
    alike      moments of any walk at which the device said the same: a person chooses those that the decision is about

Each row remembers the first of them: a batch is less than so many looks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset import pictures, sample_row
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import meaning, means_the_same
from server.review import decisions, selection
from server.review.selection import Descriptor
from shared.errors import DatasetError

ALIKE = 0.995
"""Cosine of two descriptors: the same place, a step at most apart. Stricter than what the queue calls alike: a cone on
the other side of one street gives 0.988, and its moment would be taught wrongly."""


@dataclass(frozen=True, slots=True)
class AlikeMoments:
    """Moments that wait, at which the device said the same."""

    said: str
    """Canonical, "" = nothing."""
    proposal: str
    """The wording that is offered for each of them, "" = nothing should be said, or none can be offered."""
    acceptable: bool
    """The proposal can be taken as it is."""
    rows: tuple[SampleRow, ...]


def alike(rows: Iterable[SampleRow], *, least: int = 2) -> list[AlikeMoments]:
    """Groups of `least` or more, the largest first; moments in the order given. Pure.

    None of a wearer who corrected: what they said is about that moment.
    """
    groups: defaultdict[tuple[str, str, bool], list[SampleRow]] = defaultdict(list)
    for row in rows:
        if row.state == "pending" and not row.correction_id:
            acceptable = decisions.objection(row) is None
            groups[meaning(decisions.said(row)), decisions.proposal(row), acceptable].append(row)
    found = [AlikeMoments(*key, tuple(some)) for key, some in groups.items() if len(some) >= least]
    return sorted(found, key=lambda group: (-len(group.rows), group.said))


def similar(store: Store, dataset: Dataset, row: SampleRow, *, compared: int | None = None) -> list[SampleRow]:
    """Other moments of the row's walk that wait, look like it, and at which the device said the same; oldest first.

    None where a wearer corrected: what they said is about that moment.
    compared: at most so many pictures are read, of the moments nearest in time; None = all
    """
    own = _descriptor(dataset, row)
    if own is None or row.correction_id:
        return []
    table = db.samples
    query = select(table.c.body).where(table.c.walk_id == row.walk_id, table.c.state == "pending")
    query = query.where(table.c.sample_id != row.sample_id)
    with store.reading() as connection:
        bodies = connection.execute(query.order_by(table.c.captured_at, table.c.sample_id)).scalars().all()
    others = [other for other in map(sample_row.from_dict, bodies) if _said_the_same(other, row)]
    nearest = sorted(others, key=lambda other: abs(other.timestamp - row.timestamp))[:compared]
    chosen = {other.sample_id for other in nearest}
    return [other for other in others if other.sample_id in chosen and _alike(dataset, other, own)]


def _said_the_same(other: SampleRow, row: SampleRow) -> bool:
    return not other.correction_id and means_the_same(decisions.said(other), decisions.said(row))


def _alike(dataset: Dataset, other: SampleRow, own: Descriptor) -> bool:
    found = _descriptor(dataset, other)
    return found is not None and float(found @ own) >= ALIKE


def _descriptor(dataset: Dataset, row: SampleRow) -> Descriptor | None:
    try:
        return selection.descriptor_of(pictures.read(dataset.blobs.local(row.frame_path)))
    except (DatasetError, OSError):
        return None
