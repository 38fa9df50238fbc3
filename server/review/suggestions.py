"""Wordings that a language model proposes for words that the rules make nothing of, and how they are kept.

What it answers is no decision and teaches nothing. It is read by the one table of what may be said like any other
words; what may not be said is dropped, and the reason kept with the moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.database.store import Store
from server.dataset import row_log, wording
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, next_version
from server.dataset.wording import Reworded
from server.review import decisions
from shared import vocabulary
from shared.errors import Refused


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What somebody makes of the words of a moment."""

    model: str
    about: str
    """The words."""
    answer: str
    """As it came; nobody has checked it."""
    refused: str = ""
    """Why there is no answer that could be checked."""


def wanted(row: SampleRow) -> bool:
    """Whether a language model is to be asked: nobody has decided, there are words, and the rules make nothing of
    them. Each words once."""
    about = decisions.unread_words(row)
    return row.state == "pending" and bool(about.strip()) and not row.llm_correction and not decisions.asked(row)


def waiting(store: Store, *, most: int) -> list[SampleRow]:
    """Moments about which a language model is to be asked, in the order of the queue."""
    pending = decisions.listing(store, limit=decisions.counts(store)["pending"])
    return [row for row in pending if wanted(row)][:most]


def checked(answer: str) -> tuple[str, str]:
    """(canonical sentence, why it was dropped): one of them is "". Pure."""
    plain = answer.strip().strip("\"'“”` ")
    if plain.strip(".").upper() == "NONE":
        return "", "It makes no guidance of these words."
    try:
        text = wording.teachable(plain)
    except Reworded as reworded:
        text = "" if reworded.lost else reworded.wording
        if not text:
            return "", str(reworded)
    except Refused as refused:
        return "", str(refused)
    return ("", "It says that the way is clear, which only a person may.") if text == vocabulary.CLEAR else (text, "")


def with_suggestion(row: SampleRow, suggestion: Suggestion) -> SampleRow:
    """The row that supersedes it. Pure."""
    text, refused = ("", suggestion.refused) if suggestion.refused else checked(suggestion.answer)
    about, model = suggestion.about, suggestion.model
    return next_version(row, row, llm_model=model, llm_about=about, llm_wording=text, llm_refused=refused)


def keep(store: Store, dataset: Dataset, sample_id: str, suggestion: Suggestion, *, now_s: float) -> SampleRow | None:
    """Write a proposal down durably; None where the moment was decided, or says other words, meanwhile. Raises:
    OSError."""
    with store.writing() as connection:
        row = row_log.current(connection, sample_id)
        if row is None or not wanted(row) or decisions.unread_words(row) != suggestion.about:
            return None
        after = with_suggestion(row, suggestion)
        row_log.insert_row(connection, after, now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    return after
