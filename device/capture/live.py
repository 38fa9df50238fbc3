"""A camera and a microphone as one source; either may be missing."""

from __future__ import annotations

from device.capture.camera import CameraSource
from device.capture.merged import CaptureSource
from device.capture.microphone import MicrophoneSource
from device.capture.picamera2 import Picamera2Source


class LiveSource(CaptureSource):
    """Pictures and sound merged by time. A microphone that is not there yet does not hold the camera up.

    Raises: MediaError where both are None.
    """

    def __init__(
        self, camera: CameraSource | Picamera2Source | None, microphone: MicrophoneSource | None = None
    ) -> None:
        plans = [plan for part in (camera, microphone) if part is not None for plan in part.plans]
        super().__init__(*plans)
