"""Which mode of a Pi camera's sensor to take: the whole field of view first. Pure.

A sensor offers a few sizes, and the small ones are often cut from its middle: asked for pictures of 640 × 480 alone,
libcamera takes such a one, and a Module 2 then shows 26° of 62°. So the mode is chosen here, by what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RATE_SLACK = 0.97
"""A mode that reaches so much of the rate that is asked for is fast enough: what cameras tell is rounded."""
CROP_SLACK = 0.99
"""Crops that differ by less show the same."""
LENSES_DEG = {"ov5647": 53.5, "imx219": 62.2, "imx708": 66.0, "imx708_noir": 66.0, "imx708_wide": 102.0}
"""By libcamera's name of the camera: what its own lens sees from left to right on the whole sensor. Camera Module 1, 2,
3 and 3 Wide. The HQ camera has whatever lens somebody screwed on. source: Raspberry Pi's hardware specifications"""
LENSES_DEG["imx708_wide_noir"] = LENSES_DEG["imx708_wide"]


@dataclass(frozen=True, slots=True)
class SensorMode:
    """One way in which a sensor can be read."""

    format: str
    """As libcamera names it, for example SRGGB10_CSI2P."""
    bit_depth: int
    width_px: int
    height_px: int
    fps: float
    """At most."""
    crop_px: tuple[int, int]
    """Width and height of the part of the sensor that it shows, in the sensor's own pixels."""

    @property
    def crop_area(self) -> int:
        return self.crop_px[0] * self.crop_px[1]


def modes(listed: Sequence[Mapping[str, Any]]) -> tuple[SensorMode, ...]:
    """What Picamera2.sensor_modes lists, without entries that say nothing of a size or a crop (no raw sensor)."""
    found = []
    for entry in listed:
        if {"size", "crop_limits", "fps", "bit_depth"} <= entry.keys():
            (width_px, height_px), crop = entry["size"], entry["crop_limits"]
            name, crop_px = str(entry["format"]), (int(crop[2]), int(crop[3]))
            found.append(SensorMode(name, int(entry["bit_depth"]), width_px, height_px, float(entry["fps"]), crop_px))
    return tuple(found)


def choose(offered: Sequence[SensorMode], *, width_px: int, height_px: int, fps: float) -> SensorMode | None:
    """The mode that shows most of those that are fast enough; of those that show as much, the smallest that is not
    smaller than the picture; of those, the one with the finest light. None where nothing is offered.

    Where none is fast enough, the rate gives way: pictures of the middle alone would hide what comes from the side.
    """
    if not offered:
        return None
    fast = [mode for mode in offered if mode.fps >= fps * RATE_SLACK]
    if not fast:
        return max(_whole(offered), key=lambda mode: mode.fps)
    whole = _whole(fast)
    large = [mode for mode in whole if mode.width_px >= width_px and mode.height_px >= height_px]
    return min(large or whole, key=lambda mode: (mode.width_px * mode.height_px, -mode.bit_depth))


def _whole(offered: Sequence[SensorMode]) -> list[SensorMode]:
    """Those that show as much as any."""
    most = max(mode.crop_area for mode in offered)
    return [mode for mode in offered if mode.crop_area >= CROP_SLACK * most]


def picture_size(mode: SensorMode, *, width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height of pictures that show all of the mode's crop, within what was asked for; even numbers."""
    scale = min(width_px / mode.crop_px[0], height_px / mode.crop_px[1])
    wide, high = (max(2, 2 * round(side * scale / 2)) for side in mode.crop_px)
    if min(wide, width_px) / max(wide, width_px) >= CROP_SLACK <= min(high, height_px) / max(high, height_px):
        return width_px, height_px
    return wide, high


def field_of_view_deg(
    camera: str, crop_px: tuple[int, int], *, sensor_width_px: int, turned: bool = False
) -> float | None:
    """From the left to the right edge of its pictures; None for a lens that is not known.

    camera: libcamera's name of it; crop_px: width and height of the part of the sensor that the pictures show;
    sensor_width_px: of the whole sensor; turned: pictures are turned by a quarter, so that its height lies across
    """
    whole_deg, across_px = LENSES_DEG.get(camera), crop_px[1] if turned else crop_px[0]
    if whole_deg is None or sensor_width_px <= 0:
        return None
    half = math.tan(math.radians(whole_deg / 2)) * min(1.0, across_px / sensor_width_px)
    return round(2 * math.degrees(math.atan(half)), 1)
