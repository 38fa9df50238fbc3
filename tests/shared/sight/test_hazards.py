"""What a box is worth: where the thing stands, how near it is for its class, and how sure the detector is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sight import CORRIDOR_M, Box, BoxScoring, Camera, reach, scored
from shared.sight.hazards import standing

CAMERA, PLAIN = Camera(height_m=1.3, pitch_deg=10.0, fov_deg=70.0), BoxScoring()
ASPECTS = [9 / 16, 3 / 4, 4 / 3, 16 / 9]
MIRRORED = {"on the left": "on the right", "on the right": "on the left", "ahead": "ahead"}
OBJECTS = st.sampled_from(["person", "vehicle", "bicycle", "furniture"])


def score(box: Box, *, aspect: float = 4 / 3, scoring: BoxScoring = PLAIN, camera: Camera = CAMERA) -> float:
    """How sure it is, wherever it is; 0 where nothing is said."""
    return max(scored([box], camera, aspect=aspect, scoring=scoring).values(), default=0.0)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = (
        sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1)))),
        sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1)))),
    )
    return Box(draw(OBJECTS), draw(st.floats(0, 1)), left=x[0], top=y[0], right=x[1], bottom=y[1])


SCORINGS = st.builds(BoxScoring, *[st.floats(0.01, 10)] * 4)


@given(boxes(), SCORINGS, st.sampled_from(ASPECTS))
@settings(deadline=None)
def test_scores_are_probabilities(box: Box, scoring: BoxScoring, aspect: float) -> None:
    assert 0.0 <= score(box, aspect=aspect, scoring=scoring) <= 1.0


@given(boxes(), st.sampled_from(ASPECTS))
@settings(deadline=None)
def test_a_mirrored_picture_has_the_same_things_on_the_other_side(box: Box, aspect: float) -> None:
    here = scored([box], CAMERA, aspect=aspect, scoring=PLAIN)
    mirror = replace(box, left=1.0 - box.right, right=1.0 - box.left)
    there = scored([mirror], CAMERA, aspect=aspect, scoring=PLAIN)
    at = standing(box, CAMERA, aspect=aspect)
    if at is not None and min(abs(at.gap_m - CORRIDOR_M), abs((box.left + box.right) / 2 - 0.5)) < 1e-9:
        return  # on the very edge between two sides
    assert {(name, MIRRORED[side]): pytest.approx(value) for (name, side), value in here.items()} == there


@given(boxes(), st.floats(0, 1), SCORINGS, st.sampled_from(ASPECTS))
@settings(deadline=None)
def test_surer_never_lowers_the_score(box: Box, other: float, scoring: BoxScoring, aspect: float) -> None:
    low, high = sorted((box.score, other))
    less, more = (score(replace(box, score=value), aspect=aspect, scoring=scoring) for value in (low, high))
    assert less <= more


@given(boxes(), st.floats(0, 1), SCORINGS, st.sampled_from(ASPECTS))
@settings(deadline=None)
def test_nearer_never_lowers_the_score(box: Box, other: float, scoring: BoxScoring, aspect: float) -> None:
    far, near = sorted((box.bottom, max(other, box.top)))
    less, more = (score(replace(box, bottom=value), aspect=aspect, scoring=scoring) for value in (far, near))
    assert less <= more + 1e-12


@given(boxes(), boxes())
@settings(deadline=None)
def test_another_box_never_lowers_what_one_says(one: Box, other: Box) -> None:
    alone = scored([one], CAMERA, aspect=4 / 3, scoring=PLAIN)
    both = scored([other, one], CAMERA, aspect=4 / 3, scoring=PLAIN)
    assert all(both[key] >= value for key, value in alone.items())


def foot_at(ahead_m: float, *, camera: Camera = CAMERA, aspect: float = 4 / 3) -> float:
    """The row of the ground so far ahead, in the middle column."""
    down = math.atan(camera.height_m / ahead_m) - math.radians(camera.pitch_deg)
    return 0.5 + math.tan(down) * aspect / (2 * math.tan(math.radians(camera.fov_deg) / 2))


@pytest.mark.parametrize("name", ["person", "vehicle", "bicycle"])
def test_on_the_edge_of_its_reach_a_thing_that_is_half_sure_is_worth_one_half(name: str) -> None:
    limit_m = reach(name).ahead_m
    box = Box(name, 0.5, left=0.48, top=0.2, right=0.52, bottom=foot_at(limit_m))
    assert scored([box], CAMERA, aspect=4 / 3, scoring=PLAIN) == {(name, "ahead"): pytest.approx(0.5)}
    assert score(replace(box, bottom=foot_at(limit_m * 1.2))) < 0.4
    assert score(replace(box, bottom=foot_at(limit_m * 0.8))) > 0.6


def test_beside_the_path_both_the_distance_ahead_and_the_gap_count() -> None:
    camera = Camera(height_m=1.5, pitch_deg=0.0, fov_deg=90.0)  # a point at (x, y) is 1.5 / (2y - 1) m away
    near = standing(Box("person", 0.5, left=0.75, top=0.1, right=0.85, bottom=1.0), camera, aspect=1.0)
    assert near is not None
    assert near.side == "on the right"
    assert near.ahead_m == pytest.approx(1.5)
    assert near.gap_m == pytest.approx(1.5 * (2 * 0.775 - 1))  # the inner half of the box
    assert near.used == pytest.approx(max(1.5 / reach("person").beside_m, near.gap_m / reach("person").lateral_m))
    far = standing(Box("person", 0.5, left=0.05, top=0.1, right=0.15, bottom=0.65), camera, aspect=1.0)
    assert far is not None
    assert far.side == "on the left"
    assert far.ahead_m == pytest.approx(5.0)
    assert far.used == pytest.approx(max(5.0 / 3.5, far.gap_m / 1.8))


@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_foot_that_the_lower_edge_cuts_off_is_at_most_as_far_as_that_edge(aspect: float) -> None:
    edge = CAMERA.ground(0.5, 1.0, aspect=aspect)
    at = standing(Box("person", 0.5, left=0.4, top=0.1, right=0.6, bottom=1.0), CAMERA, aspect=aspect)
    assert edge is not None
    assert at is not None
    assert at.ahead_m <= max(edge.ahead_m, 0.3) + 1e-9
    assert at.side == "ahead"


def test_under_a_camera_that_looks_steeply_down_a_thing_is_near_and_not_behind() -> None:
    steep = Camera(height_m=1.3, pitch_deg=60.0, fov_deg=90.0)
    at = standing(Box("person", 0.5, left=0.45, top=0.1, right=0.55, bottom=1.0), steep, aspect=3 / 4)
    assert at is not None
    assert at.ahead_m == 0.3
    assert 0.5 < score(Box("person", 0.5, left=0.45, top=0.1, right=0.55, bottom=1.0), camera=steep) <= 1.0


@pytest.mark.parametrize("name", ["person", "vehicle"])
@pytest.mark.parametrize("aspect", ASPECTS)
def test_what_ends_above_the_horizon_is_no_hazard_however_sure(name: str, aspect: float) -> None:
    horizon = CAMERA.horizon(aspect=aspect)
    poster = Box(name, 0.99, left=0.3, top=max(0.0, horizon - 0.3), right=0.7, bottom=horizon - 0.001)
    assert standing(poster, CAMERA, aspect=aspect) is None
    assert scored([poster], CAMERA, aspect=aspect, scoring=PLAIN) == {}


@given(st.floats(0.0, 1.2), st.floats(1.0, 12.0), st.sampled_from(ASPECTS))
@settings(deadline=None)
def test_what_hangs_below_the_camera_seems_farther_away_than_it_is_and_never_nearer(
    lifted_m: float, ahead_m: float, aspect: float
) -> None:
    """A poster with its lower edge at `lifted_m`, on a wall: by its box alone it is a far thing."""
    down = math.atan((CAMERA.height_m - lifted_m) / ahead_m) - math.radians(CAMERA.pitch_deg)
    row = 0.5 + math.tan(down) * aspect / (2 * math.tan(math.radians(CAMERA.fov_deg) / 2))
    at = standing(Box("person", 0.9, left=0.45, top=0.0, right=0.55, bottom=row), CAMERA, aspect=aspect)
    if at is not None:
        assert at.ahead_m >= ahead_m - 1e-9


def test_of_several_boxes_at_one_side_the_best_counts() -> None:
    near = Box("person", 0.9, left=0.45, top=0.2, right=0.55, bottom=0.95)
    far = replace(near, bottom=0.55)
    assert score(near) > score(far)
    assert scored([far, near, far], CAMERA, aspect=4 / 3, scoring=PLAIN) == {("person", "ahead"): score(near)}


def test_numbers_of_a_manifest_are_read_and_written_and_other_fields_left_alone() -> None:
    fitted = BoxScoring(1.2, 4.0, 0.8)
    assert BoxScoring.from_dict({**fitted.to_dict(), "later": "field"}) == fitted
    assert BoxScoring.from_dict({}) == BoxScoring()
    assert BoxScoring.from_dict({"reach_scale": 2}).reach_scale == 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"score_scale": 0.0}, {"score_scale": -1.0}, {"near_scale": 0}, {"near_scale": -3.3}, {"reach_scale": math.nan},
        {"reach_scale": math.inf}, {"near_scale": math.inf}, {"score_scale": "much"}, {"corridor_m": None},
        {"corridor_m": [1]}, {"reach_scale": 1e300}, {"corridor_m": 0.0}, {"near_scale": 1e300}, {"score_scale": 1e300},
    ],
)  # fmt: skip
def test_numbers_that_would_score_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        BoxScoring.from_dict(wrong)


@given(boxes(), st.sampled_from([1e-3, 100.0]), st.sampled_from([1e-3, 100.0]), st.sampled_from([1e-3, 100.0]))
@settings(deadline=None)
def test_the_most_extreme_numbers_that_are_accepted_still_give_probabilities(
    box: Box, score_scale: float, near_scale: float, reach_scale: float
) -> None:
    scoring = BoxScoring.from_dict({"score_scale": score_scale, "near_scale": near_scale, "reach_scale": reach_scale})
    assert 0.0 <= score(box, scoring=scoring) <= 1.0


def test_a_plain_thing_far_out_of_reach_is_no_hazard_and_a_faint_one_at_hand_neither() -> None:
    def seen_at(at_m: float, sure: float) -> float:
        rows = np.linspace(0.3, 1.0, 4000)
        feet = [(abs(point.ahead_m - at_m), row) for row in rows if (point := CAMERA.ground(0.5, row, aspect=4 / 3))]
        return score(Box("person", sure, left=0.48, top=0.1, right=0.52, bottom=float(min(feet)[1])))

    assert seen_at(2 * reach("person").ahead_m, 0.999) < 0.5 < seen_at(1.2 * reach("person").ahead_m, 0.999)
    assert seen_at(0.8, 0.28) < 0.5 < seen_at(0.8, 0.35)
