"""Which rows of the dataset teach, and how they become examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from server.dataset.sample_row import SampleRow
from server.learn.batches import Layout
from server.learn.views import Rows, ViewPlan

__all__ = ["Rows", "ViewPlan", "examples", "tonight"]


def tonight(teaching: Sequence[SampleRow], new: Sequence[SampleRow], *, most: int, seed: int) -> list[SampleRow]:
    """The rows that teach in one night, in the order of `teaching`: all, or `most` of them where there are more.

    A night draws so many pictures and no more, whatever the dataset holds. Half of the places then go to rows that no
    version has seen yet, the others to any: what is new comes in over some nights, what was learnt is not forgotten.
    """
    if len(teaching) <= most:
        return list(teaching)
    rng = np.random.default_rng([seed, len(teaching) - len(new)])
    first = {new[at].row_id for at in rng.permutation(len(new))[: most // 2]}
    others = [row.row_id for row in teaching if row.row_id not in first]
    chosen = first | {others[at] for at in rng.permutation(len(others))[: most - len(first)]}
    return [row for row in teaching if row.row_id in chosen]


def examples(folder: Path, rows: Sequence[SampleRow], layout: Layout, plan: ViewPlan) -> Rows:
    """The views of rows of the dataset in `folder`, each made when it is asked for. Raises: DatasetError."""
    return Rows(folder, rows, layout, plan)
