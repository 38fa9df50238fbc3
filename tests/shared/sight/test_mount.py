"""The camera's pitch, followed from the people it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sight import Box, Camera
from shared.sight.mount import (
    BOUND_DEG,
    FOLLOW_DEG_PER_S,
    PERSON_M,
    THINGS_LEAST,
    Mount,
    follow_pitch,
    mounted,
    pitch_deg,
)
from tests.shared.sight.street import ASPECT, Thing, Walker

SET = Camera(1.3, 10.0, 75.0)


def person(x_m: float, z_m: float, tall_m: float = PERSON_M) -> Thing:
    return Thing("person", x_m, z_m, wide_m=0.55, deep_m=0.0, tall_m=tall_m)


def crowd(true_deg: float, seconds: float, *, tall_m: float = 0.0, count: int = 6, noise: float = 0.02) -> Mount:
    """People one after another, of real heights, seen by a camera that is set to 10° and hangs otherwise."""
    rng, mount = np.random.default_rng(1), Mount()
    walker = Walker(replace(SET, pitch_deg=true_deg), 0.0, noise=noise)
    people = [
        person(float(rng.uniform(-1, 1)), float(rng.uniform(4, 8)), tall_m or float(rng.normal(1.7, 0.1)))
        for _ in range(count)
    ]
    for look in range(round(seconds * 4)):
        at_s = look / 4
        number = look // 8 % count
        box = walker.sees(people[number], at_s)
        seen: Sequence[tuple[int, Box]] = [(number, box)] if box is not None else []
        mount = follow_pitch(mount, seen, SET, at_s, aspect=ASPECT)
    return mount


@given(st.floats(1.1, 1.5), st.floats(-5, 25), st.floats(55, 100), st.floats(4, 9), st.floats(-1, 1))
@settings(deadline=None, max_examples=40)
def test_one_upright_person_tells_the_pitch_exactly(
    height_m: float, pitch: float, fov_deg: float, z_m: float, x_m: float
) -> None:
    camera = Camera(height_m, pitch, fov_deg)
    box = Walker(camera).sees(person(x_m, z_m), 0.0)
    assert box is not None
    found = pitch_deg(box, Camera(height_m, 10.0, fov_deg), aspect=ASPECT)
    assert found is None or found == pytest.approx(pitch, abs=0.05)
    inside = box.top > 0.02 and box.bottom < 0.98 and box.left > 0.02 and box.right < 0.98
    if inside and 0.13 < box.bottom - box.top < 0.84:
        assert found is not None


@pytest.mark.parametrize("true_deg", [4.0, 10.0, 17.0])
def test_a_camera_that_hangs_otherwise_than_set_is_followed(true_deg: float) -> None:
    found = mounted(SET, crowd(true_deg, 40.0))
    assert found.pitch_deg == pytest.approx(true_deg, abs=1.5)
    assert found == replace(SET, pitch_deg=found.pitch_deg)


def test_it_is_followed_slowly_and_never_far_from_the_setting() -> None:
    assert abs(crowd(20.0, 8.0).offset_deg) <= 8.0 * FOLLOW_DEG_PER_S
    children = crowd(10.0, 120.0, tall_m=1.0)
    assert abs(children.offset_deg) <= BOUND_DEG


def test_two_people_are_too_few_to_move_it() -> None:
    assert crowd(17.0, 40.0, count=THINGS_LEAST - 1).offset_deg == 0.0


@pytest.mark.parametrize(
    "box",
    [
        Box("person", 0.9, 0.2, 0.6, 0.8, 0.9),  # flat: a shadow, or somebody who lies
        Box("person", 0.9, 0.4, 0.0, 0.6, 0.9),  # the head is cut off
        Box("person", 0.9, 0.4, 0.3, 0.6, 1.0),  # the feet are
        Box("person", 0.9, 0.4, 0.5, 0.44, 0.56),  # far
        Box("person", 0.3, 0.4, 0.3, 0.6, 0.9),  # doubtful
        Box("vehicle", 0.9, 0.4, 0.3, 0.6, 0.9),
    ],
)
def test_what_shows_nobody_who_stands_says_nothing(box: Box) -> None:
    assert pitch_deg(box, SET, aspect=ASPECT) is None
