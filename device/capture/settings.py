"""Where pictures and sound come from: the section [capture] of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    source: str = "camera:0"
    """replay:FILE, camera:INDEX (or /dev/videoN, or a GStreamer pipeline), picamera2, or none: sync and update only."""
    pace: Literal["real", "fast"] = "real"
    """Of a replay: as it was recorded, or as fast as guidance can look."""
    microphone: str = "default"
    """Name or number of the microphone of a camera; none = record without sound."""
    width_px: int = 640
    """Width asked of the camera."""
    height_px: int = 480
    """Height asked of the camera."""
    fps: float = 15.0
    """Pictures a second asked of the camera."""
    rotate_deg: int = 0
    """Turns the camera's picture clockwise: 0, 90, 180 or 270."""
    clips: bool = True
    """Whether flagged chunks come with a short video; off saves a third of a Pi's processor."""

    def camera_options(self) -> dict[str, Any]:
        """What a camera's capture function takes. Raises: ConfigError unless rotate_deg is a quarter turn."""
        if self.rotate_deg not in (0, 90, 180, 270):
            raise ConfigError(f"A camera cannot be turned by {self.rotate_deg} degrees.", hint="Use 0, 90, 180 or 270.")
        names = ("width_px", "height_px", "fps", "rotate_deg")
        return {name: getattr(self, name) for name in names}
