"""A camera and a microphone as one source; either may be missing."""

from __future__ import annotations

from device.sources.camera import CameraSource
from device.sources.merged import CaptureSource
from device.sources.microphone import MicrophoneSource
from device.sources.picamera2 import Picamera2Source


class LiveSource(CaptureSource):
    """Pictures and sound merged by time. A microphone that is not there yet does not hold the camera up.

    Raises: MediaError where both are None.
    """

    def __init__(
        self, camera: CameraSource | Picamera2Source | None, microphone: MicrophoneSource | None = None
    ) -> None:
        plans = [plan for part in (camera, microphone) if part is not None for plan in part.plans]
        super().__init__(*plans)


def live_source(camera: CameraSource | Picamera2Source, microphone: str | None) -> LiveSource:
    """`microphone` as the configuration names it: "none" or None for none."""
    heard = None if microphone in (None, "", "none") else MicrophoneSource(microphone or "default")
    return LiveSource(camera, heard)
