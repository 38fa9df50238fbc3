"""Which source a setting names: the one place that knows all of them."""

from __future__ import annotations

import re
from pathlib import Path

from device.capture.camera import camera_plan
from device.capture.gstreamer import gstreamer_plan
from device.capture.live import LiveSource
from device.capture.microphone import microphone_plan
from device.capture.picamera2 import camera_number, picamera2_plan
from device.capture.replay import ReplaySource
from device.capture.settings import CaptureSettings
from device.capture.source import Source
from device.capture.worker_process import Plan
from shared import settings as words
from shared.clock import Clock
from shared.errors import ConfigError

SOURCES = {
    "none": "sync and update only",
    "replay": "replay:FILE",
    "camera": "camera:0, camera:C920 (part of its name), camera:/dev/v4l/by-id/…",
    "picamera2": "the Pi camera",
}
SHORTEST_NAME = 3
_VIDEO = re.compile(r"video\d*\Z")
HINT = "Use replay:FILE, camera:0, picamera2 or none."


def check_source(source: str) -> None:
    """Whether it names a source at all. Raises: ConfigError with the nearest word."""
    kind, colon, rest = source.partition(":")
    if kind not in SOURCES or (kind == "none" and colon):
        words.refuse_near("capture.source", kind if kind not in SOURCES else source, SOURCES)
        if Path(source).expanduser().is_file():
            raise ConfigError(f"There is no source {source!r}.", hint=f"To play that file: replay:{source}.")
        raise ConfigError(f"There is no source {source!r}.", hint=HINT)
    if kind == "replay" and not rest:
        raise ConfigError("The source 'replay:' names no file.", hint="Write replay:FILE, such as replay:walk.mp4.")
    if kind == "camera":
        _check_camera(rest)
    if kind == "picamera2":
        camera_number(rest)


def _check_camera(name: str) -> None:
    """Raises: ConfigError for what is neither a number, a path, a pipeline nor part of a name; "" = the only camera."""
    named = len(name) >= SHORTEST_NAME and not _VIDEO.match(name)
    if name and not (name.isdecimal() or "/" in name or " ! " in name or named):
        nearest = f"/dev/{name}" if _VIDEO.match(name) else "0 or camera:/dev/video0"
        raise ConfigError(f"There is no camera {name!r}.", hint=f"Did you mean camera:{nearest}?")


def open_source(settings: CaptureSettings, *, clock: Clock | None = None) -> Source:
    """The source that `settings.source` names, not yet opened: call its `open`.

    It is `replay:FILE`, `camera:INDEX`, `camera:NAME`, `camera:/dev/…`, `camera:GSTREAMER ! PIPELINE`, `picamera2` or
    `picamera2:INDEX`. All settings but the pace are for live sources.
    Raises: ConfigError for a source or setting that is none of these.
    """
    check_source(settings.source)
    kind, _, rest = settings.source.partition(":")
    if kind == "none":
        raise ConfigError("The source 'none' gives nothing to open.", hint=HINT)
    if kind == "replay":
        return ReplaySource(Path(rest).expanduser(), pace=settings.pace, clock=clock, untimed_fps=settings.film_fps)
    if settings.pace != "real":
        raise ConfigError(
            f"The pace {settings.pace!r} is for replay; {settings.source!r} is live.", hint="Leave --pace out."
        )
    plans = [_camera(rest, settings) if kind == "camera" else picamera2_plan(camera_number(rest), settings)]
    if settings.microphone not in ("", "none"):
        plans.append(microphone_plan(settings.microphone))
    return LiveSource(*plans)


def _camera(name: str, settings: CaptureSettings) -> Plan:
    return gstreamer_plan(name, settings) if " ! " in name else camera_plan(name or "0", settings)
