"""The Raspberry Pi camera through picamera2.

picamera2 comes with Raspberry Pi OS, from apt, and is bound to the system's libcamera: it cannot be installed from
PyPI into a virtual environment without that. The capture runs in a process of its own: capture_request() is known to
hang on a loose cable (picamera2 issues 794, 1086, 1264).
"""

from __future__ import annotations

import time
from typing import Any

from device.capture import rotate, sensor_modes
from device.capture.pipe import Outlet
from device.capture.sensor_modes import SensorMode
from device.capture.settings import CaptureSettings
from device.capture.worker_process import Plan
from shared.clock import SystemClock
from shared.errors import ConfigError, MediaError

APT_HINT = (
    "On Raspberry Pi OS: sudo apt install python3-picamera2, and make the virtual environment with"
    " --system-site-packages. For a USB camera use camera:0 instead."
)
NUMPY_HINT = (
    "A module of the system was built for another numpy than this virtual environment has, most likely simplejpeg."
    " Install it there too: bin/pip install --upgrade --force-reinstall simplejpeg"
)
HINT = "Check the ribbon cable and that `rpicam-hello --list-cameras` lists the camera and no other program uses it."
_STALEST_S = 1.0


def picamera2_plan(number: int = 0, settings: CaptureSettings | None = None) -> Plan:
    """Pictures from the Pi camera. Raises: ConfigError."""
    options = {"number": number, **(settings or CaptureSettings()).camera_options()}
    return Plan(f"Pi camera {number}", "picture", "device.capture.picamera2:capture", options, HINT)


def camera_number(text: str) -> int:
    """The number after "picamera2:"; "" = 0. Raises: ConfigError."""
    if text and not text.isdecimal():
        raise ConfigError(f"picamera2:{text} is not a camera.", hint="Use picamera2 or picamera2:1.")
    return int(text or "0")


def capture(out: Outlet, *, number: int, width_px: int, height_px: int, fps: float, rotate_deg: int) -> None:
    """Runs in the capture process, for ever. Raises: MediaError when the camera cannot be opened."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MediaError(f"picamera2 is missing ({error})", hint=APT_HINT) from error
    except ValueError as error:  # "numpy.dtype size changed": a module of apt's beside another numpy
        raise MediaError(f"picamera2 cannot be loaded ({error})", hint=NUMPY_HINT) from error
    try:
        camera = Picamera2(number)
        mode = sensor_modes.choose(
            sensor_modes.modes(camera.sensor_modes), width_px=width_px, height_px=height_px, fps=fps
        )
        camera.configure(_configuration(camera, mode, size=(width_px, height_px), fps=fps))
        camera.start()
    except (RuntimeError, IndexError) as error:
        raise MediaError(f"libcamera cannot open camera {number} ({error})") from error
    facts = {"fps": fps if mode is None else min(fps, mode.fps), **_shows(camera, mode)}
    greeted = False
    while True:
        request = camera.capture_request()
        try:
            t_s = _shutter_s(request.get_metadata().get("SensorTimestamp", 0))
            image = rotate.turned(request.make_array("main"), rotate_deg)
        finally:
            request.release()
        if not greeted:
            out.hello({"width_px": image.shape[1], "height_px": image.shape[0], **facts})
            greeted = True
        out.picture(image, t_s)


def _configuration(camera: Any, mode: SensorMode | None, *, size: tuple[int, int], fps: float) -> Any:
    """A video configuration of picamera2. mode: None for a camera without modes, as a USB camera behind libcamera."""
    sensor: dict[str, Any] = {}
    if mode is not None:
        size = sensor_modes.picture_size(mode, width_px=size[0], height_px=size[1])
        raw = (mode.width_px, mode.height_px)
        # Both: `raw` is what older versions go by, `sensor` what newer ones do.
        sensor = {
            "raw": {"size": raw, "format": mode.format},
            "sensor": {"output_size": raw, "bit_depth": mode.bit_depth},
        }
    rate = fps if mode is None else min(fps, mode.fps)
    main = {"size": size, "format": "BGR888"}  # libcamera's name for bytes in the order R, G, B
    return camera.create_video_configuration(main=main, controls={"FrameRate": rate}, **sensor)


def _shows(camera: Any, mode: SensorMode | None) -> dict[str, Any]:
    """What the mode shows, for the log."""
    if mode is None:
        return {}
    properties = camera.camera_properties
    name, whole_px = str(properties.get("Model", "")), properties.get("PixelArraySize", (0, 0))[0]
    fov_deg = sensor_modes.field_of_view_deg(name, mode, sensor_width_px=whole_px)
    return {"mode": f"{name} {mode.width_px}x{mode.height_px}", "fov_deg": fov_deg}


def _shutter_s(sensor_ns: int) -> float:
    """libcamera stamps with CLOCK_MONOTONIC; the source clock is CLOCK_BOOTTIME, which goes on during suspend."""
    age_s = time.monotonic() - sensor_ns / 1e9
    return SystemClock().monotonic_s() - (age_s if 0 <= age_s <= _STALEST_S else 0.0)
