"""What teachers on the server would have said of moments that nobody has judged yet, and how it is kept.

A proposal is a new row with the `teacher_…` fields and nothing else changed: it is no decision, and teaches nothing.
Where it contradicts the device, the moment moves up in the review queue (`server.dataset.row_log.priority`). A moment
that a person decided meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.database.store import Store
from server.dataset import row_log, wording
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, next_version
from server.review import decisions
from shared import vocabulary
from shared.vocabulary import Slots

CHALLENGER, BESIDE = "challenger ", " beside "
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a teacher says of one picture."""

    teacher: str
    wording: str
    """A canonical sentence, "" = nothing."""
    score: float
    """0..1"""
    hazards: Mapping[tuple[str, str], float]
    """(object, side) → how sure it is that such a thing stands in the way, 0..1."""
    objects: frozenset[str]
    """All that it can see: its silence says nothing about other things."""
    beside: str | None = None
    """What another model says there, which it is held against; None = what the device said."""


def waiting(store: Store, teacher: str) -> list[SampleRow]:
    """Moments without a decision that this teacher has not looked at, in the order of the queue."""
    pending = decisions.listing(store, limit=decisions.counts(store)["pending"])
    return [row for row in pending if row.teacher != teacher]


def unasked(store: Store, challenge: str, *, most: int) -> list[SampleRow]:
    """The first that wait and that no teacher has looked at, or another two models only."""
    pending = decisions.listing(store, limit=most)
    return [row for row in pending if not row.teacher or (is_challenge(row.teacher) and row.teacher != challenge)]


def challenge_of(challenger: str, champion: str) -> str:
    """As rows name two models that were asked about a moment."""
    return f"{CHALLENGER}{challenger}{BESIDE}{champion}"


def is_challenge(teacher: str) -> bool:
    """Whether two models were asked rather than a teacher."""
    return teacher.startswith(CHALLENGER) and BESIDE in teacher


def disputed(row: SampleRow) -> str:
    """Why two models make a moment worth a look, in words; "" = they do not, or were not asked."""
    if not is_challenge(row.teacher) or row.teacher_disagreement < row_log.CONTRADICTED_FROM:
        return ""
    challenger, _, champion = row.teacher.removeprefix(CHALLENGER).partition(BESIDE)
    return f"two models disagree: {champion}, which is in use, and {challenger}"


def disagreement(said: str, opinion: Opinion) -> float:
    """How sure a teacher is that the device was wrong, 0..1. Pure.

    A sentence names one thing, so that naming another is no contradiction, unless it is more urgent. About what a
    teacher cannot see it says nothing.
    said: the device's words, "" = silence
    """
    own = vocabulary.parse(wording.meaning(said)) if said else None
    due = vocabulary.parse(opinion.wording) if opinion.wording else None
    if own is not None and due is not None and _place(own) == _place(due):
        return 0.0
    passed_over = due is not None and (own is None or vocabulary.tier(due) < vocabulary.tier(own))
    missing = 0.0
    if own is not None and own.object in opinion.objects:
        missing = 1.0 - max((score for (name, _), score in opinion.hazards.items() if name == own.object), default=0.0)
    return max(opinion.score if passed_over else 0.0, missing)


def _place(slots: Slots) -> tuple[str, str]:
    """The thing and its side, "slightly left" being left."""
    return slots.object, slots.side.split(" ")[-1] or "ahead"


def with_opinion(row: SampleRow, opinion: Opinion) -> SampleRow:
    """The row that supersedes it. Pure."""
    said = decisions.said(row) if opinion.beside is None else opinion.beside
    return next_version(
        row,
        row,
        teacher=opinion.teacher,
        teacher_wording=opinion.wording,
        teacher_score=round(opinion.score, _DIGITS),
        teacher_disagreement=round(disagreement(said, opinion), _DIGITS),
    )


def keep(store: Store, dataset: Dataset, opinions: Sequence[tuple[str, Opinion]], *, now_s: float) -> list[SampleRow]:
    """Write opinions about moments down durably; returns the rows of those that still wait for a person.

    opinions: (id of the moment, opinion)
    raises: OSError; the rows then wait in the database
    """
    rows = []
    with store.writing() as connection:
        for sample_id, opinion in opinions:
            row = row_log.current(connection, sample_id)
            if row is not None and row.state == "pending":
                rows.append(with_opinion(row, opinion))
        if rows:
            known = {row.sample_id for row in rows}
            row_log.insert_rows(connection, rows, known=known, now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    return rows
