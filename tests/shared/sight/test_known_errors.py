"""The known errors of detectors: what each costs, and what catches it."""

from __future__ import annotations

import numpy as np
import pytest

from shared.sight import Box, BoxScoring, Camera, Sight, View, follow, followed, pick, scored
from shared.sight.turning import Thumb
from tests.shared.sight.street import ASPECT, Thing, Walker

THRESHOLD = 0.5
CAMERA = Camera(1.3, 10.0, 62.0)
VIEW = View(CAMERA, BoxScoring(), ASPECT)
WALL: Thumb = np.random.default_rng(1).normal(0, 30, (58, 128)).astype(np.float32)


def score_of(box: Box) -> float:
    return max(scored([box], CAMERA, aspect=ASPECT, scoring=VIEW.scoring).values(), default=0.0)


def walked(boxes: list[Box | None]) -> Sight:
    sight = Sight()
    for number, box in enumerate(boxes):
        sight = follow(sight, WALL, () if box is None else (box,), VIEW, number / 4)
    return sight


def test_a_box_over_the_whole_picture_is_dropped_before_anything_looks_at_it() -> None:
    corners = np.array([[0.01, 0.02, 0.99, 0.98]], np.float32)
    assert pick(corners, np.array([[0.97]], np.float32), ("vehicle",)) == ()


@pytest.mark.parametrize("bottom", [0.30, 0.34])
def test_a_poster_that_hangs_above_the_horizon_is_nowhere(bottom: float) -> None:
    """The horizon of this camera is at 0.30; what hangs lower on a wall seems far away, not near."""
    poster = Box("person", 0.95, 0.45, 0.05, 0.55, bottom)
    assert score_of(poster) < THRESHOLD


def test_a_poster_on_a_wall_that_is_walked_up_to_never_comes() -> None:
    """It hangs from 1 m to 2 m: its foot seems at four times its distance, and it as four times as tall."""
    walker = Walker(CAMERA, speed_mps=1.3)
    poster = Thing("person", 0.2, 9.0, wide_m=0.6, deep_m=0.0, tall_m=2.0)
    low = Thing("person", 0.2, 9.0, wide_m=0.6, deep_m=0.0, tall_m=1.0)
    boxes = [_above(walker.sees(poster, at / 4), walker.sees(low, at / 4)) for at in range(14)]
    states = {thing.state for number in range(4, 14) for thing in followed(walked(list(boxes[:number])))}
    assert not states & {"approaching", "closing fast", "crossing"}


def _above(whole: Box | None, lower: Box | None) -> Box | None:
    """What of a tall box is above a low one at the same place."""
    if whole is None or lower is None:
        return None
    return Box(whole.object, whole.score, whole.left, whole.top, whole.right, lower.top)


def test_a_shadow_that_lies_before_the_walker_does_not_come() -> None:
    """One's own shadow keeps its place in the picture: it goes along, and neither grows nor crosses."""
    shadow = Box("person", 0.6, 0.42, 0.62, 0.6, 0.97)
    assert {thing.state for thing in followed(walked([shadow] * 8))} <= {"", "standing"}


def test_a_reflection_in_a_window_stays_beside_the_path() -> None:
    """Its foot is as far behind the glass as the thing is before it: it seems farther aside, never on the path."""
    walker = Walker(CAMERA, speed_mps=1.1)
    glass_m, person_m = 1.5, 0.8
    mirrored = Thing("person", 2 * glass_m - person_m, 7.0, wide_m=0.5, deep_m=0.3, tall_m=1.7)
    sight = walked([walker.sees(mirrored, at / 4) for at in range(12)])
    things = followed(sight)
    assert things
    assert {thing.side for thing in things} == {"on the right"}
    assert not {thing.state for thing in things} & {"approaching", "closing fast", "crossing"}


def test_a_box_that_flickers_up_once_was_seen_once() -> None:
    [thing] = followed(walked([None, None, Box("person", 0.7, 0.4, 0.3, 0.6, 0.9)]))
    assert thing.looks == (True,)


def test_what_is_uncovered_by_something_that_hid_it_does_not_come() -> None:
    whole = Walker(CAMERA, 0.0).sees(Thing("vehicle", 0.0, 9.0), 0.0)
    assert whole is not None
    tall = whole.bottom - whole.top
    boxes: list[Box | None] = [
        Box("vehicle", 0.8, whole.left, whole.bottom - tall * share, whole.right, whole.bottom)
        for share in (0.4, 0.55, 0.7, 0.85, 1.0)
    ]
    assert {thing.state for thing in followed(walked(boxes))} <= {"", "standing"}
