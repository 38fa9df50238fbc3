"""One decision as the page and the API take it: with what the person had seen, and answered in words for people.

Between opening a moment and deciding, a spoken correction may come in or someone else may decide. Where that changed
anything a person judges by, the decision is not taken (409): nobody confirms a wording that they have not read.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset import sample_row, surroundings
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import NotTeachable
from server.labelling import conditions
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import topics
from shared.clock import Clock
from shared.errors import Refused

MAX_ROW_ID = 128
CHANGED_ONE = "One of these moments has changed since you opened the page. Nothing was saved. Please look again."
CHANGED = "This moment has changed since you opened it. Please look again."


@dataclass(frozen=True, slots=True)
class ReviewOutcome:
    """What became of a decision."""

    status: int
    """An HTTP status: 200, 404 no such moment, 409 not as things stand, 422 the words can not be used."""
    reason: str = ""
    """For people; "" where it was taken."""
    instead: NotTeachable | None = None
    """With 422: what the words would be taught as (sent as an edit, it is confirmed), or what may have been meant."""
    row: SampleRow | None = None
    """The moment as it now stands, where there is one."""


class Reviews:
    """Takes decisions, one at a time. Safe from any thread."""

    def __init__(self, store: Store, dataset: Dataset, clock: Clock, *, reviewer: str) -> None:
        self._store = store
        self._dataset = dataset
        self._clock = clock
        self._reviewer = reviewer
        self._lock = threading.Lock()

    def decide(self, sample_id: str, action: str, *, text: str = "", seen: str = "") -> ReviewOutcome:
        """Take a decision durably. seen: the row_id that the person looked at, "" = whatever stands now.

        raises: OSError where the dataset's file can not be written; the decision then waits in the database.
        """
        decision = ReviewDecision(action, self._reviewer, text)
        with self._lock:
            row = find(self._store, sample_id)
            if row is None:
                return ReviewOutcome(404, f"There is no moment {sample_id!r:.110}.")
            try:
                # The same decision twice (a double click, a request sent again) is no conflict.
                if seen and self._looks_different(seen, row) and decisions.decide(row, decision) is not row:
                    return ReviewOutcome(409, CHANGED, row=row)
                after = decisions.review(self._store, self._dataset, sample_id, decision, now_s=self._clock.utc_s())
            except Refused as refused:
                instead = refused if isinstance(refused, NotTeachable) else None
                status = 422 if instead or action == "edit" else 409
                return ReviewOutcome(status, str(refused), instead, row)
        return ReviewOutcome(200, row=after)

    def decide_all(self, seen: Sequence[str], action: str, *, text: str = "") -> ReviewOutcome:
        """The same decision about several moments, about all of them or none.

        seen: the row_ids that the person looked at, one or more; the first moment is written down as the one
        raises: OSError, as `decide`
        """
        rows = {row_id: find(self._store, row_id.rpartition("#")[0]) for row_id in dict.fromkeys(seen)}
        first = next(iter(rows.values()), None)
        if first is None or None in rows.values():
            return ReviewOutcome(404, "One of these moments is not there any more.")
        decision = ReviewDecision(action, self._reviewer, text, batch=first.sample_id)
        with self._lock:
            return self._decided({row_id: row for row_id, row in rows.items() if row}, decision, first)

    def _decided(self, rows: Mapping[str, SampleRow], decision: ReviewDecision, first: SampleRow) -> ReviewOutcome:
        """rows: by the row_ids that the person looked at"""
        if any(self._looks_different(row_id, row) for row_id, row in rows.items()):
            return ReviewOutcome(409, CHANGED_ONE, row=first)
        ids = [row.sample_id for row in rows.values()]
        try:
            after = decisions.review_all(self._store, self._dataset, ids, decision, now_s=self._clock.utc_s())
        except Refused as refused:
            return ReviewOutcome(422, str(refused), refused if isinstance(refused, NotTeachable) else None, first)
        return ReviewOutcome(200, row=after[0])

    def describe(self, sample_id: str, values: Mapping[str, str]) -> SampleRow | None:
        """Write down where and when a moment was, as a person says it; None where there is no such moment.

        values: field → choice; "" takes back what a person had said, and leaves a guess as it is
        raises: Refused for what is no choice; OSError
        """
        with self._lock:
            row = find(self._store, sample_id)
            if row is None:
                return None
            known = conditions.said(surroundings.fields_of(row))
            said = {name: value for name, value in values.items() if value or name in known}
            return surroundings.describe(self._store, self._dataset, sample_id, said, now_s=self._clock.utc_s())

    def _looks_different(self, seen: str, row: SampleRow) -> bool:
        if seen == row.row_id:
            return False
        query = select(db.dataset_rows.c.body).where(db.dataset_rows.c.row_id == seen)
        with self._store.reading() as connection:
            body = connection.execute(query.where(db.dataset_rows.c.sample_id == row.sample_id)).scalar()
        return body is None or _judged_by(sample_row.from_dict(body)) != _judged_by(row)


def find(store: Store, sample_id: str) -> SampleRow | None:
    """One moment, or None; also for an id that no device could have given."""
    return decisions.get(store, sample_id) if topics.NAME.match(sample_id) else None


def _judged_by(row: SampleRow) -> tuple[object, ...]:
    return (row.state, decisions.said(row), decisions.proposal(row), row.correction_id, row.transcript)
