"""Which rows of a detector become boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.sight import Box, Camera, pick
from shared.sight.boxes import AREA_LEAST, AREA_MOST, OVERLAP_MOST, SCORE_LEAST
from shared.sight.hazards import BoxScoring, scored

NAMES = (None, "person", "vehicle", "vehicle")
Corners = tuple[float, float, float, float]
MIDDLE: Corners = (0.4, 0.4, 0.9, 0.6)


def picked(*rows: tuple[Corners, tuple[float, float, float, float]]) -> tuple[Box, ...]:
    """rows: top, left, bottom, right, and a score for each of NAMES"""
    corners = np.array([corner for corner, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in rows], np.float32).reshape(-1, 4)
    return pick(corners, scores, NAMES)


def test_a_row_becomes_a_box_of_its_class() -> None:
    (box,) = picked((MIDDLE, (0.9, 0.8, 0.0, 0.0)))
    assert box.object == "person"
    assert box.score == pytest.approx(0.8)
    assert (box.top, box.left, box.bottom, box.right) == pytest.approx(MIDDLE)
    assert box.area == pytest.approx(0.1)


def test_nothing_is_said_of_classes_without_a_name_nor_of_no_rows() -> None:
    assert picked((MIDDLE, (0.99, 0.0, 0.0, 0.0))) == ()
    assert picked() == ()


def test_two_classes_of_one_object_are_one_thing_with_the_better_score() -> None:
    (box,) = picked((MIDDLE, (0.0, 0.0, 0.4, 0.7)))
    assert box.object == "vehicle"
    assert box.score == pytest.approx(0.7)


def test_of_overlapping_boxes_of_an_object_the_best_stays_and_another_object_keeps_its_own() -> None:
    moved: Corners = (0.4, 0.41, 0.9, 0.61)
    boxes = picked(
        (moved, (0.0, 0.6, 0.0, 0.0)),
        (MIDDLE, (0.0, 0.8, 0.0, 0.0)),
        (MIDDLE, (0.0, 0.0, 0.5, 0.0)),
        (moved, (0.0, 0.0, 0.0, 0.45)),
    )
    assert [(box.object, round(box.score, 2)) for box in boxes] == [("person", 0.8), ("vehicle", 0.5)]


def test_boxes_that_overlap_less_than_half_are_two_things() -> None:
    beside: Corners = (0.4, 0.48, 0.9, 0.68)  # 0.12 of 0.28 are common
    assert len(picked((MIDDLE, (0, 0.8, 0, 0)), (beside, (0, 0.6, 0, 0)))) == 2


def test_a_box_over_nearly_the_whole_picture_is_an_error_of_the_detector() -> None:
    assert picked(((0.0, 0.0, 1.0, 1.0), (0, 0.0, 0.99, 0))) == ()
    assert picked(((-0.3, -0.2, 1.4, 1.1), (0, 0.0, 0.99, 0))) == ()
    assert len(picked(((0.3, 0.0, 1.0, 0.95), (0, 0.0, 0.99, 0)))) == 1


def test_specks_and_doubtful_rows_are_left_out() -> None:
    side = math.sqrt(AREA_LEAST)
    assert picked(((0.5, 0.5, 0.5 + side * 0.9, 0.5 + side * 0.9), (0, 0.9, 0, 0))) == ()
    assert len(picked(((0.5, 0.5, 0.5 + side * 1.1, 0.5 + side * 1.1), (0, 0.9, 0, 0)))) == 1
    assert picked((MIDDLE, (0, SCORE_LEAST - 0.01, 0, 0))) == ()


def test_what_reaches_over_an_edge_is_cut_there_and_a_box_turned_over_is_none() -> None:
    (box,) = picked(((0.5, -0.2, 1.3, 0.3), (0, 0.9, 0, 0)))
    assert (box.top, box.left, box.bottom, box.right) == pytest.approx((0.5, 0.0, 1.0, 0.3))
    for turned in ((0.9, 0.4, 0.4, 0.6), (0.4, 0.6, 0.9, 0.4), (0.9, 0.6, 0.4, 0.4)):
        assert picked((turned, (0, 0.9, 0, 0))) == ()


ANY = st.floats(width=32)  # infinities and what is no number among them
SHARE = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(st.tuples(*[ANY | SHARE] * 4), st.tuples(*[ANY | SHARE] * 4)), max_size=12))
@settings(deadline=None)
def test_a_damaged_network_raises_nothing_and_every_box_is_in_the_picture(
    rows: list[tuple[Corners, tuple[float, float, float, float]]],
) -> None:
    boxes = picked(*rows)
    for box in boxes:
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
        assert SCORE_LEAST <= box.score <= 1
        assert AREA_LEAST <= box.area <= AREA_MOST + 1e-9
    assert [box.score for box in boxes] == sorted((box.score for box in boxes), reverse=True)
    scores = scored(boxes, Camera(), aspect=4 / 3, scoring=BoxScoring())
    assert all(0 <= score <= 1 for score in scores.values())


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", range(4))
def test_a_row_with_a_corner_that_is_no_number_is_no_box(wrong: float, at: int) -> None:
    corners = list(MIDDLE)
    corners[at] = wrong
    sound: Corners = (0.5, 0.1, 0.9, 0.3)
    boxes = picked((tuple(corners), (0, 0.9, 0, 0)), (sound, (0, 0.8, 0, 0)))  # type: ignore[arg-type]
    assert [round(box.score, 2) for box in boxes] == [0.8]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 3.0, -3.0])
def test_a_score_that_is_no_probability_is_no_box_and_hides_no_other_row(wrong: float) -> None:
    sound: Corners = (0.5, 0.1, 0.9, 0.3)
    boxes = picked((MIDDLE, (0, wrong, 0, 0)), (sound, (0, 0.8, 0, 0)))
    assert [round(box.score, 2) for box in boxes] == [0.8]


def boxes_of(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    centre, half = rng.uniform(0.2, 0.8, (40, 2)), rng.uniform(0.04, 0.3, (40, 2))
    corners = np.concatenate([centre - half, centre + half], axis=1)
    return corners.astype(np.float32), rng.uniform(0, 1, (40, 4)).astype(np.float32)


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_no_two_boxes_of_an_object_overlap_by_half_and_each_that_was_left_out_overlaps_a_better_one(seed: int) -> None:
    corners, scores = boxes_of(seed)
    kept = [box for box in pick(corners, scores, NAMES) if box.object == "person"]
    everything = [box for row in range(40) for box in pick(corners[[row]], scores[[row]], (None, "person", None, None))]
    for at, box in enumerate(kept):
        assert all(overlap(box, better) <= OVERLAP_MOST for better in kept[:at])
    for box in everything:
        assert box in kept or any(overlap(box, other) > OVERLAP_MOST and other.score >= box.score for other in kept)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    wide = max(0.0, min(one.right, other.right) - max(one.left, other.left))
    high = max(0.0, min(one.bottom, other.bottom) - max(one.top, other.top))
    return wide * high / (one.area + other.area - wide * high)
