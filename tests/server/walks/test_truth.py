"""The rules of what matters, on which side, and what comes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.walks import truth
from server.walks.scene import Pose, Thing
from server.walks.truth import Seen
from shared.sight import CORRIDOR_M

POLE = Thing("pole", 0, x_m=0.0, z_m=3.0, heading=0.0, width_m=0.2, depth_m=0.2, height_m=3.0, look=1)
MIRRORED = {"on the left": "on the right", "on the right": "on the left", "ahead": "ahead"}


@given(
    st.floats(-4, 4), st.floats(0.5, 9), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(-3, 3), st.floats(-0.3, 0.3)
)
def test_the_mirror_image_is_on_the_other_side(
    x: float, z: float, width: float, depth: float, heading: float, yaw: float
) -> None:
    thing = replace(POLE, x_m=x, z_m=z, width_m=width, depth_m=depth, heading=heading)
    here = truth.bearing(thing, Pose(yaw=yaw))
    there = truth.bearing(replace(thing, x_m=-x, heading=-heading), Pose(yaw=-yaw))
    assert (here is None) == (there is None)
    if here is not None and there is not None and abs(here.left_m + here.right_m) > 1e-6:
        near_edge = min(abs(abs(here.left_m) - CORRIDOR_M), abs(abs(here.right_m) - CORRIDOR_M))
        assert near_edge < 1e-6 or there.side == MIRRORED[here.side]
        assert there.distance_m == pytest.approx(here.distance_m, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "side"), [(0.0, "ahead"), (0.5, "ahead"), (-0.5, "ahead"), (0.7, "on the right"), (-0.7, "on the left")]
)
def test_the_corridor_is_45_cm_to_each_side(x: float, side: str) -> None:
    found = truth.bearing(replace(POLE, x_m=x), Pose())
    assert found is not None
    assert found.side == side


def test_the_camera_decides_what_is_ahead() -> None:
    right_of_path = replace(POLE, x_m=1.0, z_m=3.0)
    towards = truth.bearing(right_of_path, Pose(yaw=0.32))
    assert towards is not None
    assert towards.side == "ahead"


def test_what_is_behind_has_no_bearing() -> None:
    assert truth.bearing(replace(POLE, z_m=-1.0), Pose()) is None


@pytest.mark.parametrize(
    ("name", "x", "z", "matters"),
    [
        ("pole", 0.0, 4.9, True),
        ("pole", 0.0, 5.3, False),
        ("pole", 1.2, 3.4, True),
        ("pole", 1.2, 3.9, False),
        ("pole", 2.1, 2.0, False),
        ("vehicle", 0.0, 7.5, True),
        ("curb", 1.5, 2.0, False),
    ],
)
def test_reach_depends_on_the_class_and_the_side(name: str, x: float, z: float, matters: bool) -> None:
    thing = replace(POLE, object=name, x_m=x, z_m=z)
    at = truth.bearing(thing, Pose())
    assert at is not None
    assert truth.within_reach(thing, at) is matters


def test_a_lower_tier_comes_before_a_nearer_thing() -> None:
    hole, bin_ = Seen("drop-off", "ahead", 4.0, 0.01, 0.9), Seen("bin", "ahead", 2.0, 0.02, 0.9)
    beside = Seen("drop-off", "on the left", 1.0, 0.01, 0.9)
    assert sorted([bin_, beside, hole], key=truth.urgency) == [hole, beside, bin_]
    assert truth.instruction((hole, bin_)) == "Stop, drop-off ahead."


def test_what_is_mostly_hidden_or_tiny_is_not_seen() -> None:
    ids = np.zeros((100, 100), dtype=np.uint8)
    ids[50:60, 50:60] = 1
    assert len(truth.judge([POLE], Pose(), ids, {1: 100})) == 1
    assert truth.judge([POLE], Pose(), ids, {1: 300}) == ()
    ids[52:, :] = 0
    assert truth.judge([POLE], Pose(), ids, {1: 20}) == ()
