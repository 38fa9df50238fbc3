"""Standing still is believed only when the pictures are sure of it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.capture.source import VideoFrame
from device.updates.stillness import LATE_S, STEP_S, SURE_S, Standing, Stillness, step
from server.walks import render_frame, walk_from_name
from shared.clock import ManualClock
from tests import paths

WALK = paths.DATA / "walks" / "crosswalk_02.mp4"
Image = NDArray[np.uint8]
RNG = np.random.default_rng(3)


def scene() -> Image:
    """A wall with things on it: blurred noise at two scales."""
    coarse = cv2.resize(RNG.integers(0, 255, (24, 32, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(RNG.integers(0, 255, (120, 160, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.addWeighted(coarse, 0.6, fine, 0.4, 0), np.uint8)


def standing(picture: Image, number: int) -> Image:
    """Somebody who sways a little, noise, and a passer-by."""
    turn = cv2.getRotationMatrix2D((320, 240), float(RNG.normal(0, 0.6)), 1.0)
    turn[:, 2] = turn[:, 2] + RNG.normal(0, 5, 2)
    seen = cv2.warpAffine(picture, turn, (640, 480), borderMode=cv2.BORDER_REFLECT)
    seen[150:480, (40 + 30 * number) % 560 : (40 + 30 * number) % 560 + 90] = 40
    return noisy(np.asarray(seen, np.uint8))


def noisy(picture: Image) -> Image:
    return np.asarray(np.clip(picture + RNG.normal(0, 4, picture.shape), 0, 255), np.uint8)


def walking(far: Image, near: Image, number: int) -> Image:
    """The ground comes nearer faster than what is above it."""
    out = far.copy()
    for part, layer, speed in (((slice(0, 240)), far, 0.01), ((slice(240, 480)), near, 0.06)):
        zoom = cv2.getRotationMatrix2D((320, 240), float(RNG.normal(0, 0.6)), 1.0 + speed * (number % 12))
        out[part] = cv2.warpAffine(layer, zoom, (640, 480), borderMode=cv2.BORDER_REFLECT)[part]
    return noisy(out)


def fed(pictures: Iterator[Image], *, every_s: float = STEP_S) -> list[bool]:
    """Whether it says "still" after each picture."""
    clock = ManualClock()
    stillness, said = Stillness(clock), []
    for number, picture in enumerate(pictures):
        clock.sleep(every_s)
        stillness.feed(VideoFrame(picture, number * every_s))
        said.append(stillness.is_still)
    return said


def test_somebody_who_stands_and_sways_is_seen_to_stand_after_three_seconds() -> None:
    picture = scene()
    said = fed(standing(picture, number) for number in range(9))
    assert not any(said[: int(SURE_S / STEP_S)])
    assert said[-1]


def test_somebody_who_walks_is_not() -> None:
    far, near = scene(), scene()
    assert not any(fed(walking(far, near, number) for number in range(16)))


@pytest.mark.parametrize("level", [0, 90, 255])
def test_where_nothing_can_be_seen_nothing_is_claimed(level: int) -> None:
    assert not any(fed(np.full((480, 640, 3), level, np.uint8) for _ in range(12)))


def test_a_rendered_walk_is_no_standing() -> None:
    walk = walk_from_name("market")
    assert not any(fed(render_frame(walk, number * STEP_S, 640, 480).image for number in range(12)))


@pytest.mark.skipif(not WALK.exists(), reason="the real walk is not on this machine")
def test_a_real_walk_is_no_standing() -> None:
    capture = cv2.VideoCapture(str(WALK))
    frames: list[Image] = []
    while len(frames) < 8:  # decoding it takes longer than the rest
        for _ in range(15):
            capture.grab()
        found, picture = capture.retrieve()
        if not found:
            break
        frames.append(np.asarray(cv2.cvtColor(cv2.resize(picture, (640, 480)), cv2.COLOR_BGR2RGB), np.uint8))
    assert len(frames) == 8
    assert not any(fed(iter(frames)))


def test_pictures_that_stop_coming_end_the_certainty() -> None:
    clock, picture = ManualClock(), scene()
    stillness = Stillness(clock)
    for number in range(9):
        clock.sleep(STEP_S)
        stillness.feed(VideoFrame(standing(picture, 0), number * STEP_S))
    assert stillness.is_still
    clock.sleep(LATE_S + 0.1)
    assert not stillness.is_still


@given(st.lists(st.tuples(st.booleans(), st.floats(0.5, 3)), max_size=40))
def test_it_is_sure_exactly_after_three_seconds_of_agreement_without_a_gap(steps: list[tuple[bool, float]]) -> None:
    stand, now_s, agreed_s = Standing(), 0.0, 0.0
    for agree, gap_s in steps:
        now_s += gap_s
        late = gap_s > LATE_S
        stand = step(stand, agree=agree and not late, t_s=now_s)
        agreed_s = 0.0 if not agree or late else gap_s + agreed_s
        if stand.is_sure:
            assert agreed_s >= SURE_S - STEP_S
        if agreed_s >= SURE_S + LATE_S:
            assert stand.is_sure
