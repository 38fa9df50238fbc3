"""Which mode of a Pi camera's sensor is taken, on the modes that Raspberry Pi's cameras list."""

from __future__ import annotations

from typing import Any

import pytest

from device.capture.sensor_modes import SensorMode, choose, field_of_view_deg, modes, picture_size


def table(*rows: tuple[int, int, float, int, int], bits: int = 10) -> tuple[SensorMode, ...]:
    return tuple(SensorMode(f"SRGGB{bits}_CSI2P", bits, w, h, fps, (cw, ch)) for w, h, fps, cw, ch in rows)


# width, height, most pictures a second, crop: as `rpicam-hello --list-cameras` lists them.
MODULE_1 = table(
    (640, 480, 58.92, 2560, 1920),
    (1296, 972, 46.34, 2592, 1944),
    (1920, 1080, 32.81, 1928, 1080),
    (2592, 1944, 15.63, 2592, 1944),
)
MODULE_2 = table(
    (640, 480, 103.33, 1280, 960),
    (1640, 1232, 41.85, 3280, 2464),
    (1920, 1080, 47.57, 1920, 1080),
    (3280, 2464, 21.19, 3280, 2464),
)
MODULE_3 = table((1536, 864, 120.13, 3072, 1728), (2304, 1296, 56.03, 4608, 2592), (4608, 2592, 14.35, 4608, 2592))
HQ = table(
    (2028, 1080, 50.03, 4056, 2160), (2028, 1520, 40.01, 4056, 3040), (4056, 3040, 10.0, 4056, 3040), bits=12
) + table((1332, 990, 120.05, 2664, 1980))
CAMERAS = {
    "ov5647": (MODULE_1, 2592),
    "imx219": (MODULE_2, 3280),
    "imx708": (MODULE_3, 4608),
    "imx708_wide": (MODULE_3, 4608),
    "imx477": (HQ, 4056),
}


@pytest.mark.parametrize(
    ("camera", "fps", "size", "degrees"),
    [
        ("ov5647", 15.0, (1296, 972), 53.5),
        ("imx219", 15.0, (1640, 1232), 62.2),
        ("imx219", 30.0, (1640, 1232), 62.2),
        ("imx708", 15.0, (2304, 1296), 66.0),
        ("imx708_wide", 30.0, (2304, 1296), 102.0),
        ("imx477", 15.0, (2028, 1520), None),
    ],
)
def test_the_whole_field_of_view_is_taken(
    camera: str, fps: float, size: tuple[int, int], degrees: float | None
) -> None:
    offered, whole_px = CAMERAS[camera]
    mode = choose(offered, width_px=640, height_px=480, fps=fps)
    assert mode is not None
    assert (mode.width_px, mode.height_px) == size
    seen = field_of_view_deg(camera, mode.crop_px, sensor_width_px=whole_px)
    assert seen == (None if degrees is None else pytest.approx(degrees, abs=0.2))


def test_only_a_mode_that_is_fast_enough_is_taken_and_it_shows_what_it_can() -> None:
    mode = choose(MODULE_2, width_px=640, height_px=480, fps=60.0)
    assert mode is not None
    assert (mode.width_px, mode.fps) == (640, 103.33)
    assert field_of_view_deg("imx219", mode.crop_px, sensor_width_px=3280) == pytest.approx(26.5, abs=0.2)


def test_where_none_is_fast_enough_the_rate_gives_way_and_not_the_view() -> None:
    mode = choose(MODULE_2, width_px=640, height_px=480, fps=200.0)
    assert mode is not None
    assert mode.crop_px == (3280, 2464)
    assert mode.fps == 41.85


def test_a_picture_larger_than_all_modes_takes_the_largest_of_the_whole_view() -> None:
    mode = choose(MODULE_3, width_px=9000, height_px=6000, fps=10.0)
    assert mode is not None
    assert mode.crop_px == (4608, 2592)


@pytest.mark.parametrize(
    ("mode", "asked", "size"),
    [
        (MODULE_3[1], (640, 480), (640, 360)),
        (MODULE_2[1], (640, 480), (640, 480)),
        (MODULE_2[1], (1280, 720), (958, 720)),
        (MODULE_3[1], (1, 1), (2, 2)),
    ],
)
def test_pictures_have_the_shape_of_what_the_sensor_shows(
    mode: SensorMode, asked: tuple[int, int], size: tuple[int, int]
) -> None:
    assert picture_size(mode, width_px=asked[0], height_px=asked[1]) == size


def test_what_picamera2_lists_is_read_and_what_is_no_raw_sensor_left_out() -> None:
    listed: list[dict[str, Any]] = [
        {"format": "MJPEG"},
        {
            "format": "SRGGB10_CSI2P",
            "unpacked": "SRGGB10",
            "bit_depth": 10,
            "size": (1640, 1232),
            "fps": 41.85,
            "crop_limits": (0, 0, 3280, 2464),
            "exposure_limits": (75, 11766829),
        },
    ]
    assert modes(listed) == (SensorMode("SRGGB10_CSI2P", 10, 1640, 1232, 41.85, (3280, 2464)),)
    assert choose(modes([{"format": "YUYV"}]), width_px=640, height_px=480, fps=15.0) is None


def test_an_unknown_lens_has_no_angle() -> None:
    assert field_of_view_deg("imx999", (3280, 2464), sensor_width_px=3280) is None
    assert field_of_view_deg("imx219", (3280, 2464), sensor_width_px=0) is None


def test_pictures_that_are_turned_by_a_quarter_see_what_the_sensor_sees_upwards() -> None:
    seen = field_of_view_deg("imx219", (3280, 2464), sensor_width_px=3280, turned=True)
    assert seen == pytest.approx(48.8, abs=0.2)  # of Raspberry Pi's specification
