"""Which rows of the dataset teach, and which judge what was taught. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.dataset.sample_row import SampleRow
from shared import hidden, vocabulary


def may_teach(text: str) -> bool:
    """Whether a confirmed sentence can be a target: silence, or clean under the grammar."""
    return text == "" or not vocabulary.problems(text)


def whole(rows: Iterable[SampleRow], *, blurred: bool) -> list[SampleRow]:
    """Rows whose picture shows what was confirmed of it. blurred: of the pictures of which something was hidden, those
    that still do; else none of them"""

    def shown(row: SampleRow) -> bool:
        return hidden.is_untouched(row.hidden) or (blurred and hidden.shows(row.hidden, row.ground_truth))

    return [row for row in rows if shown(row)]


def training_rows(rows: Sequence[SampleRow]) -> list[SampleRow]:
    """Rows of the training split, golden moments left out, that a person confirmed with words the vocabulary knows, or
    as silence."""
    return [
        row for row in rows if row.reviewed and row.split == "train" and not row.golden and may_teach(row.ground_truth)
    ]


def judging_rows(rows: Sequence[SampleRow]) -> list[SampleRow]:
    """Rows that a night is judged or calibrated on: confirmed ones that are held out or golden, and every verified
    correction."""
    kept = (row for row in rows if row.reviewed and may_teach(row.ground_truth))
    return [row for row in kept if row.split != "train" or row.golden or row.correction_id]
