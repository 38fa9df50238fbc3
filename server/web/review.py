"""What a person does at a moment, as the page and the API take it: with the row that they read, in their name, and
answered in words for people.

Between opening a moment and deciding, a spoken correction may come in or someone else may decide. Where that changed
anything a person judges by, the decision is not taken (409, with both wordings): nobody confirms what they have not
read. The database's transaction holds that, whichever process wrote meanwhile (`server.review.decisions`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.access import visible
from server.database.store import Store
from server.dataset import surroundings
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import NotTeachable
from server.labelling import conditions
from server.review import decisions, proposed, undoing
from server.review.decisions import ReviewDecision, Stale
from server.web.person import ALONE, Person
from shared import topics
from shared.clock import Clock
from shared.errors import Refused

MAX_ROW_ID = 128
CHANGED_ONE = "One of these moments has changed since you opened the page."
CHANGED = f"{decisions.CHANGED} Please look again."
NOT_READ = "Which row was read? Send the row_id of the moment as you have it before you."
GONE = "One of these moments is not there any more."


@dataclass(frozen=True, slots=True)
class ReviewOutcome:
    """What became of a decision."""

    status: int
    """An HTTP status: 200, 404 no such moment, 409 not as things stand, 422 the words can not be used, or it was not
    said which row was read."""
    reason: str = ""
    """For people; "" where it was taken."""
    instead: NotTeachable | None = None
    """With 422: what the words would be taught as (sent as an edit, it is confirmed), or what may have been meant."""
    row: SampleRow | None = None
    """The moment as it now stands, where there is one."""
    conflict: Stale | None = None
    """With 409: what was read, what stands now, and who decided it, when."""
    unknown: str = ""
    """With 422: a thing in the words that the vocabulary does not know; it is kept as a proposed word."""
    count: int = 1
    """How many moments it was about."""


class Reviews:
    """Takes decisions, one at a time. Safe from any thread."""

    def __init__(self, store: Store, dataset: Dataset, clock: Clock) -> None:
        self._store = store
        self._dataset = dataset
        self._clock = clock
        self._lock = threading.Lock()

    def decide(self, sample_id: str, action: str, *, row_id: str, by: Person, text: str = "") -> ReviewOutcome:
        """Take a decision durably.

        row_id: the row that the person looked at. by: who decides, and is written down. text: of an edit
        raises: OSError where the dataset's file can not be written; the decision then waits in the database.
        """
        row = find(self._store, sample_id, by)
        if row is None:
            return ReviewOutcome(404, f"There is no moment {sample_id!r:.110}.")
        if not row_id:
            return ReviewOutcome(422, NOT_READ, row=row)
        if row_id.rpartition("#")[0] != sample_id:
            return _stale(Stale(None, row, None), row)
        return self._decided([row_id], ReviewDecision(action, by.name, text), row)

    def decide_all(self, row_ids: Sequence[str], action: str, *, by: Person, text: str = "") -> ReviewOutcome:
        """The same decision about several moments, about all of them or none.

        row_ids: the rows that the person looked at, one or more; the first moment is written down as the one
        raises: OSError, as `decide`
        """
        read = list(dict.fromkeys(row_ids))
        found = [find(self._store, row_id.rpartition("#")[0], by) for row_id in read]
        if not found or found[0] is None or None in found:
            return ReviewOutcome(404, GONE)
        return self._decided(read, ReviewDecision(action, by.name, text, batch=found[0].sample_id), found[0])

    def _decided(self, read: Sequence[str], decision: ReviewDecision, first: SampleRow) -> ReviewOutcome:
        """read: row_ids. first: the moment of the first of them"""
        now_s = self._clock.utc_s()
        try:
            with self._lock:
                rows = decisions.review_read(self._store, self._dataset, read, decision, now_s=now_s)
        except KeyError:
            return ReviewOutcome(404, GONE, row=first)
        except Stale as stale:
            return _stale(stale, first, several=bool(decision.batch))
        except NotTeachable as instead:
            words = decision.text if decision.action == "edit" else decisions.source(first)
            unknown = proposed.collect(self._store, first.sample_id, words, decision.reviewer, now_s=now_s)
            return ReviewOutcome(422, str(instead), instead, first, unknown=unknown)
        except Refused as refused:
            return ReviewOutcome(422 if decision.action == "edit" or decision.batch else 409, str(refused), row=first)
        return ReviewOutcome(200, row=rows[0])

    def undo(self, *, by: Person, act: int | None = None) -> ReviewOutcome:
        """Take back what a person decided. act: as `undoing.newest` numbers them, None = the newest that stands

        returns: 200 with the moment that was looked at as it now stands, or 409, also where one of its moments may not
        be seen by them any more
        raises: OSError, as `decide`
        """
        try:
            with self._lock:
                now_s = self._clock.utc_s()
                rows = undoing.undo(self._store, self._dataset, by.name, act=act, now_s=now_s, seen_by=by)
        except Refused as refused:
            return ReviewOutcome(409, str(refused))
        return ReviewOutcome(200, row=rows[0], count=len(rows))

    def describe(self, sample_id: str, values: Mapping[str, str], *, by: Person = ALONE) -> SampleRow | None:
        """Write down where and when a moment was, as a person says it; None where there is no such moment.

        values: field → choice; "" takes back what a person had said, and leaves a guess as it is
        raises: Refused for what is no choice; OSError
        """
        with self._lock:
            row = find(self._store, sample_id, by)
            if row is None:
                return None
            known = conditions.said(surroundings.fields_of(row))
            said = {name: value for name, value in values.items() if value or name in known}
            return surroundings.describe(self._store, self._dataset, sample_id, said, now_s=self._clock.utc_s())


def _stale(stale: Stale, first: SampleRow, *, several: bool = False) -> ReviewOutcome:
    reason = f"{CHANGED_ONE} {decisions.AGAIN}" if several else str(stale)
    return ReviewOutcome(409, reason, row=first if several else stale.row, conflict=stale)


def find(store: Store, sample_id: str, by: Person = ALONE) -> SampleRow | None:
    """One moment, or None; also for an id that no device could have given, and where the person may not see it: they
    learn nothing of it, not even that it exists."""
    row = decisions.get(store, sample_id) if topics.NAME.match(sample_id) else None
    return row if row is not None and visible.may_see(by, row) else None
