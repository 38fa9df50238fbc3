"""Learning curves: trainings on more and more of the confirmed moments, each judged on the same held-out ones.

The parts are nested: a larger one holds all of a smaller one, walk by walk in the order of a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.consent import register as consent
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import meaning
from server.evaluation.answers import named
from server.evaluation.growth import CurvePoint, LearningCurve
from server.gate import cases
from server.learn import bases, tonight, trials
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.learn.trials import Progress, Trial
from shared.clock import Clock
from shared.errors import Refused


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many trainings, and how long each is."""

    parts: int = 4
    """An eighth, a quarter, a half and all of the moments, for four."""
    steps: int = 120
    """Optimiser steps of each."""

    def counts(self, rows: int) -> list[int]:
        """Moments of each part, rising, without repetition. Pure."""
        halved = (rows // 2**part for part in reversed(range(self.parts)))
        return sorted({count for count in halved if count > 0})


def nested(rows: Sequence[SampleRow]) -> list[SampleRow]:
    """The order of which each part is a beginning: by the hash of the walk, then in order of time. Pure."""
    return sorted(rows, key=lambda row: (hashlib.sha256(row.walk_id.encode()).hexdigest(), row.timestamp, row.row_id))


def measured(
    home: Path, settings: LearnSettings, sizes: Sizes, *, progress: Progress, clock: Clock
) -> list[LearningCurve]:
    """The curve of all moments, then those of each thing that is held out, the most frequent first.

    raises: Refused where nothing teaches or nothing is held out; Transient where a night is running; ConfigError,
        DatasetError, BundleError, OSError
    """
    with tonight.single_flight(home), tonight.room(home), tonight.stoppable(progress) as progress:
        agreed = consent.of_home(home).teaches_others
        view = tonight.view_of(Dataset(home / "dataset"), blurred=settings.blurred, allowed=agreed)
        base = bases.load_base(settings, home, progress)
        taken = tonight.take(view, [], base=base, recipe=Recipe(steps=len(view.rows) + 1))
        for line in taken.put_aside:
            progress(line)
        judged, teaching = cases.held_out(taken.view.rows), nested(taken.teaching)
        if not judged or not teaching:
            raise Refused(
                f"{len(teaching)} confirmed moments teach and {len(judged)} are held out: a curve needs both.",
                hint="Confirm moments, and hold walks out: waycue-server samples hold-out WALK",
            )
        right: dict[int, list[bool]] = {}
        for number in sizes.counts(len(teaching)):
            progress(f"training on {number} of {len(teaching)} moments")
            heard = trials.run(Trial(home, settings, sizes.steps, teaching[:number], judged, clock), progress=progress)
            right[number] = [one.said == meaning(row.ground_truth) for one, row in zip(heard, judged, strict=True)]
        trials.forget(home)
        return curves(teaching, judged, right)


def curves(
    teaching: Sequence[SampleRow], judged: Sequence[SampleRow], right: dict[int, list[bool]]
) -> list[LearningCurve]:
    """Of all moments and of each thing. Pure.

    right: moments that taught, of `teaching` → of each judged moment whether the model was right
    """
    things = [named(row.ground_truth) for row in judged]
    frequent = sorted(set(things) - {""}, key=lambda thing: (-things.count(thing), thing))
    return [_curve(thing, teaching, judged, right) for thing in ("", *frequent)]


def _curve(
    thing: str, teaching: Sequence[SampleRow], judged: Sequence[SampleRow], right: dict[int, list[bool]]
) -> LearningCurve:
    def about(row: SampleRow) -> bool:
        return not thing or named(row.ground_truth) == thing

    at = [place for place, row in enumerate(judged) if about(row)]
    sizes = tuple(
        CurvePoint(sum(map(about, teaching[:number])), tuple(answers[place] for place in at))
        for number, answers in sorted(right.items())
    )
    return LearningCurve(thing, sizes, tuple(judged[place].walk_id for place in at))
