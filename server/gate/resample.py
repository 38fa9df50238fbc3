"""Differences, shares and rates whose unit of resampling is the walk. Pure.

Moments of one walk are alike: a hundred of them are not a hundred witnesses. So walks are drawn with replacement, not
moments (cluster bootstrap, Field & Welsh 2007), and what few walks make too narrow is widened by √(k/(k-1)) and by
Student's t instead of the normal distribution. A bootstrap knows nothing of what was not seen: where no walk has an
error, it gives none a chance. Therefore each interval is the worse of the bootstrap's and Wilson's (or Byar's).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z90, Z95 = 1.6448536, 1.959964
"""Two-sided 90 % and 95 %."""
POWER90 = 1.2815516
"""One-sided 90 %."""
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
        return math.ceil((Z90 + POWER90) ** 2 * changed / margin**2)

    @property
    def chance(self) -> float:
        """How probable so many lost among the changed answers are, were both models equally good (sign test)."""
        changed = self.lost + self.gained
        return sum(math.comb(changed, n) for n in range(self.lost, changed + 1)) / 2**changed if changed else 1.0


def paired(old: Sequence[bool], new: Sequence[bool], walks: Sequence[str], *, resamples: int, seed: int = 1) -> Paired:
    """Compare two models case by case. walks: of each case, its walk."""
    before, after = np.asarray(old, bool), np.asarray(new, bool)
    lost, gained, count = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    low, high = _bootstrap(after.astype(float) - before.astype(float), walks, z=Z90, resamples=resamples, seed=seed)
    if count:
        low = max(-1.0, min(low, gained / count - wilson(lost, count, z=Z90)[1]))
        high = min(1.0, max(high, wilson(gained, count, z=Z90)[1] - lost / count))
    return Paired(count, len(set(walks)), int(before.sum()), int(after.sum()), lost, gained, (low, high))


def share(hits: Sequence[bool], walks: Sequence[str], *, resamples: int, seed: int = 1) -> Interval:
    """95 % interval of a share; 0 to 1 where there is one walk, or none."""
    if len(set(walks)) < 2:
        return 0.0, 1.0
    least, most = wilson(sum(hits), len(hits), z=Z95)
    low, high = _bootstrap(np.asarray(hits, float), walks, z=Z95, resamples=resamples, seed=seed)
    return max(0.0, min(low, least)), min(1.0, max(high, most))


def rate(counts: Sequence[int], minutes: Sequence[float], *, resamples: int, seed: int = 1) -> Interval:
    """95 % interval of events a minute, one entry a walk; 0 to infinity for fewer than two walks."""
    if len(counts) < 2 or sum(minutes) <= 0:
        return 0.0, math.inf
    drawn = _draws(len(counts), resamples, seed)
    events, time = np.asarray(counts, float), np.asarray(minutes, float)
    values = events[drawn].sum(1) / np.maximum(1e-9, time[drawn].sum(1))
    low, high = _widened(float(events.sum() / time.sum()), values, len(counts), z=Z95)
    least, most = byar(int(events.sum()), float(time.sum()))
    return max(0.0, min(low, least)), max(high, most)


def wilson(hits: int, count: int, *, z: float = Z95) -> Interval:
    """Interval of a share of independent cases (Wilson 1927); 0 to 1 where nothing was counted."""
    if not count:
        return 0.0, 1.0
    part, square = hits / count, z * z / count
    half = z / (1 + square) * math.sqrt(part * (1 - part) / count + square / (4 * count))
    centre = (part + square / 2) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def byar(count: int, minutes: float, *, z: float = Z95) -> Interval:
    """Interval of a rate of independent events (Byar; Breslow & Day 1987, volume II, formula 2.13)."""
    more = count + 1
    low = count * (1 - 1 / (9 * count) - z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    return max(0.0, low) / minutes, more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3 / minutes


def cases_for(bound: float, *, z: float) -> int:
    """How many cases without one error it takes before the interval of the error share ends at `bound`."""
    return math.ceil(z * z * (1 - bound) / bound)


def student(z: float, degrees: int) -> float:
    """The quantile of Student's t that belongs to a normal one (Cornish & Fisher 1937): within 1 % from 4 on."""
    if degrees < 1:
        return math.inf
    n = float(degrees)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def _bootstrap(values: NDArray[np.float64], walks: Sequence[str], *, z: float, resamples: int, seed: int) -> Interval:
    """Of the mean of the values, whole walks drawn."""
    names, which = np.unique(np.asarray(walks, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2:
        return -1.0, 1.0
    sums, sizes = np.bincount(which, weights=values), np.bincount(which).astype(float)
    drawn = _draws(len(names), resamples, seed)
    return _widened(float(values.mean()), sums[drawn].sum(1) / sizes[drawn].sum(1), len(names), z=z)


def _draws(walks: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, walks, (resamples, walks))


def _widened(estimate: float, values: NDArray[np.float64], walks: int, *, z: float) -> Interval:
    tail = 0.5 * math.erfc(z / math.sqrt(2))
    low, high = np.quantile(values, [tail, 1 - tail])
    wider = math.sqrt(walks / (walks - 1)) * student(z, walks - 1) / z
    return estimate - wider * (estimate - float(low)), estimate + wider * (float(high) - estimate)
