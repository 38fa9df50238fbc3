"""What a model says of each confirmed moment that did not learn from its walk: cross-validation by walk.

walks → folds, by hash → for each: a trial (server.learn.trials) on the other folds → its words for this one
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from server.consent import register as consent
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import meaning
from server.learn import bases, tonight, trials
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.learn.trials import Progress, Trial
from server.review.doubts import Witness, may_doubt
from shared.clock import Clock


@dataclass(frozen=True, slots=True)
class Crossing:
    """How a cross-validation is done."""

    folds: int = 3
    """Trainings: each leaves the moments of one part of the walks out."""
    steps: int = 120
    """Optimiser steps of each."""


def folds_of(rows: Iterable[SampleRow], count: int) -> list[list[SampleRow]]:
    """Rows by fold, whole walks in each; folds without rows are left out. The largest walk goes to the smallest fold
    first, so that few walks fill all folds; among equals a hash decides. Pure."""
    walks: dict[str, list[SampleRow]] = {}
    for row in rows:
        walks.setdefault(row.walk_id, []).append(row)
    folds: list[list[SampleRow]] = [[] for _ in range(count)]
    for walk in sorted(walks, key=lambda name: (-len(walks[name]), hashlib.sha256(name.encode()).hexdigest())):
        min(folds, key=len).extend(walks[walk])
    return [fold for fold in folds if fold]


def witnesses(
    home: Path, settings: LearnSettings, crossing: Crossing, *, progress: Progress, clock: Clock
) -> list[Witness]:
    """Of every confirmed moment that teaches and was not doubted before; none where there are moments of one walk.

    raises: Transient where a night is running; ConfigError, DatasetError, BundleError, OSError
    """
    with tonight.single_flight(home), tonight.room(home), tonight.stoppable(progress) as progress:
        agreed = consent.of_home(home).teaches_others
        view = tonight.view_of(Dataset(home / "dataset"), blurred=settings.blurred, allowed=agreed)
        base = bases.load_base(settings, home, progress)
        taken = tonight.take(view, [], base=base, recipe=Recipe(steps=len(view.rows) + 1))
        for line in taken.put_aside:
            progress(line)
        folds, found = folds_of(taken.teaching, crossing.folds), list[Witness]()
        for number, fold in enumerate(folds if len(folds) > 1 else (), start=1):
            progress(f"part {number} of {len(folds)}: {len(fold)} moments are left out")
            left_out, judged = {row.row_id for row in fold}, [row for row in fold if may_doubt(row)]
            teaching = [row for row in taken.teaching if row.row_id not in left_out]
            heard = trials.run(Trial(home, settings, crossing.steps, teaching, judged, clock), progress=progress)
            found += [
                Witness(one.sample_id, row.walk_id, meaning(row.ground_truth), one.said, one.sure, one.feature)
                for one, row in zip(heard, judged, strict=True)
            ]
        trials.forget(home)
        return found
