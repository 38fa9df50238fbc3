"""Differences, shares and rates whose unit of resampling is the walk. Pure.

Moments of one walk are alike: a hundred of them are not a hundred witnesses. So walks are drawn with replacement, not
moments (cluster bootstrap, Field & Welsh 2007), and what few walks make too narrow is widened by √(k/(k-1)) and by
Student's t instead of the normal distribution. A bootstrap knows nothing of what was not seen: where no walk has an
error, it gives none a chance. Therefore each interval is the worse of the bootstrap's and Wilson's (or Poisson's).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from server.evaluation.measures import poisson, wilson

CONFIDENCE = 0.95
"""Of the intervals of shares and rates."""
PAIRED_CONFIDENCE = 0.9
"""Of the difference of two models: one-sided, it is 95 %."""
POWER = 0.9
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Paired:
    """The same cases under two models."""

    cases: int
    walks: int
    old_right: int
    new_right: int
    lost: int
    """Right before, wrong now."""
    gained: int
    interval: Interval
    """90 % interval of the share of the new less that of the old; -1 to 1 for a single walk."""

    @property
    def difference(self) -> float:
        return (self.new_right - self.old_right) / max(1, self.cases)

    def cases_to_tell(self, margin: float) -> int:
        """How many cases it takes before an equal model passes a margin nine times in ten, with answers that change as
        often as these did. On fewer, the lower end of the interval says more of their number than of the model.

        source: sample size of a non-inferiority test of paired shares (Nam 1997), normal approximation
        """
        changed = (self.lost + self.gained + 1) / (self.cases + 2)
        return math.ceil((_z(PAIRED_CONFIDENCE) + float(stats.norm.ppf(POWER))) ** 2 * changed / margin**2)

    @property
    def chance(self) -> float:
        """How probable so many lost among the changed answers are, were both models equally good (sign test)."""
        return float(stats.binom.sf(self.lost - 1, self.lost + self.gained, 0.5))


def paired(old: Sequence[bool], new: Sequence[bool], walks: Sequence[str], *, resamples: int, seed: int = 1) -> Paired:
    """Compare two models case by case. walks: of each case, its walk."""
    before, after = np.asarray(old, bool), np.asarray(new, bool)
    lost, gained, count = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    change, sure = after.astype(float) - before.astype(float), PAIRED_CONFIDENCE
    low, high = _bootstrap(change, walks, confidence=sure, resamples=resamples, seed=seed)
    if count:
        low = max(-1.0, min(low, gained / count - wilson(lost, count, sure)[1]))
        high = min(1.0, max(high, wilson(gained, count, sure)[1] - lost / count))
    return Paired(count, len(set(walks)), int(before.sum()), int(after.sum()), lost, gained, (low, high))


def share(hits: Sequence[bool], walks: Sequence[str], *, resamples: int, seed: int = 1) -> Interval:
    """95 % interval of a share; 0 to 1 where there is one walk, or none."""
    if len(set(walks)) < 2:
        return 0.0, 1.0
    least, most = wilson(sum(hits), len(hits), CONFIDENCE)
    low, high = _bootstrap(np.asarray(hits, float), walks, confidence=CONFIDENCE, resamples=resamples, seed=seed)
    return max(0.0, min(low, least)), min(1.0, max(high, most))


def rate(counts: Sequence[int], minutes: Sequence[float], *, resamples: int, seed: int = 1) -> Interval:
    """95 % interval of events a minute, one entry a walk; 0 to infinity for fewer than two walks."""
    if len(counts) < 2 or sum(minutes) <= 0:
        return 0.0, math.inf
    drawn = _draws(len(counts), resamples, seed)
    events, time = np.asarray(counts, float), np.asarray(minutes, float)
    values = events[drawn].sum(1) / np.maximum(1e-9, time[drawn].sum(1))
    low, high = _widened(float(events.sum() / time.sum()), values, len(counts), confidence=CONFIDENCE)
    least, most = (events_of / float(time.sum()) for events_of in poisson(int(events.sum()), CONFIDENCE))
    return max(0.0, min(low, least)), max(high, most)


def ratio_difference(
    one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]], *, resamples: int, seed: int = 1
) -> Interval:
    """95 % interval of the ratio of sums of one group less that of the other; each entry a unit that is drawn whole.

    one, other: (numerator, denominator) of each unit, at least two each, denominators not all 0
    """
    drawn, estimate = [], 0.0
    for sign, units, offset in ((1, one, 0), (-1, other, 1)):
        values = np.asarray(units, float)
        sums = values[_draws(len(values), resamples, seed + offset)].sum(1)
        whole = values.sum(0)
        ratio = whole[0] / whole[1]
        estimate += sign * ratio
        drawn.append(sign * np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1e-12), ratio))
    return _widened(float(estimate), drawn[0] + drawn[1], min(len(one), len(other)), confidence=CONFIDENCE)


def cases_for(bound: float, *, confidence: float = CONFIDENCE) -> int:
    """How many cases without one error it takes before Wilson's interval of the error share ends at `bound`."""
    return math.ceil(_z(confidence) ** 2 * (1 - bound) / bound)


def _z(confidence: float) -> float:
    """The normal quantile of a two-sided interval."""
    return float(stats.norm.isf((1 - confidence) / 2))


def _bootstrap(
    values: NDArray[np.float64], walks: Sequence[str], *, confidence: float, resamples: int, seed: int
) -> Interval:
    """Of the mean of the values, whole walks drawn."""
    names, which = np.unique(np.asarray(walks, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2:
        return -1.0, 1.0
    sums, sizes = np.bincount(which, weights=values), np.bincount(which).astype(float)
    drawn = _draws(len(names), resamples, seed)
    return _widened(float(values.mean()), sums[drawn].sum(1) / sizes[drawn].sum(1), len(names), confidence=confidence)


def _draws(walks: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, walks, (resamples, walks))


def _widened(estimate: float, values: NDArray[np.float64], walks: int, *, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    wider = math.sqrt(walks / (walks - 1)) * float(stats.t.isf(tail, walks - 1)) / _z(confidence)
    return estimate - wider * (estimate - float(low)), estimate + wider * (float(high) - estimate)
