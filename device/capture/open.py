"""Which source a setting names: the one place that knows all of them."""

from __future__ import annotations

from pathlib import Path

from device.capture.camera import camera_plan
from device.capture.live import LiveSource
from device.capture.microphone import microphone_plan
from device.capture.picamera2 import camera_number, picamera2_plan
from device.capture.replay import ReplaySource
from device.capture.settings import CaptureSettings
from device.capture.source import Source
from shared.clock import Clock
from shared.errors import ConfigError


def open_source(settings: CaptureSettings, *, clock: Clock | None = None) -> Source:
    """The source that `settings.source` names, not yet opened: call its `open`.

    It is `replay:FILE`, `camera:INDEX`, `camera:/dev/videoN`, `camera:GSTREAMER ! PIPELINE`, `picamera2` or
    `picamera2:INDEX`. All settings but the pace are for live sources.
    Raises: ConfigError for a source or setting that is none of these.
    """
    kind, _, rest = settings.source.partition(":")
    if kind == "replay" and rest:
        return ReplaySource(Path(rest), pace=settings.pace, clock=clock, untimed_fps=settings.film_fps)
    if kind == "replay":
        raise ConfigError("The source 'replay:' names no file.", hint="Write replay:FILE, such as replay:walk.mp4.")
    if kind not in ("camera", "picamera2"):
        raise ConfigError(f"There is no source {settings.source!r}.", hint="Use replay:FILE, camera:0 or picamera2.")
    if settings.pace != "real":
        raise ConfigError(
            f"The pace {settings.pace!r} is for replay; {settings.source!r} is live.", hint="Leave --pace out."
        )
    plans = [camera_plan(rest or "0", settings) if kind == "camera" else picamera2_plan(camera_number(rest), settings)]
    if settings.microphone not in ("", "none"):
        plans.append(microphone_plan(settings.microphone))
    return LiveSource(*plans)
