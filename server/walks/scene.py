"""What a rendered walk consists of, before anything is drawn: a place, its things, light, weather, the camera.

World axes in metres: x to the right, y up, z along the path. Plain data, no drawing and no randomness of its own;
`look` seeds everything about a thing's appearance, so that it looks the same in every frame it is in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Colour = tuple[float, float, float]
"""RGB, 0..255."""

FAR_M = 1.0e6
"""Where there is no wall, no ceiling, no crossing."""
CAMERA_HEIGHT_M = 1.3
VIEW_DEG = 75.0
"""Horizontal field of view of a chest camera."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something with a name of the vocabulary, standing at (x_m, z_m): the middle of its footprint."""

    object: str
    variant: int
    x_m: float
    z_m: float
    heading: float
    """Radians; 0 = its front faces along the path (we see its back or front), pi/2 = we see it from the side."""
    width_m: float
    depth_m: float
    height_m: float
    look: int
    across: bool = False
    """It spans the path (curb, stairs): no way round it."""
    vx_mps: float = 0.0
    vz_mps: float = 0.0

    def reach_x_m(self) -> float:
        """Half the footprint's extent along x."""
        return (abs(self.width_m * math.cos(self.heading)) + abs(self.depth_m * math.sin(self.heading))) / 2

    def reach_z_m(self) -> float:
        """Half the footprint's extent along z."""
        return (abs(self.width_m * math.sin(self.heading)) + abs(self.depth_m * math.cos(self.heading))) / 2

    def corners(self) -> list[tuple[float, float]]:
        """(x, z) of the footprint's four corners, in order around it."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        half_w, half_d = self.width_m / 2, self.depth_m / 2
        local = ((-half_w, -half_d), (half_w, -half_d), (half_w, half_d), (-half_w, half_d))
        return [(self.x_m + lx * c + lz * s, self.z_m - lx * s + lz * c) for lx, lz in local]


@dataclass(frozen=True, slots=True)
class Place:
    """The surroundings: strips of ground, walls on both sides, an end, a ceiling or sky. Textures by name."""

    path: str
    left: str
    right: str
    cross: str = "asphalt0"
    path_left_m: float = -2.0
    path_right_m: float = 2.0
    cross_from_m: float = FAR_M
    cross_to_m: float = FAR_M
    left_wall_m: float = -FAR_M
    right_wall_m: float = FAR_M
    left_wall: str = "plaster0"
    right_wall: str = "plaster0"
    wall_height_m: float = 7.5
    end_m: float = 45.0
    end: str = "skyline0"
    end_height_m: float = 8.0
    ceiling_m: float = FAR_M
    ceiling: str = "ceiling0"
    lamps: tuple[tuple[float, float], ...] = ()
    """(x, z) of lights, seen at dusk and night."""
    marks: int = 0
    """Seed of what is painted or lying there and has no name: posters, manhole covers, lane lines, litter."""

    @property
    def indoor(self) -> bool:
        """There is a ceiling."""
        return self.ceiling_m < FAR_M


@dataclass(frozen=True, slots=True)
class Light:
    """How bright, which colour, where shadows fall."""

    name: str = "day"
    gain: float = 1.0
    contrast: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)
    sky_top: Colour = (110.0, 160.0, 225.0)
    sky_low: Colour = (205.0, 222.0, 240.0)
    shadow: float = 0.5
    """0 = none, 1 = black."""
    sun: float = 0.6
    """Sideways lean of shadows, metres per metre of height; the sign is the side."""
    dark: float = 0.0
    """0 = daylight, 1 = only lamps."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What stands between the scene and a clean picture."""

    rain: float = 0.0
    drops: int = 0
    fog: float = 0.0
    """Share of light lost per 10 m."""
    noise: float = 4.0
    """Sensor noise, levels (of 255), one sigma."""
    blur_px: float = 0.0
    """Motion blur, pixels at 160 wide."""
    blur_angle: float = 0.0
    defocus_px: float = 0.0
    jpeg: int = 0
    """Quality of a JPEG round trip; 0 = none."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the camera is and where it looks. Radians; pitch > 0 looks down, yaw > 0 looks right."""

    x_m: float = 0.0
    z_m: float = 0.0
    y_m: float = CAMERA_HEIGHT_M
    yaw: float = 0.0
    pitch: float = 0.2
    roll: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment, ready to be painted."""

    place: Place
    things: tuple[Thing, ...]
    light: Light = field(default_factory=Light)
    weather: Weather = field(default_factory=Weather)
    pose: Pose = field(default_factory=Pose)
    grain: int = 0
    """Seeds what changes from frame to frame: sensor noise, rain."""
    stride: float = 0.0
    """Phase of the walkers' legs, radians."""
