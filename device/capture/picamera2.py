"""The Raspberry Pi camera through picamera2.

picamera2 comes with Raspberry Pi OS, from apt, and is bound to the system's libcamera: it cannot be installed from
PyPI into a virtual environment without that. The capture runs in a process of its own: capture_request() is known to
hang on a loose cable (picamera2 issues 794, 1086, 1264).
"""

from __future__ import annotations

import time
from typing import Any

from device.capture import pi_controls, rotate, sensor_modes
from device.capture.pipe import Outlet
from device.capture.sensor_modes import SensorMode
from device.capture.settings import CaptureSettings
from device.capture.source import SeveralCameras
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
USB_HINT = "For a USB camera use camera:0, or camera: and part of its name."
STALEST_S = 5.0  # by then a camera that gives nothing was restarted
_RGB = ("BGR888", "MJPEG")  # libcamera's name for bytes in the order R, G, B; what picamera2 itself decodes to them


def picamera2_plan(number: int | None = None, settings: CaptureSettings | None = None) -> Plan:
    """Pictures from a Pi camera; None = the only one. Raises: ConfigError."""
    options = {"number": number, **(settings or CaptureSettings()).camera_options()}
    return Plan(f"Pi camera {number or 0}", "picture", "device.capture.picamera2:capture", options, HINT)


def camera_number(text: str) -> int | None:
    """The number after "picamera2:"; "" = None. Raises: ConfigError."""
    if text and not text.isdecimal():
        raise ConfigError(f"picamera2:{text} is not a camera.", hint="Use picamera2 or picamera2:1.")
    return int(text) if text else None


def capture(out: Outlet, *, number: int | None, width_px: int, height_px: int, fps: float, rotate_deg: int) -> None:
    """Runs in the capture process, for ever. number: None = the only camera.

    raises: MediaError when the camera cannot be opened, or number is None and there are several
    """
    camera, mode = _started(number, size=(width_px, height_px), fps=fps)
    rate = fps if mode is None else min(fps, mode.fps)
    greeted = False
    while True:
        request = camera.capture_request()
        try:
            metadata = request.get_metadata()
            now_s = SystemClock().monotonic_s()
            t_s = shutter_s(metadata.get("SensorTimestamp", 0), monotonic_s=time.monotonic(), boot_s=now_s)
            image = rotate.turned(request.make_array("main"), rotate_deg)
        finally:
            request.release()
        if not greeted:
            shown = _shows(camera, mode, metadata, turned=rotate_deg in (90, 270))
            out.hello({"width_px": image.shape[1], "height_px": image.shape[0], "fps": rate, **shown})
            greeted = True
        out.picture(image, t_s)


def _started(number: int | None, *, size: tuple[int, int], fps: float) -> tuple[Any, SensorMode | None]:
    """The running camera, and how its sensor is read. Raises: MediaError."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MediaError(f"picamera2 is missing ({error})", hint=APT_HINT) from error
    except ValueError as error:  # "numpy.dtype size changed": a module of apt's beside another numpy
        raise MediaError(f"picamera2 cannot be loaded ({error})", hint=NUMPY_HINT) from error
    try:
        if number is None:
            _check_only(Picamera2.global_camera_info())
        camera = Picamera2(number or 0)
        mode = sensor_modes.choose(
            sensor_modes.modes(camera.sensor_modes), width_px=size[0], height_px=size[1], fps=fps
        )
        camera.configure(_configuration(camera, mode, size=size, fps=fps))
        given = camera.camera_configuration()["main"]["format"]
        if given not in _RGB:
            raise MediaError(f"camera {number or 0} gives {given} where RGB was asked", hint=USB_HINT)
        camera.start()
    except (RuntimeError, IndexError) as error:
        raise MediaError(f"libcamera cannot open camera {number or 0} ({error})") from error
    return camera, mode


def _check_only(listed: list[dict[str, Any]]) -> None:
    """Raises: SeveralCameras where they hang at the ribbon cables: which of them is the wearer's is not
    guessed."""
    found = [
        f"picamera2:{number} is {camera.get('Model', '?')} at {camera.get('Id', '?')}"
        for number, camera in enumerate(listed)
    ]
    if sum("/usb" not in camera.get("Id", "") for camera in listed) > 1:
        hint = f"Set capture.source to one of them: {'; '.join(found)}."
        raise SeveralCameras("there are several cameras", hint=hint)


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
    controls = pi_controls.for_walking(camera.camera_controls, fps=fps if mode is None else min(fps, mode.fps))
    main = {"size": size, "format": _RGB[0]}
    return camera.create_video_configuration(main=main, controls=controls, **sensor)


def _shows(camera: Any, mode: SensorMode | None, metadata: dict[str, Any], *, turned: bool) -> dict[str, Any]:
    """What its pictures show, by the crop that libcamera tells of the first of them."""
    if mode is None:
        return {}
    properties = camera.camera_properties
    name, whole_px = str(properties.get("Model", "")), properties.get("PixelArraySize", (0, 0))[0]
    crop_px = tuple(metadata.get("ScalerCrop", (0, 0, *mode.crop_px)))[2:]
    fov_deg = sensor_modes.field_of_view_deg(name, crop_px, sensor_width_px=whole_px, turned=turned)
    return {"mode": f"{name} {mode.width_px}x{mode.height_px}", "fov_deg": fov_deg}


def shutter_s(sensor_ns: int, *, monotonic_s: float, boot_s: float) -> float:
    """When a picture was taken, on CLOCK_BOOTTIME, the clock of sources. monotonic_s, boot_s: both clocks now.

    libcamera documents SensorTimestamp as CLOCK_BOOTTIME, but drivers stamp with CLOCK_MONOTONIC, which stands still
    while the board sleeps: it is the one by which the picture is a little old. By neither: as if taken now.
    """
    ages_s = (monotonic_s - sensor_ns / 1e9, boot_s - sensor_ns / 1e9)
    return boot_s - next((age_s for age_s in ages_s if 0 <= age_s <= STALEST_S), 0.0)
