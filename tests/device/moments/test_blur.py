"""With privacy.blur no kept picture shows what the detector took for a person or a plate, nor anything where it looked
at nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.recorder import Recorder
from device.capture.source import VideoFrame
from device.guidance.history import GuidanceHistory, LookEntry
from device.moments.blur import WITHIN_S, Veil
from shared import hidden
from shared.hidden import WHOLE
from shared.jpeg import decode_picture
from shared.sight import Box
from shared.veil import ACROSS, PARTS, blurred, regions

NOISE = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
PERSON = Box("person", 0.3, 0.4, 0.2, 0.5, 0.8)
CAR = Box("vehicle", 0.6, 0.1, 0.4, 0.4, 0.7)


def detail(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], box: tuple[float, float, float, float]) -> float:
    """How much neighbouring pixels differ in a part of a picture."""
    height, width = image.shape[:2]
    left, top, right, bottom = (round(v * side) for v, side in zip(box, (width, height) * 2, strict=True))
    part = image[top:bottom, left:right].astype(float)
    return float(np.abs(np.diff(part, axis=1)).mean())


def veil(*looks: tuple[float, tuple[Box, ...] | None]) -> Veil:
    history = GuidanceHistory()
    for t_s, boxes in looks:
        history.add(LookEntry(t_s, "m", (), boxes))
    return Veil(history)


def test_a_persons_head_is_gone_and_the_rest_of_the_picture_is_as_it_was() -> None:
    kept = veil((10.0, (PERSON,)))(NOISE, 10.1)
    assert kept.hidden == "1 regions"
    assert detail(kept.image, (0.4, 0.2, 0.5, 0.44)) < 0.1 * detail(NOISE, (0.4, 0.2, 0.5, 0.44))
    assert (kept.image[:, :200] == NOISE[:, :200]).all()
    assert (kept.image[340:, 256:320] == NOISE[340:, 256:320]).all(), "feet tell nobody"
    assert detail(NOISE, (0.4, 0.2, 0.5, 0.44)) > 50, "the picture of the walk itself is left alone"


def test_the_lower_part_of_a_vehicle_is_gone() -> None:
    kept = veil((10.0, (CAR,)))(NOISE, 10.0)
    assert detail(kept.image, (0.1, 0.55, 0.4, 0.7)) < 0.1 * detail(NOISE, (0.1, 0.55, 0.4, 0.7))


def test_a_face_is_at_most_three_blocks_wide() -> None:
    """Half of a person's box: below eight, nobody is known by their face."""
    (region,) = regions([PERSON], width=640, height=480)
    image = blurred(NOISE, [region])
    row = image[(region[1] + region[3]) // 2, region[0] : region[2]]
    assert 1 + int((np.abs(np.diff(row.astype(int), axis=0)).sum(axis=1) > 0).sum()) <= ACROSS


def test_what_any_look_around_it_saw_is_hidden() -> None:
    moved = Box("person", 0.2, 0.6, 0.2, 0.7, 0.8)
    far = Box("person", 0.2, 0.05, 0.2, 0.1, 0.8)
    kept = veil((9.5, (PERSON,)), (10.0, ()), (10.5, (moved,)), (12.0, (far,)))(NOISE, 10.0)
    assert kept.hidden == "2 regions"
    for left, right in ((0.4, 0.5), (0.6, 0.7)):
        assert detail(kept.image, (left, 0.25, right, 0.4)) < 10
    assert (kept.image[:, :60] == NOISE[:, :60]).all()


@pytest.mark.parametrize(
    "looks", [(), ((10.0 + WITHIN_S + 0.1, ()),), ((10.0, None),), ((9.9, ()), (10.1, None))],
    ids=["no model", "no look near it", "no detector", "another model on the way"],
)  # fmt: skip
def test_where_nobody_looked_the_whole_picture_is_gone(looks: tuple[tuple[float, tuple[Box, ...] | None], ...]) -> None:
    kept = veil(*looks)(NOISE, 10.0)
    assert kept.hidden == WHOLE
    assert detail(kept.image, (0.0, 0.0, 1.0, 1.0)) < 3


def test_other_things_are_left_as_they_are() -> None:
    kept = veil((10.0, (Box("furniture", 0.9, 0.1, 0.1, 0.9, 0.9), Box("dog", 0.5, 0.0, 0.0, 0.5, 0.5))))(NOISE, 10.0)
    assert kept.hidden == "0 regions"
    assert (kept.image == NOISE).all()


edge = st.floats(-0.5, 1.5)


@given(
    st.lists(st.builds(Box, st.sampled_from(["person", "vehicle"]), st.just(0.5), edge, edge, edge, edge), max_size=4)
)
def test_any_boxes_are_blurred_without_a_fault(boxes: list[Box]) -> None:
    small = NOISE[:37, :53]
    assert blurred(small, regions(boxes, width=53, height=37)).shape == small.shape


def test_the_recorder_keeps_what_the_veil_leaves_and_never_the_picture_itself() -> None:
    recorder = Recorder(clips=False, veil=veil((1.0, (PERSON,))))
    for number in range(30):
        recorder.feed(VideoFrame(np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 1.5), np.uint8), number / 10))
    (chunk,) = recorder.flush()[:1] if recorder.chunk(0) is None else (recorder.chunk(0),)
    assert chunk is not None
    assert chunk.hidden == "1 regions"
    picture = decode_picture(chunk.frame_jpeg)
    assert picture is not None
    assert detail(picture, (0.4, 0.25, 0.5, 0.4)) < 0.5 * detail(picture, (0.6, 0.25, 0.7, 0.4))


def test_a_picture_that_cannot_be_blurred_is_not_kept() -> None:
    recorder = Recorder(clips=False, veil=veil((1.0, (PERSON,))))
    for number in range(30):
        recorder.feed(VideoFrame(np.zeros((480, 0, 3), np.uint8), number / 10))
    assert recorder.chunk(0) is None
    assert recorder.counts.without_picture >= 1


def test_what_may_be_hidden_is_known_to_who_teaches() -> None:
    assert tuple(PARTS) == hidden.KINDS
