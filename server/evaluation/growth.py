"""How much more moments would bring: a power law through what was right with fewer of them. Pure.

    error(n) = a · n^-b      a line in log n and log error, each size weighed by how well it is known

Its interval comes from drawing the walks that were judged on anew, as the gate does. Where the line does not surely
fall, or too little was judged, nothing is said: a figure would be read as a promise.

source: learning curves as power laws, arXiv 1712.00409; weights by the delta method, var(log e) = (1 - e) / (n e)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CASES_LEAST, WALKS_LEAST, SIZES_LEAST = 20, 3, 3
"""With fewer held-out moments, walks or sizes nothing is said."""
RESAMPLES = 400
CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A model that learnt from so many moments of a thing, on all held-out ones."""

    taught: int
    right: tuple[bool, ...]
    """Of each held-out moment, in the same order for every size."""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Of one thing, or of all."""

    thing: str
    """"" = all."""
    sizes: tuple[CurvePoint, ...]
    """Rising."""
    walks: tuple[str, ...]
    """Of each held-out moment its walk: moments of one are alike."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What so many more moments would bring."""

    more: int
    gain: float | None
    """Of the share that is right; None = not enough to say."""
    interval: tuple[float, float] | None
    why_not: str = ""


def fit(taught: Sequence[int], wrong: Sequence[int], of: int) -> tuple[float, float]:
    """(a, b) of the power law. wrong: moments of `of`, at each size; sizes above 0"""
    errors = (np.asarray(wrong, float) + 0.5) / (of + 1.0)  # none wrong is not no error
    weights = of * errors / np.maximum(1e-3, 1.0 - errors)
    x, y = np.log(np.asarray(taught, float)), np.log(errors)
    middle_x, middle_y = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = float((weights * (x - middle_x) ** 2).sum())
    slope = float((weights * (x - middle_x) * (y - middle_y)).sum()) / spread if spread else 0.0
    return float(np.exp(middle_y - slope * middle_x)), -slope


def error(law: tuple[float, float], taught: float) -> float:
    """Of a fitted law, at most 1."""
    a, b = law
    return float(min(1.0, a * taught**-b))


def forecast(curve: LearningCurve, more: int, *, seed: int = 1) -> Forecast:
    """What `more` moments of the curve's thing would bring."""
    sizes = [size for size in curve.sizes if size.taught > 0]
    why = _too_little(curve, len({size.taught for size in sizes}))
    if why:
        return Forecast(more, None, None, why)
    right = np.array([size.right for size in sizes], bool)
    taught = [size.taught for size in sizes]

    def gain(chosen: NDArray[np.intp]) -> float:
        law = fit(taught, [int((~row).sum()) for row in right[:, chosen]], len(chosen))
        return error(law, taught[-1]) - error(law, taught[-1] + more)

    whole = gain(np.arange(right.shape[1]))
    draws = [gain(chosen) for chosen in _redrawn(curve.walks, seed)]
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if low <= 0:
        return Forecast(more, None, None, "more moments did not surely help so far")
    return Forecast(more, round(whole, 4), (round(float(low), 4), round(float(high), 4)))


def _redrawn(walks: Sequence[str], seed: int) -> Iterator[NDArray[np.intp]]:
    """Places of the moments of as many walks, drawn anew with replacement, RESAMPLES times."""
    names, of_walk = np.unique(np.asarray(walks), return_inverse=True)
    members = [np.flatnonzero(of_walk == number) for number in range(len(names))]
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.concatenate([members[number] for number in rng.integers(0, len(members), len(members))])


def _too_little(curve: LearningCurve, sizes: int) -> str:
    cases, walks = len(curve.walks), len(set(curve.walks))
    if cases < CASES_LEAST:
        return f"{cases} held-out moments, {CASES_LEAST} are needed"
    if walks < WALKS_LEAST:
        return f"they are of {walks} walks, {WALKS_LEAST} are needed"
    if sizes < SIZES_LEAST:
        return f"{sizes} different numbers of moments taught, {SIZES_LEAST} are needed"
    return ""


def said(curve: LearningCurve, of: Forecast) -> str:
    """In words."""
    thing = f" of {curve.thing}" if curve.thing else ""
    if of.gain is None or of.interval is None:
        return f"{of.more} more moments{thing}: not enough to say ({of.why_not})."
    low, high = of.interval
    return f"{of.more} more moments{thing} would bring about +{of.gain:.2f} ({low:.2f} to {high:.2f})."


def to_dict(curve: LearningCurve, of: Forecast) -> dict[str, Any]:
    """As plain JSON."""
    return {
        "thing": curve.thing,
        "cases": len(curve.walks),
        "walks": len(set(curve.walks)),
        "sizes": [{"taught": size.taught, "right": sum(size.right)} for size in curve.sizes],
        "more": of.more,
        "gain": of.gain,
        "interval": None if of.interval is None else list(of.interval),
        "why_not": of.why_not,
        "said": said(curve, of),
    }
