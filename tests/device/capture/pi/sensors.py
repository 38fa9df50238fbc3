"""Raspberry Pi's cameras: the modes that `rpicam-hello --list-cameras` lists, and what their lenses see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mode:
    width_px: int
    height_px: int
    fps: float
    """At most."""
    crop: tuple[int, int, int, int]
    """x, y, width, height of what it shows, in the sensor's own pixels."""
    bits: int = 10


@dataclass(frozen=True, slots=True)
class Sensor:
    model: str
    """libcamera's name of the camera."""
    size_px: tuple[int, int]
    modes: tuple[Mode, ...]
    lens_deg: float
    """From left to right on the whole sensor. Of the HQ camera: its 6 mm lens."""
    bayer: str = "SRGGB"
    focus: bool = False
    """Whether its lens moves."""


MODULE_1 = Sensor(
    "ov5647", (2592, 1944),
    (
        Mode(640, 480, 58.92, (16, 0, 2560, 1920)),
        Mode(1296, 972, 46.34, (0, 0, 2592, 1944)),
        Mode(1920, 1080, 32.81, (348, 434, 1928, 1080)),
        Mode(2592, 1944, 15.63, (0, 0, 2592, 1944)),
    ),
    53.5, bayer="SGBRG",
)  # fmt: skip
MODULE_2 = Sensor(
    "imx219", (3280, 2464),
    (
        Mode(640, 480, 206.65, (1000, 752, 1280, 960), bits=8),
        Mode(1640, 1232, 83.70, (0, 0, 3280, 2464), bits=8),
        Mode(1920, 1080, 47.57, (680, 692, 1920, 1080), bits=8),
        Mode(3280, 2464, 21.19, (0, 0, 3280, 2464), bits=8),
        Mode(640, 480, 103.33, (1000, 752, 1280, 960)),
        Mode(1640, 1232, 41.85, (0, 0, 3280, 2464)),
        Mode(1920, 1080, 47.57, (680, 692, 1920, 1080)),
        Mode(3280, 2464, 21.19, (0, 0, 3280, 2464)),
    ),
    62.2,
)  # fmt: skip
_MODULE_3 = (
    Mode(1536, 864, 120.13, (768, 432, 3072, 1728)),
    Mode(2304, 1296, 56.03, (0, 0, 4608, 2592)),
    Mode(4608, 2592, 14.35, (0, 0, 4608, 2592)),
)
MODULE_3 = Sensor("imx708", (4608, 2592), _MODULE_3, 66.0, focus=True)
MODULE_3_WIDE = Sensor("imx708_wide", (4608, 2592), _MODULE_3, 102.0, focus=True)
HQ = Sensor(
    "imx477", (4056, 3040),
    (
        Mode(1332, 990, 120.05, (696, 528, 2664, 1980)),
        Mode(2028, 1080, 50.03, (0, 440, 4056, 2160), bits=12),
        Mode(2028, 1520, 40.01, (0, 0, 4056, 3040), bits=12),
        Mode(4056, 3040, 10.0, (0, 0, 4056, 3040), bits=12),
    ),
    63.0,
)  # fmt: skip
WEBCAM = Sensor("USB Camera", (1280, 720), (), 70.0)
"""A USB camera behind libcamera: no raw stream, no modes, none of the Pi's controls."""

ALL = {sensor.model: sensor for sensor in (MODULE_1, MODULE_2, MODULE_3, MODULE_3_WIDE, HQ, WEBCAM)}
