"""Where the camera is worn and what it sees, as it was last known: models ask at each look.

A camera may come minutes after the model, and another one may be plugged in on the way.
"""

from __future__ import annotations

import logging

from device.capture.settings import CaptureSettings
from device.capture.source import VideoFrame
from shared.errors import ConfigError
from shared.sight import Camera

logger = logging.getLogger(__name__)


class WornCamera:
    """Call it for the camera. `saw` and the calls may come from different threads."""

    def __init__(self, settings: CaptureSettings) -> None:
        """Raises: ConfigError for a camera that nobody can wear."""
        self._settings = settings
        self._told_deg: float | None = None
        self._camera = settings.camera

    def __call__(self) -> Camera:
        return self._camera

    @property
    def known_deg(self) -> float:
        """The angle that was set or that the camera told; 0 = neither."""
        return self._settings.camera_fov_deg or self._told_deg or 0.0

    def saw(self, frame: VideoFrame) -> None:
        """A picture of the walk."""
        if frame.fov_deg == self._told_deg:
            return
        self._told_deg = frame.fov_deg
        try:
            camera = self._settings.camera_that_sees(frame.fov_deg)
            camera.check_ground()
        except ConfigError as error:
            logger.warning("Distances are told as if the camera saw %g degrees. %s", self._camera.fov_deg, error)
            return
        self._camera = camera
        logger.info("Distances are told for a camera that sees %g degrees.", camera.fov_deg)
