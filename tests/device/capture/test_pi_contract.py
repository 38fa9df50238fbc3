"""The adapter of the Pi camera against picamera2's own package, with each of Raspberry Pi's cameras plugged in.

What a picture shows is read from its pixels: tests.device.capture.pi.libcamera writes into each where on the sensor it
lies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.capture import picamera2 as adapter
from device.capture.live import LiveSource
from device.capture.source import SeveralCameras, VideoFrame
from device.commands.selftest import selftest
from device.config import load
from shared.clock import SystemClock
from shared.errors import MediaError
from tests.device.capture.pi import bench, libcamera, sensors
from tests.device.capture.pi.sensors import Sensor

pytestmark = [
    pytest.mark.skipif(
        len(bench.wheels()) < len(bench.NEEDED), reason="picamera2's package is not in build/contract: make setup"
    ),
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:daemon property is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def picamera2() -> Iterator[None]:
    bench.install()
    yield
    bench.remove()


def seen(
    *plugged: Sensor,
    pictures: int = 2,
    light: float = 20_000.0,
    number: int | None = None,
    size: tuple[int, int] = (640, 480),
    fps: float = 15.0,
    rotate_deg: int = 0,
) -> bench.Pictures:
    """What comes of the adapter with these cameras."""
    bench.install(*plugged, light=light)
    out = bench.Pictures(pictures)
    with bench.closed_afterwards(), pytest.raises(bench.Enough):
        adapter.capture(out, number=number, width_px=size[0], height_px=size[1], fps=fps, rotate_deg=rotate_deg)
    return out


def angle_deg(image: Any, sensor: Sensor) -> float:
    """From left to right, as the pixels say."""
    share = (float(image[0, -1, 0]) - float(image[0, 0, 0])) / 255
    return 2 * math.degrees(math.atan(math.tan(math.radians(sensor.lens_deg / 2)) * share))


def told(name: str) -> Any:
    """What the camera was told of one control."""
    return libcamera.CameraManager.singleton().cameras[0].set.get(name)


@pytest.mark.parametrize(
    ("sensor", "size", "keyhole_deg"),
    [
        (sensors.MODULE_1, (640, 480), 52.9),
        (sensors.MODULE_2, (640, 480), 26.5),
        (sensors.MODULE_3, (640, 360), 36.0),
        (sensors.MODULE_3_WIDE, (640, 360), 63.4),
        (sensors.HQ, (640, 480), 63.0),
    ],
    ids=lambda value: getattr(value, "model", None),
)
def test_each_camera_shows_all_that_its_lens_sees(sensor: Sensor, size: tuple[int, int], keyhole_deg: float) -> None:
    shown = seen(sensor)
    height, width, _ = shown.images[0].shape
    assert (width, height) == size
    assert angle_deg(shown.images[0], sensor) == pytest.approx(sensor.lens_deg, abs=0.5)
    known = None if sensor is sensors.HQ else pytest.approx(sensor.lens_deg, abs=0.2)
    assert shown.facts["fov_deg"] == known
    assert left_to_picamera2_deg(sensor) == pytest.approx(keyhole_deg, abs=0.6)


def left_to_picamera2_deg(sensor: Sensor) -> float:
    """The counter-example: what 640 × 480 show where picamera2 chooses the mode. Only of the HQ camera it takes all,
    since its cut mode has fewer bits."""
    from picamera2 import Picamera2

    bench.install(sensor)
    with bench.closed_afterwards():
        camera = Picamera2()
        camera.configure(camera.create_video_configuration(main={"size": (640, 480), "format": "BGR888"}))
        camera.start()
        return angle_deg(camera.capture_array("main"), sensor)


def test_pictures_turned_upright_tell_the_angle_that_then_lies_across() -> None:
    shown = seen(sensors.MODULE_2, rotate_deg=90)
    assert shown.images[0].shape[:2] == (640, 480)
    assert shown.facts["fov_deg"] == pytest.approx(48.8, abs=0.3)


def test_a_picture_of_another_shape_is_given_in_the_shape_of_the_sensor() -> None:
    shown = seen(sensors.MODULE_2, size=(1280, 720))
    height, width, _ = shown.images[0].shape
    assert (width, height) == (958, 720)
    assert angle_deg(shown.images[0], sensors.MODULE_2) == pytest.approx(62.2, abs=0.5)


def test_the_shutter_is_kept_short_for_a_walker_who_turns() -> None:
    """A scene that needs 40 ms at gain 1, such as a street at dusk: normal exposure would take 20 to 30 ms."""
    shown = seen(sensors.MODULE_2, light=40_000.0)
    assert told("AeExposureMode") == 1
    assert libcamera.CameraManager.singleton().cameras[0]._exposure() == (10_000, 4.0)
    assert shown.facts["fps"] == 15.0


def test_at_night_pictures_get_dark_and_not_rare() -> None:
    seen(sensors.MODULE_2, light=5_000_000.0)
    assert told("FrameDurationLimits") == (66_666, 66_666)
    assert libcamera.CameraManager.singleton().cameras[0]._exposure() == (66_666, 10.0)


def test_a_lens_that_moves_is_fixed_at_what_lies_ahead() -> None:
    seen(sensors.MODULE_3)
    assert (told("AfMode"), told("LensPosition")) == (0, 0.5)
    assert (told("HdrMode"), told("NoiseReductionMode")) == (0, 1)


def test_a_lens_that_does_not_move_is_told_nothing() -> None:
    seen(sensors.HQ)
    assert told("AfMode") is None
    assert told("LensPosition") is None


def test_a_sensor_that_is_slower_than_asked_gives_what_it_can() -> None:
    assert seen(sensors.HQ, fps=90.0).facts["fps"] == 90.0  # of the middle, which alone is so fast
    assert seen(sensors.MODULE_3, fps=200.0).facts["fps"] == pytest.approx(56.03)


@pytest.mark.parametrize("clock", [time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME])
def test_a_picture_is_as_old_as_its_stamp_says(clock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcamera, "CLOCK_NS", lambda: time.clock_gettime_ns(clock))
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    shown = seen(sensors.MODULE_2, pictures=3, fps=30.0)
    after_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert shown.times_s == sorted(shown.times_s)
    assert before_s < shown.times_s[0]
    assert shown.times_s[-1] <= after_s - libcamera.ISP_DELAY_NS / 1e9


@pytest.mark.parametrize(
    ("sensor_s", "taken_s"),
    [
        (1000.0, 5000.1 - 0.1),  # by CLOCK_MONOTONIC, on a board that slept 4,000 s
        (5000.0, 5000.0),  # by CLOCK_BOOTTIME
        (997.1, 4997.1),  # late, after a pause of the camera: not taken for new
        (0.0, 5000.1),  # no stamp
        (1_790_000_000.0, 5000.1),  # wall time
    ],
)
def test_the_clock_of_a_stamp_is_the_one_by_which_the_picture_is_a_little_old(sensor_s: float, taken_s: float) -> None:
    assert adapter.shutter_s(round(sensor_s * 1e9), monotonic_s=1000.1, boot_s=5000.1) == pytest.approx(taken_s)


def test_two_cameras_are_not_guessed_between() -> None:
    bench.install(sensors.MODULE_3, sensors.MODULE_2)
    with bench.closed_afterwards(), pytest.raises(SeveralCameras, match="several cameras") as caught:
        adapter.capture(bench.Pictures(1), number=None, width_px=640, height_px=480, fps=15.0, rotate_deg=0)
    assert "picamera2:0 is" in caught.value.hint
    assert "picamera2:1 is" in caught.value.hint


def test_one_of_two_cameras_is_taken_by_its_number() -> None:
    models = {seen(sensors.MODULE_3, sensors.MODULE_2, number=number).facts["mode"].split()[0] for number in (0, 1)}
    assert models == {"imx708", "imx219"}


def test_a_usb_camera_beside_it_is_no_second_one() -> None:
    assert seen(sensors.WEBCAM, sensors.MODULE_2).facts["mode"].startswith("imx219")


def test_a_usb_camera_alone_is_refused_with_what_to_set() -> None:
    bench.install(sensors.WEBCAM)
    with bench.closed_afterwards(), pytest.raises(MediaError, match="gives YUYV") as caught:
        adapter.capture(bench.Pictures(1), number=None, width_px=640, height_px=480, fps=15.0, rotate_deg=0)
    assert "camera:0" in caught.value.hint


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # picamera2 leaves its pipe open
def test_a_number_that_no_camera_has_says_how_to_look() -> None:
    bench.install(sensors.MODULE_2)
    with pytest.raises(MediaError, match="No camera number 3"):
        adapter.capture(bench.Pictures(1), number=3, width_px=640, height_px=480, fps=15.0, rotate_deg=0)


def test_its_pictures_come_through_the_capture_process_with_their_angle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plug_into(tmp_path, sensors.MODULE_2)
    monkeypatch.syspath_prepend(tmp_path)
    source = LiveSource(adapter.picamera2_plan())
    info = source.open()
    try:
        frame = source.read(10.0)
        assert isinstance(frame, VideoFrame)
        assert (info.width_px, info.height_px) == (640, 480)
        assert angle_deg(frame.image, sensors.MODULE_2) == pytest.approx(62.2, abs=0.5)
        assert frame.fov_deg == 62.2
    finally:
        source.close()


@pytest.mark.parametrize(
    ("sensor", "setting", "said"),
    [
        (sensors.MODULE_3_WIDE, "", "640×360, sees 102 degrees"),
        (
            sensors.MODULE_2,
            "camera_fov_deg = 90",
            "sees 90 degrees as capture.camera_fov_deg says, but the camera itself says 62.2",
        ),
        (sensors.HQ, "", "taken for one that sees 62 degrees: measure it"),
    ],
    ids=["wide", "set wrong", "unknown lens"],
)
def test_the_selftest_says_what_the_camera_sees(
    sensor: Sensor, setting: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plug_into(tmp_path, sensor)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "device.toml"
    file.write_text(f'[device]\nstate = "{tmp_path}"\n[capture]\nsource = "picamera2"\n{setting}\n')
    (found,) = selftest(load(file), SystemClock(), only=("camera",))
    assert said in found.found
