"""Moments that one decision may be about: near-duplicates on one walk, at which the device said the same.

A person looks at one of them. Each row remembers which: a batch is less than so many looks.
"""

from __future__ import annotations

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset import pictures, sample_row
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import means_the_same
from server.review import decisions, selection
from server.review.selection import Descriptor
from shared.errors import DatasetError

ALIKE = 0.995
"""Cosine of two descriptors: the same place, a step at most apart. Stricter than what the queue calls alike: a cone on
the other side of one street gives 0.988, and its moment would be taught wrongly."""


def similar(store: Store, dataset: Dataset, row: SampleRow) -> list[SampleRow]:
    """Other moments of the row's walk that wait, look like it, and at which the device said the same; oldest first.

    None where a wearer corrected: what they said is about that moment.
    """
    own = _descriptor(dataset, row)
    if own is None or row.correction_id:
        return []
    table = db.samples
    query = select(table.c.body).where(table.c.walk_id == row.walk_id, table.c.state == "pending")
    with store.reading() as connection:
        bodies = connection.execute(query.order_by(table.c.captured_at, table.c.sample_id)).scalars().all()
    others = [other for other in map(sample_row.from_dict, bodies) if other.sample_id != row.sample_id]
    return [other for other in others if _said_the_same(other, row) and _alike(dataset, other, own)]


def _said_the_same(other: SampleRow, row: SampleRow) -> bool:
    return not other.correction_id and means_the_same(decisions.said(other), decisions.said(row))


def _alike(dataset: Dataset, other: SampleRow, own: Descriptor) -> bool:
    found = _descriptor(dataset, other)
    return found is not None and float(found @ own) >= ALIKE


def _descriptor(dataset: Dataset, row: SampleRow) -> Descriptor | None:
    try:
        return selection.descriptor_of(pictures.read(dataset.folder / row.frame_path))
    except (DatasetError, OSError):
        return None
