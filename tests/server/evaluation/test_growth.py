"""A forecast of what more moments would bring is right where there is a law, and silent where nothing is sure."""

from __future__ import annotations

import numpy as np
import pytest

from server.evaluation import growth
from server.evaluation.growth import CurvePoint, LearningCurve

SIZES = (25, 50, 100, 200, 400)


def curve(
    a: float, b: float, *, cases: int = 400, walks: int = 20, seed: int = 3, thing: str = "curb"
) -> LearningCurve:
    """Held-out moments of which each is wrong up to its own difficulty: error(n) = a · n^-b."""
    difficulty = np.random.default_rng(seed).random(cases)
    sizes = tuple(CurvePoint(n, tuple(bool(one >= a * n**-b) for one in difficulty)) for n in SIZES)
    return LearningCurve(thing, sizes, tuple(f"w-{n % walks}" for n in range(cases)))


def test_the_law_that_made_the_answers_is_found() -> None:
    a, b = growth.fit(SIZES, [round(4000 * 2.0 * n**-0.5) for n in SIZES], 4000)
    assert a == pytest.approx(2.0, rel=0.05)
    assert b == pytest.approx(0.5, abs=0.02)


def test_a_forecast_holds_what_the_law_would_bring() -> None:
    told = growth.forecast(curve(1.6, 0.5), 100)
    assert told.gain is not None
    assert told.interval is not None
    due = 1.6 * (400**-0.5 - 500**-0.5)
    assert told.interval[0] <= due <= told.interval[1]
    assert told.interval[0] <= told.gain <= told.interval[1]
    assert growth.said(curve(1.6, 0.5), told).startswith("100 more moments of curb would bring about +0.0")


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    due, held = 1.6 * (400**-0.5 - 500**-0.5), 0
    for seed in range(16):
        told = growth.forecast(curve(1.6, 0.5, cases=200, seed=seed), 100)
        held += told.interval is not None and told.interval[0] <= due <= told.interval[1]
    assert held >= 12


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (curve(0.3, 0.0), "did not surely help"),
        (curve(1.6, 0.5, cases=12), "12 held-out moments, 20 are needed"),
        (curve(1.6, 0.5, walks=2), "they are of 2 walks, 3 are needed"),
        (LearningCurve("curb", curve(1.6, 0.5).sizes[:2], curve(1.6, 0.5).walks), "2 different numbers"),
    ],
)
def test_what_is_not_sure_is_not_said(of: LearningCurve, why: str) -> None:
    told = growth.forecast(of, 100)
    assert (told.gain, told.interval) == (None, None)
    assert why in growth.said(of, told)
    assert growth.to_dict(of, told)["gain"] is None


def test_a_model_that_errs_nowhere_promises_next_to_nothing() -> None:
    perfect = LearningCurve(
        "", tuple(CurvePoint(n, (True,) * 60) for n in SIZES), tuple(f"w-{n % 6}" for n in range(60))
    )
    told = growth.forecast(perfect, 100)
    assert told.gain is None or told.gain < 0.01
