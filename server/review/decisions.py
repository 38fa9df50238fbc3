"""Moments and what people decided about them: listing, one moment with its history, and the five decisions.

    accept    the proposed wording is right
    edit      this wording is right instead; other words than the vocabulary's are confirmed by giving those
    nothing   nothing should have been said
    reject    this moment must not teach: the picture is useless, or the correction was a slip
    return    somebody should look again: it waits for review as if nobody had decided

Every decision is one transaction: an append-only line in `reviews` (who, when, before, after) and a new dataset row
that supersedes the older one. The same decision twice writes nothing the second time. All may be taken back by another,
and by `server.review.undoing`.
What is confirmed is always a canonical sentence (`server.dataset.wording`), or "" for silence.

A person decides about the row that they read: `review_read` compares it with the row that stands, in the same
transaction, whatever process wrote that. Where anything differs that a person judges by, the decision is taken only if
it would have come to what stands now (a request sent again); else `Stale` says what was read and what stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, delete, func, insert, select

from server.access import visible
from server.access.person import Person
from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import row_log, sample_row
from server.dataset import wording as words
from server.dataset.folder import Dataset
from server.dataset.judged import said as said
from server.dataset.sample_row import SampleRow, State, next_version
from server.review import order
from server.review.order import ListPlace
from shared import topics
from shared.errors import Refused
from shared.vocabulary import Reading

Action = Literal["accept", "edit", "reject", "nothing", "return"]
ACTIONS: tuple[str, ...] = get_args(Action)
UNDO = "undo"
"""What the log calls a decision that was taken back; `server.review.undoing` writes it."""


CHANGED = "This moment has changed since you opened it."
AGAIN = "Nothing was saved. Please look again."
_JUDGED = (
    "reviewed", "rejected", "ground_truth", "instruction", "was_correct", "source", "author", "batch", "doubt_score",
)  # fmt: skip
"""Fields of a row that a decision writes."""


@dataclass(frozen=True, slots=True)
class ReviewDecision:
    """What a person decides about a moment."""

    action: str
    """One of ACTIONS."""
    reviewer: str
    text: str = ""
    """Of an edit: what should have been said."""
    batch: str = ""
    """The moment that was looked at, where the decision is about others like it too; see server.review.batches."""


@dataclass(frozen=True, slots=True)
class PastDecision:
    """One decision of the log, with the wordings before and after it."""

    at: float
    reviewer: str
    action: str
    before: str
    after: str


class Stale(Refused):
    """A person decided about a wording that does not stand any more. Nothing was written."""

    def __init__(self, read: SampleRow | None, row: SampleRow, last: PastDecision | None) -> None:
        """read: the row that the person looked at, None where there never was such a one. row: the one that stands.
        last: the newest decision about the moment"""
        self.row = row
        self.read = stands(read) if read is not None else ""
        """The wording that the person read, "" = it is not known."""
        self.stands = stands(row)
        """The wording that stands now."""
        self.decided_by = last.reviewer if last and row.state != "pending" else ""
        """Who decided it, "" = nobody: something else came in."""
        self.decided_at = last.at if last and row.state != "pending" else 0.0
        """When, in seconds since 1970 in UTC; 0 = nobody did."""
        super().__init__(" ".join(filter(None, (CHANGED, self._what()))), hint=AGAIN)

    def _what(self) -> str:
        read = f"You read: {self.read}" if self.read else ""
        if not self.decided_by:
            return f"{read} Now there stands: {self.stands}".strip()
        at = f"{datetime.fromtimestamp(self.decided_at, UTC):%H:%M} UTC"
        return f"{read} {self.decided_by} decided at {at}: {self.stands}".strip()


def proposal(row: SampleRow) -> str:
    """The wording that is offered for a moment, canonical; "" = nothing should be said, or none can be offered. Of a
    label that is doubted, that label."""
    if row.reviewed or row.doubted:
        return row.ground_truth
    reading = _offered(row)
    return (reading.taught_as or "") if reading else ""


def _offered(row: SampleRow) -> Reading | None:
    text = source(row)
    return words.reading_of(text) if text.strip() else None


def source(row: SampleRow) -> str:
    """The words that the proposal of an undecided moment is made from: the wearer's correction in the vocabulary's
    words, else what a language model makes of them, else what the device said. "" = silence, or a correction that was
    not understood.
    """
    return row.llm_correction or suggested(row) or ("" if _waits_for_a_listener(row) else said(row))


def stands(row: SampleRow) -> str:
    """What stands about a moment, in words: the wording that is confirmed, else the one that is offered."""
    if row.rejected:
        return "rejected, it must not teach."
    if not_understood(row):
        return "no wording yet."
    return proposal(row) or "nothing should be said."


def suggested(row: SampleRow) -> str:
    """What a language model proposes for the words that the rules make nothing of, "" = nothing."""
    return row.llm_wording if asked(row) else ""


def suggested_by(row: SampleRow) -> str:
    """The language model that an undecided moment's proposal comes from, "" = from none."""
    return row.llm_model if suggested(row) and row.state == "pending" and not row.doubted else ""


def asked(row: SampleRow) -> bool:
    """Whether a language model has answered about the words as they stand, and the rules make nothing of them."""
    return bool(row.llm_model) and row.llm_about == unread_words(row) and not row.llm_correction


def unread_words(row: SampleRow) -> str:
    """The words of a moment that are to become a wording: the wearer's, else the model's."""
    return row.transcript if row.correction_id else row.raw_output


def not_understood(row: SampleRow) -> bool:
    """Whether no wording can be offered, so that a person must say what was right: the wearer's correction was not
    understood, or what the device said may not be taught.
    """
    if row.reviewed or row.doubted:
        return False
    reading = _offered(row)
    return _waits_for_a_listener(row) if reading is None else not reading.sayable


def objection(row: SampleRow) -> Refused | None:
    """What `accept` answers instead of being taken, None where it would be."""
    try:
        _truth(row, ReviewDecision("accept", ""))
    except Refused as refused:
        return refused
    return None


def _waits_for_a_listener(row: SampleRow) -> bool:
    return bool(row.correction_id) and not row.llm_correction


def changed(row: SampleRow) -> Reading | None:
    """The words that the offered wording was made from, read, where it says them otherwise; else None.

    Those of the wearer where there is a correction, else of the device.
    """
    if row.reviewed or row.doubted or not proposal(row):
        return None
    text = row.transcript if row.correction_id else row.raw_output if row.llm_correction else said(row)
    reading = words.reading_of(text)
    return None if not text.strip() or reading.as_written else reading


def listing(
    store: Store, *, state: State | Literal["all"] = "pending", limit: int = 100, offset: int = 0
) -> list[SampleRow]:
    """Moments, the most important first, then the newest; reviewed ones by when they were decided, newest first."""
    with store.reading() as connection:
        return order.page(connection, state, limit=limit, offset=offset)


def listing_after(
    store: Store, *, state: State | Literal["all"] = "pending", limit: int = 100, after: ListPlace | None = None
) -> tuple[list[SampleRow], ListPlace | None]:
    """The moments behind a place, in the order of `listing`, and the place of the last of them, None where the list
    ends there. It costs the same anywhere in the list, and skips nothing where others decide meanwhile."""
    with store.reading() as connection:
        return order.behind(connection, state, limit=limit, after=after)


def counts(store: Store, *, seen_by: Person | None = None) -> dict[str, int]:
    """How many moments stand in each state, of those that a person may see where one is named."""
    table = db.samples
    if restricted := [] if seen_by is None else visible.conditions(seen_by):
        query = select(table.c.state, func.count()).where(*restricted).group_by(table.c.state)
        with store.reading() as connection:
            return {"pending": 0, "reviewed": 0, "rejected": 0, **dict(connection.execute(query).all())}
    with store.reading() as connection:
        return order.counts(connection)


def get(store: Store, sample_id: str) -> SampleRow | None:
    """One moment, or None."""
    with store.reading() as connection:
        return row_log.current(connection, sample_id)


def history(store: Store, sample_id: str) -> list[PastDecision]:
    """What people decided about a moment, oldest first."""
    table = tables.reviews
    with store.reading() as connection:
        rows = connection.execute(select(table).where(table.c.sample_id == sample_id).order_by(table.c.id)).all()
    return [past(row) for row in rows]


def _stored_wording(body: dict[str, Any]) -> str:
    return proposal(sample_row.from_dict(body))


def decide(row: SampleRow, decision: ReviewDecision) -> SampleRow:
    """The row after a decision; the same row where it changes nothing. Pure. Raises: Refused saying what to do."""
    match decision.action:
        case "reject":
            after = replace(_undecided(row), rejected=True, author=row.author)
        case "return":
            if row.state == "pending":
                return row
            return next_version(row, replace(_undecided(row), doubt_score=0.0))
        case _:
            truth = _truth(row, decision)
            after = replace(
                row,
                reviewed=True,
                rejected=False,
                ground_truth=truth,
                instruction=truth,
                was_correct=words.means_the_same(said(row), truth),
                source="caregiver",
            )
    after = replace(after, batch=decision.batch if decision.batch != row.sample_id else "")
    if replace(after, source=row.source) == row:
        return row
    return next_version(row, after, author=decision.reviewer)


def _undecided(row: SampleRow) -> SampleRow:
    """The row as if nobody had decided; what came in since stays."""
    heard = bool(row.correction_id and row.llm_correction)
    return replace(
        row,
        reviewed=False,
        rejected=False,
        was_correct=None,
        ground_truth="",
        instruction=row.llm_correction,
        source="wearer_voice" if heard else "device",
        author=(row.speaker_id if heard else "") or row.device,
        batch="",
    )


def restored(row: SampleRow, before: SampleRow) -> SampleRow:
    """The row that supersedes `row`, with what stood about the moment before a decision. Pure.

    What came in since (a clip, a teacher's opinion) stays; the words that are offered are those that are offered now.
    """
    after = replace(row, **{name: getattr(before, name) for name in _JUDGED})
    if before.state == "pending" and not before.doubted:
        after = replace(after, instruction=row.llm_correction)
    return next_version(row, after)


def says_the_same(row: SampleRow, other: SampleRow) -> bool:
    """Whether two rows of a moment say the same of what was decided. Pure."""
    return (row.state, row.ground_truth) == (other.state, other.ground_truth)


def judged_by(row: SampleRow) -> tuple[object, ...]:
    """All of a row that a person judges by. Pure."""
    return (row.state, said(row), proposal(row), row.correction_id, row.transcript)


def _truth(row: SampleRow, decision: ReviewDecision) -> str:
    match decision.action:
        case "nothing":
            return ""
        case "accept":
            settled = row.reviewed or row.doubted
            if not settled and _waits_for_a_listener(row) and not suggested(row):
                raise Refused("The wearer's correction was not understood.", hint="Listen to it and type what it says.")
            text = row.ground_truth if settled else source(row)
            return words.teachable(words.once(text)) if text.strip() else ""
        case "edit":
            return words.teachable(decision.text)
        case other:
            raise Refused(f"{other!r:.40} is not a decision.", hint=f"Use one of: {', '.join(ACTIONS)}.")


def review(store: Store, dataset: Dataset, sample_id: str, decision: ReviewDecision, *, now_s: float) -> SampleRow:
    """Take a decision about a moment as it stands and write it down durably; returns the moment as it now stands.

    For decisions that no person read a row for (an import). raises: KeyError where there is no such moment; Refused
    where the decision can not be taken.
    """
    return review_all(store, dataset, [sample_id], decision, now_s=now_s)[0]


def review_all(
    store: Store, dataset: Dataset, sample_ids: Sequence[str], decision: ReviewDecision, *, now_s: float
) -> list[SampleRow]:
    """The same decision about several moments, in one transaction: about all of them or none. Raises: as `review`."""
    with store.writing() as connection:
        changes = [_change(_standing(connection, one), decision) for one in sample_ids]
        write(connection, changes, decision, now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    return [change.after for change in changes]


def review_read(
    store: Store, dataset: Dataset, row_ids: Sequence[str], decision: ReviewDecision, *, now_s: float
) -> list[SampleRow]:
    """The same decision about the moments whose rows a person read, one or more: about all of them or none.

    row_ids: what the person looked at
    returns: the moments as they now stand, in that order
    raises: KeyError where there is no such moment; Stale where one has changed since; Refused where the decision can
    not be taken; OSError
    """
    with store.writing() as connection:
        changes = [_change_of_read(connection, row_id, decision) for row_id in row_ids]
        write(connection, changes, decision, now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    return [change.after for change in changes]


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row and the one that supersedes it; the same where nothing changes."""

    before: SampleRow
    after: SampleRow


def _change(row: SampleRow, decision: ReviewDecision) -> RowChange:
    return RowChange(row, decide(row, decision))


def _change_of_read(connection: Connection, row_id: str, decision: ReviewDecision) -> RowChange:
    row = _standing(connection, row_id.rpartition("#")[0])
    read = row if row_id == row.row_id else _row(connection, row_id, row.sample_id)
    if read is not None and judged_by(read) == judged_by(row):
        return _change(row, decision)
    if read is not None and _comes_to(read, decision, row):
        return RowChange(row, row)
    raise Stale(read, row, _last(connection, row.sample_id))


def _comes_to(read: SampleRow, decision: ReviewDecision, row: SampleRow) -> bool:
    """Whether the decision about the row that was read comes to what stands now: then it was only sent again."""
    try:
        same = says_the_same(decide(read, decision), row)
    except Refused:
        return False
    return same and (row.state != "pending" or decision.action == "return")


def _standing(connection: Connection, sample_id: str) -> SampleRow:
    row = row_log.current(connection, sample_id) if topics.NAME.match(sample_id) else None
    if row is None:
        raise KeyError(sample_id)
    return row


def _row(connection: Connection, row_id: str, sample_id: str) -> SampleRow | None:
    """An older row of a moment, None where there never was such a one."""
    table = db.dataset_rows
    query = select(table.c.body).where(table.c.row_id == row_id, table.c.sample_id == sample_id)
    body = connection.execute(query).scalar()
    return None if body is None else sample_row.from_dict(body)


def _last(connection: Connection, sample_id: str) -> PastDecision | None:
    table = tables.reviews
    query = select(table).where(table.c.sample_id == sample_id).order_by(table.c.id.desc()).limit(1)
    newest = connection.execute(query).first()
    return None if newest is None else past(newest)


def past(entry: Any) -> PastDecision:
    before, after = map(_stored_wording, (entry.before, entry.after))
    return PastDecision(entry.at, entry.reviewer, entry.action, before, after)


def write(connection: Connection, changes: Sequence[RowChange], decision: ReviewDecision, *, now_s: float) -> list[int]:
    """Write down, inside the caller's transaction, what was decided at once; returns the ids in the log.

    What did not change is not written. Nobody holds these moments any more.
    """
    entries = list[int]()
    for change in changes:
        if change.after is change.before:
            continue
        row_log.insert_row(connection, change.after, now_s=now_s)
        entry = connection.execute(
            insert(tables.reviews).values(
                sample_id=change.before.sample_id,
                at=now_s,
                reviewer=decision.reviewer,
                action=decision.action,
                before=sample_row.to_dict(change.before),
                after=sample_row.to_dict(change.after),
            )
        )
        entries.append(db.new_id(entry))
    if entries:
        values = [{"review": entry, "act": entries[0], "undone_by": None} for entry in entries]
        connection.execute(insert(tables.review_acts), values)
    decided = [change.before.sample_id for change in changes]
    connection.execute(delete(tables.review_leases).where(tables.review_leases.c.sample_id.in_(decided)))
    return entries
