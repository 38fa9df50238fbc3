"""Moments and what people decided about them: listing, one moment with its history, and the four decisions.

    accept    the proposed wording is right
    edit      this wording is right instead; other words than the vocabulary's are confirmed by giving those
    nothing   nothing should have been said
    reject    this moment must not teach: the picture is useless, or the correction was a slip

Every decision is one transaction: an append-only line in `reviews` (who, when, before, after) and a new dataset row
that supersedes the older one. The same decision twice writes nothing the second time. All may be taken back by another.
What is confirmed is always a canonical sentence (`server.dataset.wording`), or "" for silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sqlalchemy import Connection, insert, select

from server.database import store as db
from server.database.store import Store
from server.dataset import row_log, sample_row
from server.dataset import wording as words
from server.dataset.folder import Dataset
from server.dataset.judged import said as said
from server.dataset.sample_row import SampleRow, State, next_version
from server.review import order
from server.review.order import ListPlace
from shared.errors import Refused
from shared.vocabulary import Reading

Action = Literal["accept", "edit", "reject", "nothing"]
ACTIONS: tuple[str, ...] = get_args(Action)


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


def counts(store: Store) -> dict[str, int]:
    """How many moments stand in each state."""
    with store.reading() as connection:
        return order.counts(connection)


def get(store: Store, sample_id: str) -> SampleRow | None:
    """One moment, or None."""
    with store.reading() as connection:
        return row_log.current(connection, sample_id)


def history(store: Store, sample_id: str) -> list[PastDecision]:
    """What people decided about a moment, oldest first."""
    table = db.reviews
    with store.reading() as connection:
        rows = connection.execute(select(table).where(table.c.sample_id == sample_id).order_by(table.c.id)).all()
    return [PastDecision(r.at, r.reviewer, r.action, *map(_stored_wording, (r.before, r.after))) for r in rows]


def _stored_wording(body: dict[str, Any]) -> str:
    return proposal(sample_row.from_dict(body))


def decide(row: SampleRow, decision: ReviewDecision) -> SampleRow:
    """The row after a decision; the same row where it changes nothing. Pure. Raises: Refused saying what to do."""
    if decision.action == "reject":
        after = replace(
            row,
            reviewed=False,
            rejected=True,
            was_correct=None,
            ground_truth="",
            instruction=row.llm_correction,
            source="wearer_voice" if row.correction_id and row.llm_correction else "device",
        )
    else:
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
    """Take a decision and write it down durably; returns the moment as it now stands.

    raises: KeyError where there is no such moment; Refused where the decision can not be taken.
    """
    return review_all(store, dataset, [sample_id], decision, now_s=now_s)[0]


def review_all(
    store: Store, dataset: Dataset, sample_ids: Sequence[str], decision: ReviewDecision, *, now_s: float
) -> list[SampleRow]:
    """The same decision about several moments, in one transaction: about all of them or none. Raises: as `review`."""
    with store.writing() as connection:
        rows = [_decided(connection, sample_id, decision, now_s=now_s) for sample_id in sample_ids]
    row_log.flush(store, dataset, now_s=now_s)
    return rows


def _decided(connection: Connection, sample_id: str, decision: ReviewDecision, *, now_s: float) -> SampleRow:
    row = row_log.current(connection, sample_id)
    if row is None:
        raise KeyError(sample_id)
    after = decide(row, decision)
    if after is not row:
        row_log.insert_row(connection, after, now_s=now_s)
        connection.execute(
            insert(db.reviews).values(
                sample_id=sample_id,
                at=now_s,
                reviewer=decision.reviewer,
                action=decision.action,
                before=sample_row.to_dict(row),
                after=sample_row.to_dict(after),
            )
        )
    return after
