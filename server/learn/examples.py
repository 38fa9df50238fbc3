"""Which rows of the dataset teach, and how they become examples."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.dataset import material
from server.dataset.sample_row import SampleRow
from server.learn.batches import Example, Layout, from_sentence, mirror, vary
from server.learn.weak import BoxLabels

DEAF = 4
"""Every fourth view of a moment is without its sound: a microphone that fails must not take guidance with it."""


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


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """How rows become examples."""

    variations: int
    """Views of each row: as itself, in a mirror, and as changed pictures."""
    seed: int
    senses: material.Senses = field(default_factory=material.Senses)
    most: int | None = None
    """Examples of all rows; each row then gives fewer of its views, at least one, drawn by lot."""
    boxes: BoxLabels | None = None
    """Says which patches show the thing that a sentence names, for a model with eyes."""


def examples(folder: Path, rows: Sequence[SampleRow], layout: Layout, plan: ViewPlan) -> list[Example]:
    """The views of rows of the dataset in `folder`. Raises: DatasetError."""
    most = plan.variations if plan.most is None else max(1, plan.most // max(1, len(rows)))
    return [view for row in rows for view in _labelled(folder, row, layout, plan, min(plan.variations, most))]


def _labelled(folder: Path, row: SampleRow, layout: Layout, plan: ViewPlan, count: int) -> Sequence[Example]:
    image = material.picture(folder, row)
    views = list(_views(folder, row, image, layout, plan, count))
    return views if plan.boxes is None else plan.boxes.labelled(views, aspect=image.shape[1] / image.shape[0])


def _views(
    folder: Path, row: SampleRow, image: NDArray[np.uint8], layout: Layout, plan: ViewPlan, count: int
) -> Iterator[Example]:
    """`count` of the views that there are of a row and its picture."""
    text = row.ground_truth
    earlier = material.before(folder, row) if plan.senses.before else None
    heard = material.sound(folder, row) if plan.senses.sound else None
    flipped, mirrored = mirror(image, text)
    views = ((image, text, earlier), (flipped, mirrored, None if earlier is None else mirror(earlier, "")[0]))
    number = int.from_bytes(row.sample_id.encode()[-6:], "big")
    rng = np.random.default_rng([plan.seed, number])
    wanted = range(count) if count == plan.variations else sorted(rng.permutation(plan.variations)[:count])
    for index in wanted:
        view, words, previous = views[index % 2]
        if index >= len(views):
            twin = copy.deepcopy(rng)  # both pictures of a moment are changed alike
            view = vary(view, rng)
            previous = None if previous is None else vary(previous, twin)
        deaf = index % DEAF == DEAF - 1
        yield from_sentence(view, words, layout, previous=previous, sound=None if deaf else heard)
