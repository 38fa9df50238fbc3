"""What a moment is worth to the dataset: the order in which moments are deleted where space is needed. Pure.

rejected      a person said that it teaches nothing
ordinary      reviewed; nothing special had happened (flagged by chance alone, or not at all), and the model was right
agreed        reviewed; flagged for a reason, and the model was right
unreviewed    nobody has looked yet
confirmed     reviewed; the model was wrong, or the wearer corrected it; or it judges new models (held out)
golden        reviewed, or put there by hand: models are calibrated on it, and devices test them on it
"""

from __future__ import annotations

from enum import IntEnum

from server.dataset.sample_row import SampleRow

_BY_CHANCE = frozenset(("audit", "predecessor"))


class Worth(IntEnum):
    """Kept in a column of `samples`; the smallest goes first."""

    REJECTED = 0
    ORDINARY = 1
    AGREED = 2
    UNREVIEWED = 3
    CONFIRMED = 4
    GOLDEN = 5
    UNKNOWN = 9
    """Of folds that an older version wrote, until server.dataset.rollups has filled them: they stay."""


def worth_of(row: SampleRow) -> Worth:
    """Of a moment whose newest row this is."""
    if row.golden:
        return Worth.GOLDEN
    if row.state == "rejected":
        return Worth.REJECTED
    if row.state == "pending":
        return Worth.UNREVIEWED
    if is_golden(row):
        return Worth.GOLDEN
    if row.split == "held_out" or row.correction_id or not row.was_correct:
        return Worth.CONFIRMED
    return Worth.ORDINARY if _BY_CHANCE.issuperset(row.flags) else Worth.AGREED


def is_golden(row: SampleRow) -> bool:
    """Whether a moment is in the golden set."""
    return row.split == "golden" if row.golden is None else row.golden
