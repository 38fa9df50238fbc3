"""Clips in memory."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.clip import CLIP_LONG_SIDE_PX, CLIP_SHORT_SIDE_PX, ClipEncoder, clip_size, h264_encoder
from shared.errors import MediaError


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_a_clip_is_never_larger_than_480p_and_always_even(width: int, height: int) -> None:
    out_width, out_height = clip_size(width, height)
    assert out_width % 2 == out_height % 2 == 0
    assert max(2, min(width, height) + 1) >= min(out_width, out_height)
    assert min(out_width, out_height) <= CLIP_SHORT_SIDE_PX
    assert max(out_width, out_height) <= CLIP_LONG_SIDE_PX


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1920, 1080), (854, 480)), ((1080, 1920), (480, 854)), ((640, 480), (640, 480)), ((321, 241), (320, 240))],
)
def test_a_clip_keeps_the_shape_of_the_picture(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert clip_size(*size) == expected


def test_a_clip_keeps_the_times_of_its_pictures() -> None:
    encoder = h264_encoder()
    assert encoder is not None
    clip = ClipEncoder(64, 48, fps=10, encoder=encoder)
    times = [0.0, 0.1, 0.35, 0.35, 1.9]
    for number, t_s in enumerate(times):
        clip.add(np.full((48, 64, 3), number * 40, np.uint8), t_s)
    with av.open(io.BytesIO(clip.finish()), "r") as file:
        assert [frame.time for frame in file.decode(video=0)] == pytest.approx(times, abs=0.001)


def test_a_clip_that_was_not_wanted_can_be_let_go() -> None:
    ClipEncoder(64, 48, fps=10, encoder="libx264").discard()
    begun = ClipEncoder(64, 48, fps=10, encoder="libx264")
    begun.add(np.zeros((48, 64, 3), np.uint8), 0.0)
    begun.discard()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (1280, 720), (321, 241)])
def test_a_clip_keeps_colours_and_their_places(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = (200, 40, 90), (20, 180, 60)
    clip = ClipEncoder(width, height, fps=10, encoder="libx264")
    clip.add(image[:, ::-1][:, ::-1], 0.0)  # not contiguous, as a turned picture may be

    with av.open(io.BytesIO(clip.finish()), "r") as file:
        seen = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)

    rows, columns = seen.shape[:2]
    for at, colour in ((columns // 4, (200, 40, 90)), (3 * columns // 4, (20, 180, 60))):
        assert np.abs(seen[rows // 2, at] - colour).max() <= 6


def test_what_is_no_picture_is_refused_and_the_clip_can_be_let_go() -> None:
    clip = ClipEncoder(64, 48, fps=10, encoder="libx264")
    for wrong in (np.zeros((48, 64), np.uint8), np.zeros((0, 64, 3), np.uint8), np.zeros((48, 64, 2), np.uint8)):
        with pytest.raises(MediaError, match="cannot be encoded"):
            clip.add(wrong, 0.0)
    clip.discard()
