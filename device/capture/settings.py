"""Where pictures and sound come from: the section [capture] of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from shared.errors import ConfigError
from shared.sight import Camera


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    source: str = "camera:0"
    """replay:FILE, camera:INDEX (or part of its name, /dev/…, or a GStreamer pipeline), picamera2, or none: sync and
    update only."""
    pace: Literal["real", "fast"] = "real"
    """Of a replay: as it was recorded, or as fast as guidance can look."""
    film_fps: Annotated[float, Meta(ge=0, le=240)] = 0.0
    """Pictures a second of a replay that has no times in it, as raw H.264 has none; 0 = what it says, else 25."""
    microphone: str = "default"
    """Name or number of the microphone of a camera; none = record without sound."""
    width_px: Annotated[int, Meta(ge=32, le=8192)] = 640
    """Width asked of the camera, 32 to 8192."""
    height_px: Annotated[int, Meta(ge=32, le=8192)] = 480
    """Height asked of the camera, 32 to 8192."""
    fps: Annotated[float, Meta(ge=1, le=240)] = 15.0
    """Pictures a second asked of the camera, 1 to 240."""
    rotate_deg: int = 0
    """Turns the camera's picture clockwise: 0, 90, 180 or 270."""
    camera_height_m: Annotated[float, Meta(ge=0.3, le=3)] = 1.3
    """How high above the ground the camera is worn, 0.3 to 3. Distances are told from it."""
    camera_pitch_deg: Annotated[float, Meta(ge=-30, le=60)] = 10.0
    """How far down it looks, -30 to 60; 0 = straight ahead."""
    camera_fov_deg: Annotated[float, Meta(ge=20, le=150)] | None = None
    """What it sees from the left to the right edge of the picture, 20 to 150. Not set = as a Pi camera tells, or 62."""
    clips: bool = True
    """Whether flagged chunks come with a short video; off saves a third of a Pi's processor."""

    @property
    def camera(self) -> Camera:
        """Where the camera is worn."""
        return self.camera_that_sees(None)

    def camera_that_sees(self, fov_deg: float | None) -> Camera:
        """Where the camera is worn, and what it sees: as set, else as it tells. fov_deg: None = it does not.

        raises: ConfigError for an angle that no camera has
        """
        angle = self.camera_fov_deg or fov_deg
        return Camera(self.camera_height_m, self.camera_pitch_deg, *(() if angle is None else (angle,)))

    def camera_options(self) -> dict[str, Any]:
        """What a camera's capture function takes. Raises: ConfigError unless rotate_deg is a quarter turn."""
        if self.rotate_deg not in (0, 90, 180, 270):
            raise ConfigError(f"A camera cannot be turned by {self.rotate_deg} degrees.", hint="Use 0, 90, 180 or 270.")
        names = ("width_px", "height_px", "fps", "rotate_deg")
        return {name: getattr(self, name) for name in names}
