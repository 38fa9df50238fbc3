"""Puts picamera2's own package beside the libcamera of this folder, in this process.

The wheels are those that scripts/setup lays into build/contract (tests/device/capture/pi/contract.txt). Only the edge
of the system is replaced: the DMA heap, whose buffers are memory files here; libcamera; and modules that picamera2
imports for encoders and file formats that are not used here, and that cannot be installed from wheels everywhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from device.capture.pipe import Outlet
from tests.device.capture.pi import libcamera
from tests.device.capture.pi.sensors import Sensor
from tests.paths import ROOT

WHEELS = ROOT / "build" / "contract"
NEEDED = ("picamera2", "videodev2")


class _AnyName:
    """Pixel formats of a display, by name."""

    def __getattr__(self, name: str) -> str:
        return name


_UNUSED: dict[str, dict[str, Any]] = {
    "pidng": {}, "pidng.camdefs": {"Picamera2Camera": None}, "pidng.core": {"PICAM2DNG": None}, "piexif": {},
    "pykms": {"PixelFormat": _AnyName()},
    "prctl": {}, "simplejpeg": {},
}  # fmt: skip


def wheels() -> list[str]:
    """The wheels, or as many as are there."""
    return [str(file) for name in NEEDED for file in sorted(WHEELS.glob(f"{name}-*.whl"))]


class MemoryHeap:
    """In the place of picamera2.dma_heap.DmaHeap."""

    def alloc(self, name: str, size: int) -> Any:
        fd = os.memfd_create(name)
        os.ftruncate(fd, size)
        return SimpleNamespace(get=lambda: fd, isValid=lambda: True)

    def close(self) -> None: ...


def install(*plugged: Sensor, light: float = 20_000.0) -> None:
    """From now on `import picamera2` gives the real one, with these cameras. light: as in CameraManager.plugged"""
    libcamera.CameraManager.plugged = tuple((sensor, light) for sensor in plugged)
    libcamera.CameraManager._only = None
    if "libcamera" in sys.modules:
        return
    sys.path[:0] = wheels()
    for name, content in _UNUSED.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__dict__.update(content)
    sys.modules["libcamera"] = libcamera
    sys.modules["libcamera.controls"] = libcamera.controls  # type: ignore[assignment]
    from picamera2.allocators import dmaallocator

    dmaallocator.DmaHeap = MemoryHeap
    dmaallocator.fcntl = SimpleNamespace(ioctl=lambda *arguments: 0)
    assert fcntl.ioctl is not dmaallocator.fcntl.ioctl


SHIM = """\
import sys
sys.path.remove({folder!r})
del sys.modules["picamera2"]
from tests.device.capture.pi import bench, sensors
bench.install(sensors.ALL[{model!r}])
import picamera2
"""


def plug_into(folder: Path, sensor: Sensor) -> None:
    """Put a module into `folder` by which every process that has it on its path imports picamera2 with this camera."""
    (folder / "picamera2.py").write_text(SHIM.format(folder=str(folder), model=sensor.model))


def remove() -> None:
    """Forget it all."""
    gone = ("libcamera", "picamera2", "videodev2", *_UNUSED)
    for name in [name for name in sys.modules if name.partition(".")[0] in gone]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in wheels()]


class Enough(Exception):
    """Ends a capture function, which runs for ever."""


class Pictures(Outlet):
    """What the adapter hands out, up to a number of pictures."""

    def __init__(self, wanted: int) -> None:
        self.facts: dict[str, Any] = {}
        self.images: list[Any] = []
        self.times_s: list[float] = []
        self._wanted = wanted

    def hello(self, facts: Any) -> None:
        self.facts = dict(facts)

    def picture(self, image: Any, t_s: float) -> None:
        self.images.append(image)
        self.times_s.append(t_s)
        if len(self.images) >= self._wanted:
            raise Enough


@contextlib.contextmanager
def closed_afterwards() -> Iterator[None]:
    """Close the cameras that were opened meanwhile, which the capture process does by ending."""
    from picamera2 import Picamera2

    try:
        yield
    finally:
        for camera in list(Picamera2._cm.cameras.values()):
            camera.close()
        Picamera2._cm._cms = None
