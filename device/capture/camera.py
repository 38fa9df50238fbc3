"""A camera that OpenCV can open: a USB camera, a V4L2 device, or a video file as if it were a camera.

The capture runs in a process of its own (device.capture.worker_process): VideoCapture.read() has no timeout, and a USB
camera with a loose plug makes it hang.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.capture import rotate, v4l2
from device.capture.pipe import Outlet
from device.capture.settings import CaptureSettings
from device.capture.supervisor import Limits
from device.capture.worker_process import Plan
from shared.clock import SystemClock
from shared.errors import MediaError

MOST_DAMAGED = 5  # half a second at 10 a second: to start the camera again takes longer
HINT = (
    "Check the plug, that `ls /dev/video*` lists the camera, that no other program uses it, and that this user is in"
    " the group video (sudo usermod -aG video $USER)."
)


def camera_plan(device: int | str, settings: CaptureSettings | None = None, *, limits: Limits | None = None) -> Plan:
    """device: as device.capture.v4l2 takes it, or a video file. Raises: ConfigError."""
    options = {"device": str(device), **(settings or CaptureSettings()).camera_options()}
    target = "device.capture.camera:capture"
    return Plan(f"camera {device}", "picture", target, options, HINT, limits or Limits())


def capture(out: Outlet, *, device: str, width_px: int, height_px: int, fps: float, rotate_deg: int) -> None:
    """Runs in the capture process. Returns at the end of a file. Raises: MediaError when there are no pictures."""
    import cv2  # only this process pays for it

    cv2.setNumThreads(1)
    clock = SystemClock()
    is_file = Path(device).is_file()
    video = _opened(cv2, device, width_px=width_px, height_px=height_px, fps=fps)
    rate = video.get(cv2.CAP_PROP_FPS)
    started_s = clock.monotonic_s()
    for number, image in enumerate(_pictures(video.read, is_file=is_file, device=device)):
        if is_file:  # a file gives its pictures as fast as it can: hold it to its own times
            due_s = started_s + video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            clock.sleep(max(0.0, due_s - clock.monotonic_s()))
        t_s = clock.monotonic_s()
        image = rotate.turned(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), rotate_deg)
        if not number:
            out.hello({"width_px": image.shape[1], "height_px": image.shape[0], "fps": rate if rate > 0 else fps})
        out.picture(image, t_s)


def _pictures(
    read: Callable[[], tuple[bool, NDArray[np.uint8] | None]], *, is_file: bool, device: str
) -> Iterator[NDArray[np.uint8]]:
    """BGR, as long as there are any. A picture that was damaged on the way from a camera is left out.

    raises: MediaError where MOST_DAMAGED in a row give nothing
    """
    missed, number = 0, 0
    while True:
        good, image = read()
        if good and image is not None:
            missed, number = 0, number + 1
            yield image
            continue
        if is_file and number:
            return
        missed += 1
        if is_file or missed > MOST_DAMAGED:
            raise MediaError(f"{device!r} stopped giving pictures" if number else f"{device!r} gives no picture")


def _opened(cv2: Any, wanted: str, *, width_px: int, height_px: int, fps: float) -> Any:
    """Raises: MediaError."""
    device = wanted if Path(wanted).is_file() else v4l2.device_of(wanted, v4l2.plugged())
    video = _open(cv2, device, width_px=width_px, height_px=height_px, fps=fps)
    if not video.isOpened():
        raise MediaError(f"OpenCV cannot open {wanted!r}" + (f" ({device})" if device != wanted else ""))
    return video


def _open(cv2: Any, device: str, *, width_px: int, height_px: int, fps: float) -> Any:
    if not device.startswith("/dev/"):
        return cv2.VideoCapture(device)
    video = cv2.VideoCapture(device, cv2.CAP_V4L2)
    # MJPG: a USB 2 camera has no room for more than 10 raw pictures of 640×480 a second beside a microphone.
    video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    video.set(cv2.CAP_PROP_FRAME_WIDTH, width_px)
    video.set(cv2.CAP_PROP_FRAME_HEIGHT, height_px)
    video.set(cv2.CAP_PROP_FPS, fps)
    video.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not the oldest of four
    return video
