"""Proportions, rates, spreads and calibration: the statistics of an evaluation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
FEW = 5
"""Fewer walks than this are not drawn as wholes for an interval, but in stretches."""
RESAMPLES = 2000


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a proportion (Wilson 1927), 0..1; (0, 1) where nothing was counted."""
    from scipy import stats  # it takes a second

    if not count:
        return 0.0, 1.0
    interval = stats.binomtest(hits, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def poisson(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of the expected number of events where `count` were counted (Garwood 1936)."""
    from scipy import stats  # it takes a second

    tail = (1 - confidence) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(stats.chi2.isf(tail, 2 * count + 2)) / 2


def ratio(part: float, whole: float, *, digits: int = 4) -> float | None:
    """part / whole, rounded; None where the whole is 0."""
    return round(part / whole, digits) if whole else None


@dataclass(frozen=True, slots=True)
class Proportion:
    """`hits` of `count`, with its 95 % Wilson interval. `share` is None where nothing was counted."""

    hits: int
    count: int
    share: float | None
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, count: int) -> Proportion:
        low, high = wilson(hits, count)
        return cls(hits, count, ratio(hits, count), round(low, 4), round(high, 4))


@dataclass(frozen=True, slots=True)
class EventRate:
    """`count` in `minutes`, with the exact 95 % Poisson interval. `per_minute` is None where no time passed."""

    count: int
    minutes: float
    per_minute: float | None
    low: float
    high: float | None

    @classmethod
    def of(cls, count: int, seconds: float) -> EventRate:
        minutes = seconds / 60
        if minutes <= 0:
            return cls(count, 0.0, None, 0.0, None)
        return cls(count, round(minutes, 3), *(round(value / minutes, 4) for value in (count, *poisson(count))))


@dataclass(frozen=True, slots=True)
class Spread:
    """How values spread; None where there are none."""

    count: int
    p5: float | None
    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if not values:
            return cls(0, None, None, None, None)
        return cls(len(values), *(percentile(values, q) for q in (5, 50, 95, 99)))


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about one confidence."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean confidence."""
    right: float
    """Share that was right."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Does a confidence of 0.8 mean right in 8 of 10?"""

    count: int
    ece: float | None
    """Expected calibration error: mean over answers of |confidence - share right| of their bin (Naeini et al. 2015)."""
    most: float | None
    """The largest such difference among bins of at least 20 answers."""
    brier: float | None
    """Mean squared difference between confidence and right (1) or wrong (0)."""
    bins: tuple[Bin, ...]
    """Only those that hold answers."""


AUC_STEPS = 2000
"""Scores are told apart to a 2000th: an AUC is right to 0.0005, and drawing walks anew costs additions alone."""


def auc(runs: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]], *, seed: int = 1) -> list[float] | None:
    """Area under the ROC curve, with its 95 % bootstrap interval over runs.

    runs: of each walk (scores [n], 0..1; whether it is so [n])
    returns: [value, low, high]; None where one of the two never is
    """
    tables = [np.stack([_steps(scores[~so]), _steps(scores[so])]) for scores, so in runs]
    if not tables or not np.sum(tables, axis=(0, 2)).all():
        return None
    counts, rng = np.stack(tables).astype(np.float64), np.random.default_rng(seed)
    drawn = [_area(counts[rng.integers(0, len(counts), len(counts))].sum(0)) for _ in range(RESAMPLES // 4)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return [round(float(value), 4) for value in (_area(counts.sum(0)), low, high)]


def _steps(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    at = np.clip((scores * AUC_STEPS).astype(np.int64), 0, AUC_STEPS - 1)
    return np.bincount(at, minlength=AUC_STEPS)


def _area(counts: NDArray[np.float64]) -> float:
    """counts: [2, steps] of those that are not so, and of those that are; nan where one of the two is missing."""
    against, so = counts
    below = np.cumsum(against) - against / 2
    pairs = against.sum() * so.sum()
    return float((so * below).sum() / pairs) if pairs else float("nan")


def calibration(
    confidences: Sequence[float] | NDArray[np.float32], right: Sequence[bool] | NDArray[np.bool_], *, bins: int = BINS
) -> Reliability:
    """Equal-width bins over 0..1; the topmost includes 1."""
    if not len(confidences):
        return Reliability(0, None, None, None, ())
    sure, hit = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    which = np.minimum((sure * bins).astype(int), bins - 1)
    filled = []
    for index in range(bins):
        mine = which == index
        if mine.any():
            mean, share = float(sure[mine].mean()), float(hit[mine].mean())
            filled.append(Bin(index / bins, (index + 1) / bins, int(mine.sum()), round(mean, 4), round(share, 4)))
    gaps = [(bin_.count, abs(bin_.confidence - bin_.right)) for bin_ in filled]
    return Reliability(
        len(sure),
        round(sum(count * gap for count, gap in gaps) / len(sure), 4),
        max((round(gap, 4) for count, gap in gaps if count >= 20), default=None),
        round(float(((sure - hit) ** 2).mean()), 4),
        tuple(filled),
    )


def f1(hit: float, false: float, missed: float) -> float | None:
    """2·hit / (2·hit + false + missed); None where there was nothing to find and nothing was found."""
    return ratio(2 * hit, 2 * hit + false + missed)


def f1_interval(counts: Sequence[tuple[int, int, int]], *, seed: int = 1) -> tuple[float, float] | None:
    """95 % bootstrap interval of the micro-averaged F1 over moments with (hit, false, missed) each.

    Moments are drawn as if independent; within one drive neighbours are alike, so the true interval is wider.
    """
    if not counts:
        return None
    table: NDArray[np.int64] = np.asarray(counts, np.int64)
    rng = np.random.default_rng(seed)
    sums = np.stack([table[rng.integers(0, len(table), len(table))].sum(0) for _ in range(RESAMPLES)]).astype(float)
    values = 2 * sums[:, 0] / np.maximum(1.0, 2 * sums[:, 0] + sums[:, 1] + sums[:, 2])
    low, high = np.quantile(values, [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def percentile(values: Sequence[float], q: float) -> float:
    return round(float(np.percentile(np.asarray(values), q)), 3) if len(values) else 0.0
