"""Is it getting better? Accuracy by week and by model, what became of nights, corrections learnt and forgotten. Pure
but for `corrections_of`.

Only the audit stream, a uniform draw of all moments, answers the question (server.review.stats). "Better" is said where
the newest weeks differ from the weeks before by more than chance explains, and else that it cannot be told.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select

from server.admin.nights import NightRun
from server.database import store as db
from server.database.store import Store
from server.dataset import judged
from server.releases.registry import RegisteredModel
from server.review.figures import CourseFigures
from server.review.stats import Group, ReviewedShare

SPAN_WEEKS = 4
WEEKS_SHOWN, NIGHTS_SHOWN = 26, 20
FORGETS_RULE = "forgets nothing"
"""Name of the gate's rule about confirmed corrections (server.gate.against)."""
Course = Literal["better", "worse", "cannot be told", "nothing judged yet"]


@dataclass(frozen=True, slots=True)
class WeeksCompared:
    """The newest weeks against those before."""

    course: Course
    newer: ReviewedShare
    older: ReviewedShare
    difference: tuple[float, float, float] | None
    """(difference, low, high) with 95 %; None where one side has nothing."""


@dataclass(frozen=True, slots=True)
class NightOutcome:
    """What became of one night."""

    at_utc: float
    version: str
    outcome: str
    why: str
    lost: int | None
    """Confirmed corrections that the champion had right and it has not; None = not judged."""
    corrections: int
    """Of how many."""


@dataclass(frozen=True, slots=True)
class CorrectionCounts:
    """What became of the spoken corrections that people confirmed."""

    confirmed: int
    learnt: int
    """Taught at least one version."""
    waiting: int
    """Will teach the next night."""


@dataclass(frozen=True, slots=True)
class Progress:
    """All of it."""

    compared: WeeksCompared
    weeks: tuple[Group, ...]
    models: tuple[Group, ...]
    nights: tuple[NightOutcome, ...]
    outcomes: Mapping[str, int]
    """Outcome → nights, of those that are shown."""
    corrections: CorrectionCounts | None
    forgotten: int
    """Corrections that the version before the champion had right and it has not, of the champion's own night."""


def progress(
    figures: CourseFigures,
    models: Sequence[RegisteredModel],
    runs: Sequence[NightRun],
    *,
    corrections: CorrectionCounts | None,
    champion: str | None,
) -> Progress:
    """runs: of nights, newest first; corrections: None = not counted yet"""
    nights = outcomes(models, runs)
    counted = dict.fromkeys(night.outcome for night in nights)
    return Progress(
        compared=compared(figures.weeks),
        weeks=figures.weeks[-WEEKS_SHOWN:],
        models=figures.models[-WEEKS_SHOWN:],
        nights=nights,
        outcomes={outcome: sum(night.outcome == outcome for night in nights) for outcome in counted},
        corrections=corrections,
        forgotten=_forgotten(models, champion),
    )


def compared(weeks: Sequence[Group]) -> WeeksCompared:
    """The newest SPAN_WEEKS weeks with a judged audit moment against the same number before. weeks: oldest first"""
    shares = [week.audit for week in weeks if week.audit.judged]
    half = min(SPAN_WEEKS, max(1, len(shares) // 2))
    newer, older = _sum(shares[-half:]), _sum(shares[-2 * half : -half])
    found = difference(newer, older)
    if found is None:
        return WeeksCompared("cannot be told" if newer.judged else "nothing judged yet", newer, older, None)
    course: Course = "better" if found[1] > 0 else "worse" if found[2] < 0 else "cannot be told"
    return WeeksCompared(course, newer, older, found)


def _sum(shares: Iterable[ReviewedShare]) -> ReviewedShare:
    listed = list(shares)
    return ReviewedShare(sum(share.right for share in listed), sum(share.judged for share in listed))


def difference(newer: ReviewedShare, older: ReviewedShare) -> tuple[float, float, float] | None:
    """(difference, low, high) of two shares with 95 %, from their Wilson intervals.

    source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10
    """
    if newer.rate is None or older.rate is None or newer.interval is None or older.interval is None:
        return None
    between = newer.rate - older.rate
    down = math.hypot(newer.rate - newer.interval[0], older.interval[1] - older.rate)
    up = math.hypot(newer.interval[1] - newer.rate, older.rate - older.interval[0])
    return between, max(-1.0, between - down), min(1.0, between + up)


def outcomes(models: Iterable[RegisteredModel], runs: Iterable[NightRun]) -> tuple[NightOutcome, ...]:
    """Nights, the newest first: those that made a version, and runs that made none."""
    made = [_made(model) for model in models if "outcome" in model.evaluation and model.evaluation.get("version")]
    known = {night.version for night in made}
    empty = [
        NightOutcome(run.began_utc, "", run.outcome, "; ".join(run.reasons), None, 0)
        for run in runs
        if run.version not in known and run.outcome != "running"
    ]
    return tuple(sorted([*made, *empty], key=lambda night: -night.at_utc)[:NIGHTS_SHOWN])


def _made(model: RegisteredModel) -> NightOutcome:
    evaluation = model.evaluation
    lost, cases = _forgot(evaluation)
    why = "; ".join(map(str, evaluation.get("reasons") or ()))
    return NightOutcome(model.created_at_utc, model.version, str(evaluation["outcome"]), why, lost, cases)


def _forgot(evaluation: Mapping[str, Any]) -> tuple[int | None, int]:
    """(confirmed corrections that were lost, of how many), as the gate counted; (None, 0) where it did not."""
    gate = evaluation.get("gate")
    rules = gate.get("rules") if isinstance(gate, Mapping) else None
    for rule in rules if isinstance(rules, Sequence) else ():
        if isinstance(rule, Mapping) and rule.get("name") == FORGETS_RULE and rule.get("cases"):
            return int(dict(rule.get("figures") or {}).get("lost", 0)), int(rule["cases"])
    return None, 0


def _forgotten(models: Iterable[RegisteredModel], champion: str | None) -> int:
    used = next((model.evaluation for model in models if model.version == champion), {})
    return _forgot(used)[0] or 0


def corrections_of(store: Store, taught: Collection[str]) -> CorrectionCounts:
    """Of all confirmed ones; one line of the database for each. taught: row_ids that taught a version"""
    samples, walks = db.samples.c, db.walks
    corrected = samples.marks.bitwise_and(judged.CORRECTED) != 0
    query = select(samples.row_id, walks.c.split).outerjoin_from(db.samples, walks, walks.c.walk_id == samples.walk_id)
    with store.reading() as connection:
        found = connection.execute(query.where(samples.state == "reviewed", corrected)).all()
    teaching = {one.row_id for one in found if one.split in (None, "train")}
    learnt = sum(row_id in taught for row_id in teaching)
    return CorrectionCounts(len(found), learnt, len(teaching) - learnt)
