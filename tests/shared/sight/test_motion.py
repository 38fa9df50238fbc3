"""Speeds from boxes, against exact projections of things whose speeds are known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sight import Camera, Motion, motion_of, state_of
from shared.sight.tracks import Track, Tracks, step
from tests.shared.sight.street import ASPECT, Thing, Walker, looks

SECOND = [at / 4 for at in range(5)]


def track_of(walker: Walker, thing: Thing, times: list[float] = SECOND) -> Track:
    """The longest track of a thing's boxes."""
    tracks = Tracks()
    for at_s, boxes in looks(walker, [thing], times):
        tracks = step(tracks, boxes, at_s, turned_rad=walker.turned_rad(at_s))
    return max(tracks.tracks, key=lambda track: len(track.sightings))


def moving(walker: Walker, thing: Thing, times: list[float] = SECOND) -> Motion:
    found = motion_of(track_of(walker, thing, times), walker.camera, aspect=ASPECT)
    assert found is not None
    return found


def state(walker: Walker, thing: Thing, times: list[float] = SECOND) -> str:
    return state_of(thing.object, moving(walker, thing, times))


@given(
    st.floats(1.0, 1.6), st.floats(0, 20), st.floats(60, 100), st.floats(0, 1.6), st.floats(-4, 2), st.floats(11, 16),
    st.floats(-1, 1),
)  # fmt: skip
@settings(deadline=None, max_examples=25)
def test_a_flat_things_speed_and_time_to_contact_are_those_of_its_projection(
    height_m: float, pitch_deg: float, fov_deg: float, own_mps: float, vz_mps: float, z_m: float, x_m: float
) -> None:
    walker = Walker(Camera(height_m, pitch_deg, fov_deg), own_mps)
    board = Thing("vehicle", x_m, z_m, vz_mps=vz_mps, deep_m=0.0, wide_m=1.0, tall_m=1.2)
    found = moving(walker, board)
    closing = own_mps - vz_mps
    assert found.closing.mps == pytest.approx(closing, rel=0.09, abs=0.1)  # at most 8.4 % in 2,652 of them
    assert found.ahead_m == pytest.approx(z_m - closing, rel=0.06)
    assert found.lateral_m == pytest.approx(x_m, abs=0.15)
    if closing > 0.5:
        assert found.contact_s == pytest.approx((z_m - closing) / closing, rel=0.1)


@given(st.floats(-4, 4), st.floats(-3, 3), st.floats(7, 12))
@settings(deadline=None, max_examples=25)
def test_a_things_sideways_speed_is_measured(x_m: float, vx_mps: float, z_m: float) -> None:
    walker = Walker(Camera(fov_deg=90.0))
    board = Thing("vehicle", x_m, z_m, vx_mps=vx_mps, deep_m=0.0, wide_m=1.0)
    found = moving(walker, board)
    assert found.sideways is not None
    assert found.sideways.mps == pytest.approx(vx_mps, abs=0.15)


@pytest.mark.parametrize("own_mps", [0.0, 0.6, 1.1, 1.5])
@pytest.mark.parametrize("x_m", [-2.2, 0.0, 2.2])
def test_a_parked_car_that_grows_because_one_walks_up_to_it_stands(own_mps: float, x_m: float) -> None:
    assert state(Walker(speed_mps=own_mps), Thing("vehicle", x_m, 9.0)) == "standing"


@pytest.mark.parametrize("own_mps", [0.0, 1.1, 1.5])
@pytest.mark.parametrize(("vz_mps", "expected"), [(-4.0, "approaching"), (-9.0, "closing fast")])
def test_a_car_that_comes_by_itself_approaches_whether_one_walks_or_waits(
    own_mps: float, vz_mps: float, expected: str
) -> None:
    assert state(Walker(speed_mps=own_mps), Thing("vehicle", 0.5, 6.0 - 2.0 * vz_mps, vz_mps=vz_mps)) == expected


def test_one_that_drives_past_at_a_distance_does_not_approach() -> None:
    assert state(Walker(), Thing("vehicle", 6.0, 22.0, vz_mps=-7.0)) == "passing"


@pytest.mark.parametrize("side", [-1, 1])
def test_a_bicycle_that_comes_onto_the_path_crosses_and_one_that_goes_off_it_leaves(side: int) -> None:
    bicycle = {"wide_m": 1.7, "deep_m": 0.5, "tall_m": 1.7}
    comes = Thing("bicycle", side * 3.6, 6.5, vx_mps=-side * 3.0, **bicycle)
    assert state(Walker(camera=Camera(fov_deg=80.0)), comes, SECOND[:4]) == "crossing"
    goes = Thing("bicycle", side * 0.8, 7.0, vx_mps=side * 2.5, **bicycle)
    assert state(Walker(camera=Camera(fov_deg=80.0)), goes, SECOND[:4]) == "leaving"


def test_a_car_ahead_that_drives_away_leaves() -> None:
    assert state(Walker(), Thing("vehicle", 0.0, 7.0, vz_mps=4.0)) == "leaving"


@pytest.mark.parametrize("turn_rps", [-0.3, 0.3])
def test_a_walker_who_turns_makes_nothing_cross(turn_rps: float) -> None:
    walker = Walker(Camera(fov_deg=80.0), turn_rps=turn_rps)
    parked = Thing("vehicle", math.copysign(3.0, turn_rps), 9.0)
    assert state(walker, parked) == "standing"


def test_where_the_turn_is_unknown_nothing_crosses_and_nothing_stands() -> None:
    walker = Walker(Camera(fov_deg=80.0), turn_rps=0.4)
    found = motion_of(track_of(walker, Thing("vehicle", 3.0, 9.0)), walker.camera, aspect=ASPECT, steady_since_s=0.6)
    assert found is not None
    assert found.sideways is None
    assert state_of("vehicle", found) == ""


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("x_m", [-2.0, 0.0, 2.0])
def test_the_noise_of_a_detector_makes_no_parked_car_approach(x_m: float, seed: int) -> None:
    walker = Walker(speed_mps=1.3, noise=0.035, seed=seed)
    states = {state_of("vehicle", found) for z_m in (7.0, 10.0, 14.0) if (found := _motion(walker, x_m, z_m))}
    assert not states & {"approaching", "closing fast", "crossing"}


def _motion(walker: Walker, x_m: float, z_m: float) -> Motion | None:
    return motion_of(track_of(walker, Thing("vehicle", x_m, z_m)), walker.camera, aspect=ASPECT)


def test_a_box_that_grows_while_its_foot_stays_is_no_motion() -> None:
    """A poster that is walked up to, or a detector that takes in more and more: feet and size contradict each other."""
    box = Walker().sees(Thing("person", 0.0, 6.0, wide_m=0.6, deep_m=0.0, tall_m=1.7), 0.0)
    assert box is not None
    tracks = Tracks()
    for number, at_s in enumerate(SECOND):
        tall = (box.bottom - box.top) * 1.12**number
        grown = type(box)("person", 0.8, box.left, box.bottom - tall, box.right, box.bottom)
        tracks = step(tracks, (grown,), at_s)
    assert motion_of(tracks.tracks[0], Walker().camera, aspect=ASPECT) is None


def test_two_looks_measure_nothing() -> None:
    assert motion_of(track_of(Walker(), Thing("vehicle", 0, 9), SECOND[:2]), Camera(), aspect=ASPECT) is None
