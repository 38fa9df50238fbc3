"""Where points of the picture lie on the ground, against formulas of its own and against the projection of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.sight import Camera

ASPECTS = [9 / 16, 3 / 4, 1.0, 4 / 3, 16 / 9]
CAMERAS = st.builds(Camera, st.floats(0.5, 2.2), st.floats(-20, 45), st.floats(40, 120))


def projected(camera: Camera, right_m: float, ahead_m: float, *, aspect: float) -> tuple[float, float] | None:
    """A point of the ground as shares of the picture, by rotation and focal length; None behind the camera."""
    turn = math.radians(camera.pitch_deg)
    rotation = np.array([[1, 0, 0], [0, math.cos(turn), -math.sin(turn)], [0, math.sin(turn), math.cos(turn)]])
    x, y, z = rotation @ np.array([right_m, camera.height_m, ahead_m])  # y down, z ahead
    if z <= 0.05:
        return None
    focal = 0.5 / math.tan(math.radians(camera.fov_deg) / 2)
    return 0.5 + focal * x / z, 0.5 + focal * y / z * aspect


@given(CAMERAS, st.floats(-5, 5), st.floats(0.3, 25), st.sampled_from(ASPECTS))
@settings(deadline=None)
def test_a_point_that_is_projected_is_found_again(
    camera: Camera, right_m: float, ahead_m: float, aspect: float
) -> None:
    at = projected(camera, right_m, ahead_m, aspect=aspect)
    assume(at is not None)
    assert at is not None
    found = camera.ground(*at, aspect=aspect)
    assert found is not None
    assert found.ahead_m == pytest.approx(ahead_m, rel=1e-6)
    assert found.lateral_m == pytest.approx(right_m, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("pitch_deg", [-10.0, 0.0, 10.0, 35.0])
def test_in_the_middle_column_the_distance_is_height_over_the_tangent_of_the_angle_down(
    pitch_deg: float, aspect: float
) -> None:
    camera = Camera(height_m=1.4, pitch_deg=pitch_deg, fov_deg=70.0)
    half = math.atan(math.tan(math.radians(35)) / aspect)  # of the view up and down
    for y in np.linspace(0.05, 1.0, 20):
        down = math.radians(pitch_deg) + math.atan((2 * y - 1) * math.tan(half))
        found = camera.ground(0.5, float(y), aspect=aspect)
        if down <= 1e-6:
            assert found is None
        else:
            assert found is not None
            assert found.lateral_m == 0.0
            assert found.ahead_m == pytest.approx(1.4 / math.tan(down) if down < math.pi / 2 else 0.0, abs=1e-9)


def test_known_distances() -> None:
    level = Camera(height_m=1.5, pitch_deg=0.0, fov_deg=90.0)
    edge = level.ground(1.0, 1.0, aspect=1.0)
    assert edge is not None
    assert (edge.ahead_m, edge.lateral_m) == pytest.approx((1.5, 1.5))
    wide = level.ground(0.0, 1.0, aspect=2.0)  # half as high: half the angle's tangent, twice as far
    assert wide is not None
    assert (wide.ahead_m, wide.lateral_m) == pytest.approx((3.0, -3.0))


@given(CAMERAS, st.sampled_from(ASPECTS), st.floats(0, 1))
@settings(deadline=None)
def test_nothing_at_or_above_the_horizon_is_on_the_ground_and_everything_below_it_is(
    camera: Camera, aspect: float, x: float
) -> None:
    row = camera.horizon(aspect=aspect)
    assert camera.ground(x, row, aspect=aspect) is None
    assert camera.ground(x, row - 0.01, aspect=aspect) is None
    below = camera.ground(x, row + 0.001, aspect=aspect)
    assert below is not None
    assert below.ahead_m > 20 * camera.height_m


def test_a_level_camera_has_the_horizon_in_the_middle_and_one_that_looks_down_above_it() -> None:
    assert Camera(pitch_deg=0.0).horizon(aspect=4 / 3) == 0.5
    assert Camera(pitch_deg=10.0).horizon(aspect=4 / 3) < 0.5 < Camera(pitch_deg=-10.0).horizon(aspect=4 / 3)
    assert Camera(pitch_deg=60.0).horizon(aspect=16 / 9) < 0  # not in the picture


@given(CAMERAS, st.sampled_from(ASPECTS), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_lower_in_the_picture_is_nearer(camera: Camera, aspect: float, x: float, one: float, other: float) -> None:
    near, far = (camera.ground(x, y, aspect=aspect) for y in (max(one, other), min(one, other)))
    if far is not None:
        assert near is not None
        assert near.ahead_m <= far.ahead_m
        assert abs(near.lateral_m) <= abs(far.lateral_m)


@pytest.mark.parametrize("wrong", [{"height_m": 0.0}, {"height_m": math.nan}, {"pitch_deg": 90.0}, {"fov_deg": 180.0}])
def test_a_camera_that_nobody_wears_is_refused_and_the_bounds_are_said(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"Height 0\.3 to 3 m"):
        Camera(**wrong)


@pytest.mark.parametrize(("slope_deg", "farther"), [(5.0, True), (-5.0, False)])
def test_on_ground_that_rises_things_seem_farther_away_than_they_are(slope_deg: float, farther: bool) -> None:
    level, ahead_m = Camera(height_m=1.3, pitch_deg=0.0, fov_deg=60.0), 2.0
    below = (1.3 - ahead_m * math.tan(math.radians(slope_deg))) / ahead_m
    row = 0.5 + below / (2 * math.tan(math.radians(30.0)))  # a square picture
    seen = level.ground(0.5, row, aspect=1.0)
    assert seen is not None
    assert (seen.ahead_m > ahead_m) == farther
    assert abs(seen.ahead_m - ahead_m) == pytest.approx(0.31 if farther else 0.24, abs=0.01)
