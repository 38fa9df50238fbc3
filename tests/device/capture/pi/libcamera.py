"""The part of libcamera's Python module that picamera2 uses, over sensors that are made here.

It keeps the rules of Raspberry Pi's pipeline handler (src/libcamera/pipeline/rpi/common/pipeline_base.cpp) that decide
what a picture shows: a sensor configuration is applied as it is or refused; the picture is cut out of the middle of the
mode's crop, as large as its shape allows; exposure follows the stages of Raspberry Pi's tuning files. Every pixel says
where on the whole sensor it lies: red from left to right, green from top to bottom. Blue is a pattern that is sharp.
"""

from __future__ import annotations

import copy
import enum
import mmap
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.device.capture.pi.sensors import MODULE_2, Mode, Sensor

CLOCK_NS = time.monotonic_ns
ISP_DELAY_NS = 30_000_000
SHUTTERS_US = {0: (100, 10_000, 30_000, 60_000, 66_666), 1: (100, 5_000, 10_000, 20_000, 66_666)}
"""By AeExposureMode: the stages of rpi.agc in Raspberry Pi's tuning of the imx219."""
GAINS = (1.0, 2.0, 4.0, 6.0, 10.0)


class StreamRole(enum.Enum):
    Raw = 0
    StillCapture = 1
    VideoRecording = 2
    Viewfinder = 3


class Orientation(enum.Enum):
    Rotate0 = 1
    Rotate0Mirror = 2
    Rotate180 = 3
    Rotate180Mirror = 4
    Rotate90Mirror = 5
    Rotate270 = 6
    Rotate270Mirror = 7
    Rotate90 = 8


class ControlType(enum.Enum):
    Null = 0
    Integer32 = 1
    Integer64 = 2
    Float = 3
    Rectangle = 4
    Size = 5


class Transform:
    hflip: bool
    vflip: bool
    transpose: bool

    def __init__(self, rotation: Any = 0, hflip: bool = False, vflip: bool = False, transpose: bool = False) -> None:
        if isinstance(rotation, Transform):
            hflip, vflip, transpose = rotation.hflip, rotation.vflip, rotation.transpose
        self.hflip, self.vflip, self.transpose = bool(hflip), bool(vflip), bool(transpose)

    def __hash__(self) -> int:
        return hash((self.hflip, self.vflip, self.transpose))

    def __str__(self) -> str:
        return f"<Transform {vars(self)}>"


class ColorSpace:
    class YcbcrEncoding(enum.Enum):
        Null = 0
        Rec601 = 1
        Rec709 = 2

    class Range(enum.Enum):
        Full = 0
        Limited = 1

    def __init__(self, name: Any) -> None:
        self.primaries = self.transferFunction = name
        self.ycbcrEncoding, self.range = self.YcbcrEncoding.Rec601, self.Range.Limited
        if isinstance(name, ColorSpace):
            self.__dict__ = dict(name.__dict__)

    def __hash__(self) -> int:
        return hash(self.primaries)

    def __str__(self) -> str:
        return f"<ColorSpace {self.primaries}>"

    @classmethod
    def Sycc(cls) -> ColorSpace:  # noqa: N802
        return cls("sycc")

    @classmethod
    def Smpte170m(cls) -> ColorSpace:  # noqa: N802
        return cls("smpte170m")

    @classmethod
    def Rec709(cls) -> ColorSpace:  # noqa: N802
        return cls("rec709")

    @classmethod
    def Raw(cls) -> ColorSpace:  # noqa: N802
        return cls("raw")


@dataclass
class Size:
    width: int = 0
    height: int = 0


@dataclass
class Rectangle:
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class PixelFormat:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class ControlId:
    name: str
    type: ControlType = ControlType.Integer32


@dataclass
class ControlInfo:
    min: Any
    max: Any
    default: Any


def _ids(*names: str, kind: ControlType = ControlType.Integer32) -> dict[str, ControlId]:
    return {name: ControlId(name, kind) for name in names}


controls = SimpleNamespace(
    **_ids(
        "AeEnable", "AeExposureMode", "AfMode", "AfTrigger", "ExposureTime", "ExposureTimeMode", "AnalogueGainMode",
        "HdrMode", "NoiseReductionMode",
    ),
    **_ids("AnalogueGain", "LensPosition", "Brightness", kind=ControlType.Float),
    **_ids("FrameDurationLimits", "SensorTimestamp", kind=ControlType.Integer64),
    **_ids("ScalerCrop", kind=ControlType.Rectangle),
    draft=SimpleNamespace(NoiseReductionModeEnum=SimpleNamespace(Off=0, Fast=1, HighQuality=2, Minimal=3, ZSL=4)),
)  # fmt: skip
properties = SimpleNamespace(
    **_ids("Model", "Location", "Rotation"),
    **_ids("PixelArraySize", kind=ControlType.Size),
    draft=SimpleNamespace(
        ColorFilterArrangement=ControlId("ColorFilterArrangement"), ColorFilterArrangementEnum=SimpleNamespace(MONO=5)
    ),
)
AUTOMATIC = frozenset({"AeExposureMode", "AfMode", "AfTrigger", "HdrMode", "NoiseReductionMode", "FrameDurationLimits"})


class FrameMetadata:
    class Status(enum.Enum):
        Success = 0
        Error = 1


class FrameBuffer:
    class Plane:
        fd = -1
        offset = 0
        length = 0

    def __init__(self, planes: list[Any]) -> None:
        self.planes = planes
        self.metadata = SimpleNamespace(status=FrameMetadata.Status.Success)


class SensorConfiguration:
    def __init__(self) -> None:
        self.bit_depth = 0
        self.output_size = Size()


@dataclass(eq=False)
class StreamConfiguration:
    size: Size
    pixel_format: PixelFormat
    formats: Any
    buffer_count: int = 4
    stride: int = 0
    frame_size: int = 0
    color_space: Any = None
    stream: Any = field(default_factory=object)


class Formats:
    """What a stream can be."""

    def __init__(self, sizes: Mapping[str, tuple[tuple[int, int], ...]]) -> None:
        self._sizes = sizes

    @property
    def pixel_formats(self) -> list[PixelFormat]:
        return [PixelFormat(name) for name in self._sizes]

    def sizes(self, pixel_format: PixelFormat) -> list[Size]:
        return [Size(*size) for size in self._sizes[str(pixel_format)]]


class CameraConfiguration:
    class Status(enum.Enum):
        Valid = 0
        Adjusted = 1
        Invalid = 2

    def __init__(self, sensor: Sensor, streams: list[StreamConfiguration]) -> None:
        self._sensor, self._streams = sensor, streams
        self.orientation = Orientation.Rotate0
        self.sensor_config: SensorConfiguration | None = None
        self.mode: Mode | None = None

    def at(self, index: int) -> StreamConfiguration:
        return self._streams[index]

    def __iter__(self) -> Iterator[StreamConfiguration]:
        return iter(self._streams)

    def validate(self) -> Status:
        if self._sensor.modes:
            wanted = self.sensor_config
            assert wanted is not None, "picamera2 always says which mode it wants"
            exactly = (wanted.bit_depth, wanted.output_size.width, wanted.output_size.height)
            fits = [mode for mode in self._sensor.modes if (mode.bits, mode.width_px, mode.height_px) == exactly]
            if not fits:
                return self.Status.Invalid
            self.mode = fits[0]
        else:
            self._streams[0].pixel_format = PixelFormat("YUYV")  # uvcvideo converts nothing
        for stream in self._streams:
            stream.stride = -(-stream.size.width * 3 // 64) * 64
            stream.frame_size = stream.stride * stream.size.height
        return self.Status.Adjusted


class Request:
    class Status(enum.Enum):
        Pending = 0
        Complete = 1
        Cancelled = 2

    def __init__(self, cookie: int) -> None:
        self.cookie = cookie
        self.status = self.Status.Pending
        self.buffers: dict[Any, FrameBuffer] = {}
        self.metadata: dict[ControlId, Any] = {}
        self.wanted: dict[ControlId, Any] = {}

    def add_buffer(self, stream: Any, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def set_control(self, control: ControlId, value: Any) -> None:
        self.wanted[control] = value

    def reuse(self) -> None:
        self.status = self.Status.Pending


class Camera:
    def __init__(self, manager: CameraManager, sensor: Sensor, number: int, light: float) -> None:
        self._manager, self._sensor, self._light = manager, sensor, light
        place = "/base/soc/i2c0mux/i2c@1/" if sensor.modes else "\\_SB_.PCI0/usb1-1:1.0-"
        self.id = f"{place.replace('usb1', '/usb1')}{sensor.model.split('_')[0]}@{number:x}"
        self.set: dict[str, Any] = {}
        """Controls by name, as the camera was last told."""
        self._configuration: CameraConfiguration | None = None
        self._queue: list[Request] = []
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def properties(self) -> dict[ControlId, Any]:
        named = {properties.Model: self._sensor.model, properties.Location: 2, properties.Rotation: 180}
        named[properties.PixelArraySize] = Size(*self._sensor.size_px)
        return named | ({properties.draft.ColorFilterArrangement: 0} if self._sensor.modes else {})

    @property
    def controls(self) -> dict[ControlId, ControlInfo]:
        named = {controls.Brightness: ControlInfo(-1.0, 1.0, 0.0)}
        if not self._sensor.modes:
            return named
        mode = (self._configuration and self._configuration.mode) or self._sensor.modes[0]
        crop = Rectangle(*mode.crop)
        named |= {
            controls.AeEnable: ControlInfo(False, True, True),
            controls.AeExposureMode: ControlInfo(0, 3, 0),
            controls.ExposureTime: ControlInfo(75, 11_766_829, 20_000),
            controls.ExposureTimeMode: ControlInfo(0, 1, 0),
            controls.AnalogueGain: ControlInfo(1.0, 10.6, 1.0),
            controls.AnalogueGainMode: ControlInfo(0, 1, 0),
            controls.FrameDurationLimits: ControlInfo(round(1e6 / mode.fps), 11_767_556, 33_333),
            controls.HdrMode: ControlInfo(0, 4, 0),
            controls.NoiseReductionMode: ControlInfo(0, 4, 0),
            controls.ScalerCrop: ControlInfo(Rectangle(0, 0, 64, 64), crop, crop),
        }
        if self._sensor.focus:
            lens = {controls.AfMode: ControlInfo(0, 2, 0), controls.AfTrigger: ControlInfo(0, 1, 0)}
            named |= lens | {controls.LensPosition: ControlInfo(0.0, 32.0, 1.0)}
        return named

    def acquire(self) -> None: ...
    def release(self) -> None: ...

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        raw: dict[str, tuple[tuple[int, int], ...]] = {}
        for mode in self._sensor.modes:
            name = f"{self._sensor.bayer}{mode.bits}" + ("_CSI2P" if mode.bits > 8 else "")
            raw[name] = (*raw.get(name, ()), (mode.width_px, mode.height_px))
        formats = Formats(raw or {"MJPEG": ((1280, 720),), "YUYV": ((640, 480), (1280, 720))})
        first = formats.pixel_formats[0]
        return CameraConfiguration(
            self._sensor, [StreamConfiguration(Size(*self._sensor.size_px), first, formats) for _ in roles]
        )

    def configure(self, configuration: CameraConfiguration) -> int:
        self._configuration = copy.copy(configuration)
        return 0

    def create_request(self, cookie: int) -> Request:
        return Request(cookie)

    def queue_request(self, request: Request) -> None:
        self._queue.append(request)

    def start(self, wanted: Mapping[ControlId, Any]) -> None:
        self._tell(wanted)
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        assert self._thread is not None
        self._thread.join()
        self._queue.clear()

    def _tell(self, wanted: Mapping[ControlId, Any]) -> None:
        for control, value in wanted.items():
            assert control in self.controls, control.name
            if control.name in AUTOMATIC - {"FrameDurationLimits"}:
                assert type(value) is int
                assert self.controls[control].min <= value <= self.controls[control].max
            self.set[control.name] = value

    def _run(self) -> None:
        while not self._stopped.wait(self.set.get("FrameDurationLimits", (33_333, 33_333))[0] / 1e6):
            if self._queue:
                self._complete(self._queue.pop(0))

    def _complete(self, request: Request) -> None:
        self._tell(request.wanted)
        request.wanted.clear()
        shutter_us, gain = self._exposure()
        crop = self._crop()
        for stream in self._configuration or ():
            if stream.stream in request.buffers and not str(stream.pixel_format).startswith("S"):
                self._draw(request.buffers[stream.stream], stream, crop)
        request.metadata = {
            controls.SensorTimestamp: CLOCK_NS() - ISP_DELAY_NS,
            controls.ExposureTime: shutter_us,
            controls.AnalogueGain: gain,
        } | ({controls.ScalerCrop: crop} if self._sensor.modes else {})
        request.status = Request.Status.Complete
        self._manager.completed(request)

    def _exposure(self) -> tuple[int, float]:
        """Shutter in µs and gain by which a scene gets as bright as it should be: the least stage that is enough."""
        stages = zip(SHUTTERS_US[self.set.get("AeExposureMode", 0)], GAINS, strict=True)
        longest_us = self.set.get("FrameDurationLimits", (0, 33_333))[1]
        shutter_us, gain = 100.0, 1.0
        for stage_us, stage_gain in stages:
            shutter_us = min(float(stage_us), longest_us, max(shutter_us, self._light / gain))
            if shutter_us * gain < self._light:
                gain = min(stage_gain, self._light / shutter_us)
        return round(shutter_us), gain

    def _crop(self) -> Rectangle:
        """Out of the middle of the mode's crop, in the shape of the first stream."""
        assert self._configuration is not None
        x, y, wide, high = self._configuration.mode.crop if self._configuration.mode else (0, 0, *self._sensor.size_px)
        size = self._configuration.at(0).size
        width = min(wide, round(high * size.width / size.height))
        height = min(high, round(wide * size.height / size.width))
        return Rectangle(x + (wide - width) // 2, y + (high - height) // 2, width, height)

    def _draw(self, buffer: FrameBuffer, stream: StreamConfiguration, crop: Rectangle) -> None:
        wide, high = stream.size.width, stream.size.height
        across = crop.x + (np.arange(wide) + 0.5) * crop.width / wide
        along = crop.y + (np.arange(high) + 0.5) * crop.height / high
        rows = np.zeros((high, stream.stride), np.uint8)
        image = rows[:, : wide * 3].reshape(high, wide, 3)
        image[..., 0] = (across / self._sensor.size_px[0] * 255).round()
        image[..., 2] = 255 * (np.add.outer(np.arange(high) // 8, np.arange(wide) // 8) % 2)
        image[..., 1] = (along / self._sensor.size_px[1] * 255).round()[:, None]
        with mmap.mmap(buffer.planes[0].fd, buffer.planes[0].length) as memory:
            memory[: rows.size] = rows.tobytes()


class CameraManager:
    plugged: tuple[tuple[Sensor, float], ...] = ((MODULE_2, 20_000.0),)
    """What hangs at this machine, each with the light: µs of shutter at gain 1 that its scene needs."""
    _only: CameraManager | None = None

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.cameras = [Camera(self, sensor, number, light) for number, (sensor, light) in enumerate(self.plugged)]
        self._ready: list[Request] = []

    @classmethod
    def singleton(cls) -> CameraManager:
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def completed(self, request: Request) -> None:
        self._ready.append(request)
        os.eventfd_write(self.event_fd, 1)

    def get_ready_requests(self) -> list[Request]:
        try:
            os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return []
        ready, self._ready = self._ready, []
        return ready


Stream = object
_libcamera = SimpleNamespace(ColorSpace=ColorSpace, Transform=Transform)
