"""JPEG, WAV and clips in memory."""

from __future__ import annotations

import io
import wave

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture import encode
from shared.errors import MediaError


def test_a_jpeg_keeps_red_red() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0] = 200
    back = cv2.imdecode(np.frombuffer(encode.jpeg(image), np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert np.asarray(back)[20, 30].tolist() == pytest.approx([0, 0, 200], abs=6)


def test_a_large_picture_is_scaled_down_for_the_link() -> None:
    back = cv2.imdecode(np.frombuffer(encode.jpeg(np.zeros((1080, 1920, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert np.asarray(back).shape == (720, 1280, 3)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 10, 2)])
def test_a_picture_that_is_none_is_a_media_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(MediaError):
        encode.jpeg(np.zeros(shape, np.uint8))


@given(st.lists(st.integers(-32768, 32767), max_size=100))
def test_a_wav_gives_its_samples_back(values: list[int]) -> None:
    samples = np.array(values, np.int16)
    with wave.open(io.BytesIO(encode.wav(samples))) as file:
        assert np.array_equal(np.frombuffer(file.readframes(file.getnframes()), "<i2"), samples)


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_a_clip_is_never_larger_than_480p_and_always_even(width: int, height: int) -> None:
    out_width, out_height = encode.clip_size(width, height)
    assert out_width % 2 == out_height % 2 == 0
    assert max(2, min(width, height) + 1) >= min(out_width, out_height)
    assert min(out_width, out_height) <= encode.CLIP_SHORT_SIDE_PX
    assert max(out_width, out_height) <= encode.CLIP_LONG_SIDE_PX


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1920, 1080), (854, 480)), ((1080, 1920), (480, 854)), ((640, 480), (640, 480)), ((321, 241), (320, 240))],
)
def test_a_clip_keeps_the_shape_of_the_picture(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert encode.clip_size(*size) == expected


def test_a_clip_keeps_the_times_of_its_pictures() -> None:
    encoder = encode.h264_encoder()
    assert encoder is not None
    clip = encode.ClipEncoder(64, 48, fps=10, encoder=encoder)
    times = [0.0, 0.1, 0.35, 0.35, 1.9]
    for number, t_s in enumerate(times):
        clip.add(np.full((48, 64, 3), number * 40, np.uint8), t_s)
    with av.open(io.BytesIO(clip.finish()), "r") as file:
        assert [frame.time for frame in file.decode(video=0)] == pytest.approx(times, abs=0.001)


def test_a_clip_that_was_not_wanted_can_be_let_go() -> None:
    encode.ClipEncoder(64, 48, fps=10, encoder="libx264").discard()
    begun = encode.ClipEncoder(64, 48, fps=10, encoder="libx264")
    begun.add(np.zeros((48, 64, 3), np.uint8), 0.0)
    begun.discard()
