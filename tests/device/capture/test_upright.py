"""Turning pictures the right way up."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture import rotate
from device.capture.settings import CaptureSettings
from shared.errors import ConfigError
from shared.film import upright
from tests.device.capture.films import corner_names, corners

ONE = 1 << 16


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    return struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((ONE, 0, 0, ONE), "RGgB"),
        ((0, ONE, -ONE, 0), "BRGg"),
        ((-ONE, 0, 0, -ONE), "gBRG"),
        ((0, -ONE, ONE, 0), "GgBR"),
        ((-ONE, 0, 0, ONE), "GRBg"),
        ((ONE, 0, 0, -ONE), "BgGR"),
    ],
)
def test_each_quarter_turn_and_mirror_is_applied(entries: tuple[int, int, int, int], expected: str) -> None:
    assert corner_names(upright.by_display_matrix(corners(), _matrix(*entries))) == expected


def test_a_tilt_that_is_no_quarter_turn_is_left_alone() -> None:
    tilted = _matrix(46341, 46341, -46341, 46341)
    assert corner_names(upright.by_display_matrix(corners(), tilted)) in ("RGgB", "BRGg")
    assert corner_names(upright.by_display_matrix(corners(), _matrix(0, 0, 0, 0))) == "RGgB"


@given(st.binary(max_size=64))
def test_any_bytes_for_a_matrix_give_a_whole_picture(matrix: bytes) -> None:
    image = corners(40, 30)
    turned = upright.by_display_matrix(image, matrix)
    assert sorted(turned.shape) == sorted(image.shape)
    assert turned.flags.c_contiguous


@pytest.mark.parametrize(("degrees", "expected"), [(0, "RGgB"), (90, "BRGg"), (180, "gBRG"), (270, "GgBR")])
def test_a_mounted_camera_is_turned_clockwise(degrees: int, expected: str) -> None:
    image = rotate.turned(corners(), degrees)
    assert corner_names(image) == expected
    assert image.dtype == np.uint8


def test_a_turn_by_45_degrees_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="45"):
        CaptureSettings(rotate_deg=45).camera_options()
