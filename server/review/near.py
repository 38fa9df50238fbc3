"""Moments near one: before and after it on its walk, those that look like it, and those that one decision may be about.

    on_walk      the moments before and after
    alike_ids    of any walk and state, by the difference hash of the picture: for a search
    beside       what `decide_all` may be asked to decide with it: of its walk, waiting, the same said, and the picture
                 the same place (`server.review.batches`, strict)

Difference hashes are made when the queue is put in order, which reads each picture once (`server.review.ranking`); a
moment that has none yet is hashed when somebody asks about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select, tuple_

from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import alike, pictures, row_log, sample_row, sought
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.review import batches

WITHIN_BITS = 6
"""Of 64. The cone of one drawn street, put to another place in it, gives 7 and 8."""
MOST_ALIKE, MOST_BESIDE, COMPARED_MOST = 200, 12, 60


@dataclass(frozen=True, slots=True)
class WalkNeighbours:
    """The moments around one on its walk, in the order of time."""

    before: tuple[SampleRow, ...]
    after: tuple[SampleRow, ...]


def on_walk(store: Store, row: SampleRow, *, most: int = 2) -> WalkNeighbours:
    """The moments before and after one on its walk, at most so many of each."""
    table = db.samples.c
    with store.reading() as connection:
        at = connection.execute(select(table.captured_at).where(table.sample_id == row.sample_id)).scalar()
        if at is None:
            return WalkNeighbours((), ())
        place, own = tuple_(table.captured_at, table.sample_id), tuple_(at, row.sample_id)
        walk = select(table.body).where(table.walk_id == row.walk_id).limit(most)
        earlier = walk.where(place < own).order_by(table.captured_at.desc(), table.sample_id.desc())
        later = walk.where(place > own).order_by(table.captured_at, table.sample_id)
        before = [sample_row.from_dict(body) for body in connection.execute(earlier).scalars()]
        after = [sample_row.from_dict(body) for body in connection.execute(later).scalars()]
    return WalkNeighbours(tuple(reversed(before)), tuple(after))


def alike_ids(connection: Connection, sample_id: str) -> list[str]:
    """Ids of other moments whose pictures look like this one's, the most alike first; none where it was not hashed."""
    table = tables.sought.c
    own = connection.execute(select(table.look).where(table.sample_id == sample_id)).scalar()
    if own is None:
        return []
    rows = connection.execute(select(table.sample_id, table.look).where(table.look.is_not(None))).all()
    looks = np.array([int(look, 16) for _, look in rows], np.uint64)
    bits = np.bitwise_count(looks ^ np.uint64(int(own, 16)))
    nearest = np.argsort(bits, kind="stable")[: MOST_ALIKE + 1]
    return [rows[at][0] for at in nearest if bits[at] <= WITHIN_BITS and rows[at][0] != sample_id][:MOST_ALIKE]


def hashed(store: Store, dataset: Dataset, sample_id: str) -> None:
    """Make the difference hash of a moment that has none; one without a readable picture stays so. Raises: OSError."""
    with store.reading() as connection:
        look = connection.execute(select(tables.sought.c.look).where(tables.sought.c.sample_id == sample_id)).scalar()
        row = row_log.current(connection, sample_id) if look is None else None
    if row is None:
        return
    image, _ = pictures.load(dataset.blobs.local(row.frame_path))
    if image is not None:
        with store.writing() as connection:
            sought.keep_looks(connection, {sample_id: alike.dhash(image)})


def beside(store: Store, dataset: Dataset, row: SampleRow, *, most: int = MOST_BESIDE) -> list[SampleRow]:
    """Near-duplicates that wait and that a decision about this moment may be about, too; oldest first."""
    return batches.similar(store, dataset, row, compared=COMPARED_MOST)[:most]
