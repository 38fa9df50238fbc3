"""Where a picture's points lie on the ground, from the place of the camera. Pure.

Level ground and a lens without distortion are assumed: 2 m ahead of a camera at 1.3 m, ground that rises by 5 degrees
makes a thing seem 0.3 m farther away than it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.errors import ConfigError

_WIDEST, _HORIZON_LOWEST = 16 / 9, 0.9


@dataclass(frozen=True, slots=True)
class GroundPoint:
    """A point on the ground, seen from the walker."""

    ahead_m: float
    lateral_m: float
    """To the right of where the camera points; to the left it is negative."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera is worn, and what it sees."""

    height_m: float = 1.3
    """Above the ground."""
    pitch_deg: float = 10.0
    """How far down it looks; up is negative."""
    fov_deg: float = 62.0
    """From the left edge of the picture to the right one."""

    def __post_init__(self) -> None:
        """Raises: ConfigError for a camera that can be worn by nobody."""
        if not (0.3 <= self.height_m <= 3.0 and -30.0 <= self.pitch_deg <= 60.0 and 20.0 <= self.fov_deg <= 150.0):
            raise ConfigError(
                f"Nobody wears a camera {self.height_m} m up, {self.pitch_deg}° down, with a view of {self.fov_deg}°.",
                hint="Height 0.3 to 3 m, pitch -30 to 60 degrees, field of view 20 to 150 degrees.",
            )

    def check_ground(self) -> None:
        """Raises: ConfigError where even a wide picture shows ground in less than its lowest tenth: no box would have a
        distance."""
        if self.horizon(aspect=_WIDEST) > _HORIZON_LOWEST:
            raise ConfigError(
                f"A camera that looks {self.pitch_deg:g}° down and sees {self.fov_deg:g}° sees hardly any ground.",
                hint="Set capture.camera_pitch_deg and capture.camera_fov_deg as the camera is worn.",
            )

    @property
    def across(self) -> float:
        """Width of the picture one metre away, in metres."""
        return 2.0 * math.tan(math.radians(self.fov_deg) / 2.0)

    def ground(self, x: float, y: float, *, aspect: float) -> GroundPoint | None:
        """Where the ray through a point of the picture meets the ground; None at or above the horizon.

        x, y: shares of the width and the height, from the upper left corner; aspect: width / height of the picture
        """
        right, below = (x - 0.5) * self.across, (y - 0.5) * self.across / aspect
        cos, sin = math.cos(math.radians(self.pitch_deg)), math.sin(math.radians(self.pitch_deg))
        down = below * cos + sin
        if down <= 1e-6:
            return None
        away = self.height_m / down
        return GroundPoint(max(0.0, away * (cos - below * sin)), away * right)

    def horizon(self, *, aspect: float) -> float:
        """The row of the horizon as a share of the height: may lie outside the picture."""
        return 0.5 - math.tan(math.radians(self.pitch_deg)) * aspect / self.across

    def bearing(self, x: float, y: float, *, aspect: float) -> float:
        """Radians to the right of straight ahead, on the ground, of the ray through a point of the picture.

        x, y, aspect: as for ground
        """
        right, below = (x - 0.5) * self.across, (y - 0.5) * self.across / aspect
        pitch = math.radians(self.pitch_deg)
        return math.atan2(right, math.cos(pitch) - below * math.sin(pitch))
