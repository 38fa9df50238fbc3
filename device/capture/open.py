"""Which source a setting names: the one place that knows all of them."""

from __future__ import annotations

from pathlib import Path

from device.capture.camera import CameraSource
from device.capture.live import LiveSource
from device.capture.microphone import MicrophoneSource
from device.capture.picamera2 import Picamera2Source, camera_number
from device.capture.replay import ReplaySource
from device.capture.source import Pace, Source
from shared.clock import Clock
from shared.errors import ConfigError


def open_source(
    spec: str,
    *,
    pace: Pace = "real",
    clock: Clock | None = None,
    microphone: str | None = "default",
    width_px: int = 640,
    height_px: int = 480,
    fps: float = 15.0,
    rotate_deg: int = 0,
) -> Source:
    """The source that `spec` names, not yet opened: call its `open`.

    spec: `replay:FILE`, `camera:INDEX`, `camera:/dev/videoN`, `camera:GSTREAMER ! PIPELINE`, `picamera2` or
    `picamera2:INDEX`. The other settings but pace and clock are for live sources: microphone is a name, an index,
    "default" or None for none; rotate_deg turns the camera's picture clockwise by 0, 90, 180 or 270.
    Raises: ConfigError for a spec or setting that is none of these.
    """
    kind, _, rest = spec.partition(":")
    if kind == "replay" and rest:
        return ReplaySource(Path(rest), pace=pace, clock=clock)
    if kind == "replay":
        raise ConfigError("The source 'replay:' names no file.", hint="Write replay:FILE, such as replay:walk.mp4.")
    if kind not in ("camera", "picamera2"):
        raise ConfigError(f"There is no source {spec!r}.", hint="Use replay:FILE, camera:0 or picamera2.")
    if pace != "real":
        raise ConfigError(f"The pace {pace!r} is for replay; {spec!r} is live.", hint="Leave --pace out.")
    look: CameraSource | Picamera2Source
    if kind == "camera":
        look = CameraSource(rest or "0", width_px=width_px, height_px=height_px, fps=fps, rotate_deg=rotate_deg)
    else:
        look = Picamera2Source(
            camera_number(rest), width_px=width_px, height_px=height_px, fps=fps, rotate_deg=rotate_deg
        )
    return live_source(look, microphone)


def live_source(camera: CameraSource | Picamera2Source, microphone: str | None) -> LiveSource:
    """`microphone` as the configuration names it: "none" or None for none."""
    heard = None if microphone in (None, "", "none") else MicrophoneSource(microphone or "default")
    return LiveSource(camera, heard)
