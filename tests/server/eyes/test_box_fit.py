"""The numbers between a box and a score, fitted to what people said."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import _box_fit as box_fit
from benchmarks._box_fit import BoxMoment
from shared import vocabulary
from shared.sight import Box, BoxScoring, Camera, scored

CAMERA, ASPECT = Camera(), 4 / 3
RNG = np.random.default_rng(3)


def box(at_m: float, score: float, *, aside_m: float = 0.0, name: str = "person") -> Box:
    """A narrow thing at this distance: its foot is searched for along the picture's rows."""
    rows = np.linspace(0.4, 1.0, 2000)
    points = [CAMERA.ground(0.5, float(row), aspect=ASPECT) for row in rows]
    foot = min(
        (row for row, point in zip(rows, points, strict=True) if point is not None),
        key=lambda row: abs(CAMERA.ground(0.5, float(row), aspect=ASPECT).ahead_m - at_m),  # type: ignore[union-attr]
    )
    edge = CAMERA.ground(1.0, float(foot), aspect=ASPECT)
    assert edge is not None
    middle = 0.5 + 0.5 * aside_m / edge.lateral_m
    return Box(name, score, middle - 0.02, float(foot) - 0.3, middle + 0.02, float(foot))


def moments(reach_m: float, *, count: int = 120, sure: float = 0.5) -> list[BoxMoment]:
    """People name what is nearer than this, and nothing else."""
    out = []
    for at_m in RNG.uniform(1.0, 12.0, count):
        text = "Caution, person ahead." if at_m < reach_m else vocabulary.CLEAR
        out.append(BoxMoment((box(float(at_m), sure),), ASPECT, text))
    return out


def score(scoring: BoxScoring, at_m: float, sure: float = 0.5) -> float:
    return scored([box(at_m, sure)], CAMERA, aspect=ASPECT, scoring=scoring).get(("person", "ahead"), 0.0)


@pytest.mark.parametrize("reach_m", [3.0, 5.0, 8.0])
def test_what_people_warn_of_becomes_likelier_than_not_and_the_rest_does_not(reach_m: float) -> None:
    fitted = box_fit.fit(moments(reach_m), CAMERA)
    assert score(fitted, reach_m * 0.7) > 0.5 > score(fitted, reach_m * 1.4)


def test_a_wider_path_is_learnt_from_what_is_called_ahead() -> None:
    beside = [
        BoxMoment(
            (box(3.0, 0.6, aside_m=float(aside)),),
            ASPECT,
            "Caution, person ahead." if abs(aside) < 0.9 else SIDES[int(aside > 0)],
        )
        for aside in RNG.uniform(-1.7, 1.7, 120)
    ]
    assert 0.6 < box_fit.fit(beside, CAMERA).corridor_m < 1.2


SIDES = ("Caution, person on the left.", "Caution, person on the right.")


def test_few_moments_stay_near_the_defaults_and_none_change_nothing() -> None:
    few = box_fit.fit(moments(5.0, count=3), CAMERA)
    assert abs(few.score_scale - BoxScoring().score_scale) < 1.5
    silent = [BoxMoment((), ASPECT, vocabulary.CLEAR), BoxMoment((box(2.0, 0.5),), ASPECT, "Turn right.")]
    assert box_fit.fit(silent, CAMERA) == BoxScoring()
    assert box_fit.fit([], CAMERA, start=few) == few


def test_moments_that_contradict_each_other_give_finite_numbers_that_a_bundle_takes() -> None:
    mixed = [BoxMoment((box(4.0, 0.6),), ASPECT, text) for text in ("Caution, person ahead.", vocabulary.CLEAR) * 20]
    fitted = box_fit.fit(mixed, CAMERA)
    assert BoxScoring.from_dict(fitted.to_dict()) == fitted
    assert 0.3 < score(fitted, 4.0, 0.6) < 0.7
