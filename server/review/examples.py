"""Corrections that people confirmed, as examples for a language model that is asked about others. Pure.

Words of which the rules make nothing, and what a person then said they mean: exactly what the next question is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.dataset.sample_row import SampleRow
from server.review import decisions
from shared import vocabulary

LONGEST = 120
"""Characters: longer ones cost more of the budget than they tell."""


@dataclass(frozen=True, slots=True)
class ConfirmedWords:
    """What was heard, and the sentence that a person confirmed for it."""

    heard: str
    meant: str


def confirmed(rows: Iterable[SampleRow]) -> list[ConfirmedWords]:
    """Of decided moments, those whose words the rules do not read as what was confirmed; each words once, the first."""
    found: dict[str, ConfirmedWords] = {}
    for row in rows:
        heard = " ".join(decisions.unread_words(row).split())
        told = row.reviewed and row.ground_truth and 0 < len(heard) <= LONGEST
        if told and vocabulary.normalise(heard) != row.ground_truth:
            found.setdefault(heard.lower(), ConfirmedWords(heard, row.ground_truth))
    return list(found.values())


def nearest(known: Sequence[ConfirmedWords], about: str, *, most: int) -> list[ConfirmedWords]:
    """The ones that share most words with `about`, as a share of all words of both; of equals the first."""
    own = _words(about)

    def likeness(example: ConfirmedWords) -> float:
        other = _words(example.heard)
        return len(own & other) / max(1, len(own | other))

    return sorted(known, key=likeness, reverse=True)[:most]


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", text.lower()))
