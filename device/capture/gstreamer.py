"""A camera behind a GStreamer pipeline, as the CSI cameras of a Jetson are, through the program gst-launch-1.0.

OpenCV as it comes from PyPI is built without GStreamer, and JetPack's, which has it, is for one Python only: so the
pipeline runs in a process of its own, whose RGB pictures come through a pipe. It says what is missing before it starts.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from device.capture import rotate
from device.capture.pipe import Outlet
from device.capture.settings import CaptureSettings
from device.capture.worker_main import die_with_parent
from device.capture.worker_process import Plan
from shared.clock import SystemClock
from shared.errors import MediaError

HINT = (
    "Try it in a terminal: gst-launch-1.0 -v PIPELINE ! fakesink. On a Jetson: sudo systemctl restart nvargus-daemon."
)
APT_HINT = (
    "Install it: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
    " (a Jetson has it with JetPack)."
)
PACKAGES = {
    "nv": "nvidia-l4t-gstreamer, which is part of JetPack",
    "libcamerasrc": "gstreamer1.0-libcamera",
    "v4l2src": "gstreamer1.0-plugins-good",
    "jpegdec": "gstreamer1.0-plugins-good",
    "videoconvert": "gstreamer1.0-plugins-base",
    "avdec": "gstreamer1.0-libav",
}
"""Beginning of an element's name → the package that has it."""
_SINK = re.compile(r"\s*!\s*(?:appsink|fakesink|fdsink)\b[^!]*$")
_ELEMENT = re.compile(r"^[a-z][a-z0-9_-]*$")
_CAPS = re.compile(r"GstFdSink.*sink: caps = video/x-raw.*?width=\(int\)(\d+).*?height=\(int\)(\d+)")
_LAST_WORDS = 20  # lines
LAST_WORDS_S = 1.0


def gstreamer_plan(pipeline: str, settings: CaptureSettings | None = None) -> Plan:
    """pipeline: as gst-launch-1.0 takes it; what is behind the last picture, such as "! appsink", is left out."""
    chosen = settings or CaptureSettings()
    options = {"pipeline": pipeline, "fps": chosen.fps, "rotate_deg": chosen.camera_options()["rotate_deg"]}
    return Plan(f"camera {pipeline}", "picture", "device.capture.gstreamer:capture", options, HINT)


def elements(pipeline: str) -> list[str]:
    """The names of its elements, without caps and named pads."""
    first = (part.split()[0] for part in pipeline.split("!") if part.strip())
    return [name for name in first if _ELEMENT.match(name)]


def capture(out: Outlet, *, pipeline: str, fps: float, rotate_deg: int) -> None:
    """Runs in the capture process, until the pipeline ends. Raises: MediaError with what is missing or went wrong."""
    wanted = _SINK.sub("", pipeline)
    _check([*elements(wanted), "videoconvert"])
    ours, theirs = os.pipe()
    newest = "queue leaky=downstream max-size-buffers=1"
    command = f"-v {wanted} ! {newest} ! videoconvert ! video/x-raw,format=RGB ! fdsink fd={theirs} sync=false"
    with subprocess.Popen(
        ["gst-launch-1.0", *shlex.split(command)],
        pass_fds=(theirs,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
    ) as process:
        os.close(theirs)
        try:
            _hand_out(out, process, ours, fps=fps, rotate_deg=rotate_deg)
        finally:
            process.send_signal(signal.SIGKILL)


def _check(names: list[str]) -> None:
    """Raises: MediaError naming the first thing that is missing, and the package that has it."""
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None or shutil.which("gst-launch-1.0") is None:
        raise MediaError("the program gst-launch-1.0 is missing", hint=APT_HINT)
    for name in names:
        if subprocess.run([inspect, "--exists", name], check=False).returncode:
            package = next((package for start, package in PACKAGES.items() if name.startswith(start)), None)
            hint = f"It is in {package}." if package else "Is it spelt right? See: gst-inspect-1.0"
            raise MediaError(f"GStreamer here has no element {name}", hint=hint)


def _hand_out(out: Outlet, process: subprocess.Popen[bytes], fd: int, *, fps: float, rotate_deg: int) -> None:
    clock = SystemClock()
    width, height = _size(process)
    said: deque[str] = deque(maxlen=_LAST_WORDS)
    listener = threading.Thread(
        target=_listen, args=(process, said), daemon=True
    )  # a full pipe would stop the pictures
    listener.start()
    stride = -(-width * 3 // 4) * 4  # GStreamer's rows begin at multiples of four bytes
    rows = np.empty((height, stride), np.uint8)
    greeted = False
    while _fill(fd, rows.data.cast("B")):
        t_s = clock.monotonic_s()
        image = rotate.turned(np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3), rotate_deg)
        if not greeted:
            out.hello({"width_px": image.shape[1], "height_px": image.shape[0], "fps": fps})
            greeted = True
        out.picture(image, t_s)
    listener.join(LAST_WORDS_S)
    raise MediaError(f"GStreamer: {_error_in(tuple(said))}")


def _listen(process: subprocess.Popen[bytes], said: deque[str]) -> None:
    assert process.stdout is not None
    said.extend(line.decode(errors="replace").strip() for line in process.stdout)


def _size(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Width and height of the pictures, from what gst-launch-1.0 -v says. Raises: MediaError where it ends instead."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        text = line.decode(errors="replace").strip()
        said.append(text)
        found = _CAPS.search(text)
        if found:
            return int(found[1]), int(found[2])
    raise MediaError(f"GStreamer: {_error_in(said)}")


def _fill(fd: int, picture: memoryview) -> bool:
    """Read one picture. False at the end."""
    while picture:
        count = os.readv(fd, [picture])
        if count == 0:
            return False
        picture = picture[count:]
    return True


def _error_in(lines: Sequence[str]) -> str:
    errors = [line for line in lines if line.startswith(("ERROR", "WARNING: erroneous"))]
    return (errors or [line for line in lines if line][-1:] or ["it ended without a word"])[0]
