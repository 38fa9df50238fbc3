"""Confirmed labels that look like slips go back to review, with the reason. Pure but for `put_back`.

Two witnesses must contradict a label, for each alone is often wrong where the label is right:

    the model        trained without the moment's walk, it says something else, and is sure of it
    the neighbours   of the confirmed moments of other walks that look most alike, few have this label

The score is their product: how sure the model is of its words rather than the label's, and how few neighbours agree
with the label. It orders the queue. A moment goes back once: what a person then says of it stands.

source: scores from models that did not see the label, as in confident learning (arXiv 1911.00068)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.database.store import Store
from server.dataset import row_log
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, next_version
from server.dataset.wording import meaning
from shared import vocabulary


@dataclass(frozen=True, slots=True)
class Witness:
    """What a model that did not learn from a moment's walk makes of it."""

    sample_id: str
    walk_id: str
    label: str
    """The confirmed sentence, "" = silence."""
    said: str
    """What the model would say instead, the same where it agrees."""
    sure: float
    """0..1: how probable its own words are to it, beside those of the label."""
    feature: NDArray[np.float32]
    """[d] of length 1: what the picture looks like to the model's tower."""


@dataclass(frozen=True, slots=True)
class DoubtSettings:
    """When a label is doubted."""

    nearest: int = 7
    """Neighbours that are asked."""
    sure_least: float = 0.8
    """The model, of its own words."""
    support_most: float = 0.3
    """Share of the neighbours that may have the label."""
    most: int = 50
    """Labels that go back at a time: what a person can look at in ten minutes."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that two witnesses contradict."""

    sample_id: str
    label: str
    said: str
    score: float
    """0..1"""
    why: str
    """For the person who looks at it again."""


def doubts(witnesses: Sequence[Witness], settings: DoubtSettings | None = None) -> list[Doubt]:
    """The labels to look at again, the most doubtful first."""
    chosen = settings or DoubtSettings()
    found = []
    for witness, same in zip(witnesses, supports(witnesses, chosen.nearest), strict=True):
        support, asked = same
        if witness.said == witness.label or witness.sure < chosen.sure_least or support > chosen.support_most:
            continue
        score = witness.sure * (1.0 - support)
        why = (
            f"A model that did not learn from this walk says “{_shown(witness.said)}” ({witness.sure:.0%} sure); "
            f"{round(support * asked)} of the {asked} moments that look most alike were labelled as this one."
        )
        found.append(Doubt(witness.sample_id, witness.label, witness.said, round(score, 4), why))
    return sorted(found, key=lambda doubt: (-doubt.score, doubt.sample_id))[: chosen.most]


def supports(witnesses: Sequence[Witness], nearest: int) -> list[tuple[float, int]]:
    """(share of the nearest moments of other walks that have the same label, how many these are) of each.

    Moments of the same walk are no witnesses: who labelled them together slipped with all of them. Nobody to ask: 0.
    """
    if not witnesses:
        return []
    features = np.stack([witness.feature for witness in witnesses])
    walks = np.array([witness.walk_id for witness in witnesses])
    labels = np.array([witness.label for witness in witnesses])
    out = []
    for at in range(len(witnesses)):
        alike = features @ features[at]
        alike[walks == walks[at]] = -np.inf
        near = [place for place in np.argsort(-alike, kind="stable")[:nearest] if np.isfinite(alike[place])]
        same = sum(labels[place] == labels[at] for place in near)
        out.append((float(same) / len(near) if near else 0.0, len(near)))
    return out


def _shown(text: str) -> str:
    return text or vocabulary.CLEAR


def put_back(store: Store, dataset: Dataset, doubted: Sequence[Doubt], *, now_s: float) -> list[SampleRow]:
    """Put these moments back into the review queue, each with its reason; those that were decided anew meanwhile, or
    were doubted before, stay as they are. Returns the new rows. Raises: OSError."""
    changed = []
    with store.writing() as connection:
        for doubt in doubted:
            row = row_log.current(connection, doubt.sample_id)
            if row is None or not may_doubt(row) or meaning(row.ground_truth) != doubt.label:
                continue
            after = replace(row, reviewed=False, was_correct=None, doubt=doubt.why, doubt_score=doubt.score)
            changed.append(next_version(row, after))
            row_log.insert_row(connection, changed[-1], now_s=now_s)
    row_log.flush(store, dataset, now_s=now_s)
    return changed


def may_doubt(row: SampleRow) -> bool:
    """Whether a label may go back: confirmed, and never doubted before."""
    return row.reviewed and not row.doubt


def to_dict(doubt: Doubt) -> dict[str, Any]:
    """As --json prints it."""
    return {name: getattr(doubt, name) for name in ("sample_id", "label", "said", "score", "why")}
