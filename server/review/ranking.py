"""Puts the queue into the order of `server.review.selection`: the place of each moment that waits, in the table.

A row that is written anew has the plain priority of its flags until the next time, below every place: what has just
come in or changed is looked at first.

Only the first WINDOW moments are compared with each other and with what was confirmed: more than a person looks at in a
month. Those behind keep the order of their flags, then the newest, and move up as the window empties. So a round costs
the same however many wait.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import bindparam, func, select, update

from server.database import review_tables as tables
from server.database import store as db
from server.database.as_rows import as_rows
from server.database.store import Store
from server.dataset import alike, pictures, row_log, search_index, sought
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.review import decisions, order, selection, stats
from server.review.selection import Candidate, Confirmed, Descriptor
from shared.errors import DatasetError

PLACES_FROM = 10
"""Above every priority of flags."""
WINDOW = 2000
BEHIND = 10_000_000
"""Added to the priority of what stands behind the window."""
_AT_ONCE = 2000  # moments that are put behind it in one transaction: about 50 ms
EVERY_S = 60.0
MOST_CONFIRMED = 2000
_MOST_KEPT = 20_000  # descriptors of 192 numbers: 15 MB
MOST_READ = (
    500  # pictures in one round, at 5 ms each: a fleet that comes home brings thousands, and needs the processor
)


class Ranking:
    """Keeps the queue in order. One thread at a time."""

    def __init__(self, store: Store, dataset: Dataset) -> None:
        self._store, self._dataset = store, dataset
        self._seen: tuple[int, float] | None = None
        self._descriptors: dict[str, Descriptor | None] = {}
        self._looks: dict[str, int] = {}
        """Difference hashes of the pictures that were read."""
        self._may_read = MOST_READ
        """Pictures in this round. A moment whose picture is read later stands until then as one of its own."""

    def refresh(self) -> bool:
        """Order the queue anew where anything changed since; whether it did. Raises: OSError."""
        state = self._state()
        if state == self._seen:
            return False
        self._may_read = MOST_READ
        waiting, judged = decisions.listing(self._store, limit=WINDOW), self._judged()
        received = self._captured([row.sample_id for row in waiting])
        candidates = [self._candidate(row, received.get(row.sample_id, row.timestamp)) for row in waiting]
        places = selection.order(candidates, self._confirmed(judged))
        self._write(places, {row.sample_id: row.row_id for row in waiting})
        self._write_looks([*waiting, *judged])
        if len(waiting) == WINDOW:
            self._put_behind(seen_at=state[1])
        self._seen = state if self._may_read > 0 else None
        return True

    def _state(self) -> tuple[int, float]:
        """(how many moments there are, when one changed last), a step into an index each."""
        table = db.samples
        with self._store.reading() as connection:
            counts = order.counts(connection)
            newest = [
                connection.execute(select(func.max(table.c.changed_at)).where(table.c.state == state)).scalar()
                for state in counts
            ]
        return sum(counts.values()), max((at for at in newest if at is not None), default=0.0)

    def _put_behind(self, *, seen_at: float) -> None:
        """What waits outside the window and has still the priority of its flags; not what came in meanwhile."""
        table = db.samples
        outside = (table.c.state == "pending", table.c.priority < PLACES_FROM, table.c.changed_at <= seen_at)
        some = select(table.c.sample_id).where(*outside).limit(_AT_ONCE)
        moved = _AT_ONCE
        while moved == _AT_ONCE:
            with self._store.writing() as connection:
                ids = list(connection.execute(some).scalars())
                moved = len(ids)
                change = update(table).where(table.c.sample_id.in_(as_rows(connection, ids)))
                connection.execute(change.values(priority=table.c.priority + BEHIND))
                sought.place_again(connection, ids)

    def _captured(self, sample_ids: Sequence[str]) -> dict[str, float]:
        """When moments were; when they came in, where their device's clock was ahead."""
        table = db.samples.c
        query = select(table.sample_id, table.captured_at).where(table.sample_id.in_(sample_ids))
        with self._store.reading() as connection:
            return dict(connection.execute(query).all())

    def _candidate(self, row: SampleRow, at_s: float) -> Candidate:
        return Candidate(
            sample_id=row.sample_id,
            walk_id=row.walk_id,
            timestamp=at_s,
            priority=row_log.priority(row),
            confidence=min(max(row.confidence, 0.0), 1.0),
            disagreement=row.teacher_disagreement,
            audit=stats.in_audit(row),
            doubt=row.doubt_score if row.doubted else 0.0,
            descriptor=self._descriptor(row),
        )

    def _judged(self) -> list[SampleRow]:
        """The newest that people have judged."""
        newest = decisions.listing(self._store, state="reviewed", limit=MOST_CONFIRMED)
        return [row for row in newest if stats.is_judged(row)]

    def _confirmed(self, judged: Sequence[SampleRow]) -> Confirmed:
        pairs = [(own, not row.was_correct) for row in judged if (own := self._descriptor(row)) is not None]
        if not pairs:
            return selection.NOTHING_CONFIRMED
        return Confirmed(np.stack([own for own, _ in pairs]), np.array([wrong for _, wrong in pairs]))

    def _descriptor(self, row: SampleRow) -> Descriptor | None:
        """Each picture is read once; None too where this round has read enough."""
        if row.frame_path not in self._descriptors:
            if self._may_read <= 0:
                return None
            self._may_read -= 1
            if len(self._descriptors) >= _MOST_KEPT:
                self._descriptors.clear()
                self._looks.clear()
            self._descriptors[row.frame_path] = self._read(row)
        return self._descriptors[row.frame_path]

    def _read(self, row: SampleRow) -> Descriptor | None:
        try:
            image = pictures.read(self._dataset.blobs.local(row.frame_path))
        except (DatasetError, OSError):
            return None
        self._looks[row.frame_path] = alike.dhash(image)
        return selection.descriptor_of(image)

    def _write(self, places: Sequence[str], row_ids: dict[str, str]) -> None:
        """Only rows that are still what was ranked."""
        table = db.samples
        statement = (
            update(table)
            .where(table.c.sample_id == bindparam("own_id"), table.c.row_id == bindparam("own_row"))
            .values(priority=bindparam("place"))
        )
        values = [
            {"own_id": sample_id, "own_row": row_ids[sample_id], "place": PLACES_FROM + place}
            for place, sample_id in enumerate(places)
        ]
        if values:
            with self._store.writing() as connection:
                connection.execute(statement, values)
                sought.place_again(connection, places)

    def _write_looks(self, rows: Sequence[SampleRow]) -> None:
        """The difference hashes of moments that have none yet: a search for what looks alike needs them."""
        looks = {row.sample_id: self._looks[row.frame_path] for row in rows if row.frame_path in self._looks}
        table, lacking = tables.sought.c, list[str]()
        with self._store.reading() as connection:
            for some in search_index.pieces(list(looks)):
                query = select(table.sample_id).where(table.sample_id.in_(some), table.look.is_(None))
                lacking += connection.execute(query).scalars()
        if lacking:
            with self._store.writing() as connection:
                sought.keep_looks(connection, {sample_id: looks[sample_id] for sample_id in lacking})
