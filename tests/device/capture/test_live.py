"""A camera and a microphone together, and each without the other."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from device.capture.camera import camera_plan
from device.capture.live import LiveSource
from device.capture.microphone import microphone_plan
from device.capture.open import open_source
from device.capture.picamera2 import picamera2_plan
from device.capture.replay import ReplaySource
from device.capture.settings import CaptureSettings
from device.capture.source import SoundBlock, VideoFrame
from shared.errors import ConfigError, MediaError
from tests.device.capture import films
from tests.pulse import PulseChild, until


def test_both_parts_share_one_clock(pulse: PulseChild, tmp_path: Path) -> None:
    source = LiveSource(camera_plan(str(films.make(tmp_path / "camera.mp4", seconds=20.0))), microphone_plan())
    info = source.open()
    try:
        assert info.has_picture
        assert info.has_sound
        assert [part.kind for part in source.health] == ["picture", "sound"]
        newest = {VideoFrame: 0.0, SoundBlock: 0.0}
        while min(newest.values()) < 1.5:
            item = source.read(1.0)
            if item is not None:
                newest[type(item)] = item.t_s
        assert abs(newest[VideoFrame] - newest[SoundBlock]) < 0.5
    finally:
        source.close()


@pytest.mark.usefixtures("pulse")
def test_a_microphone_that_is_missing_does_not_hold_the_camera_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = camera_plan(str(films.make(tmp_path / "camera.mp4", seconds=20.0)))
    source = LiveSource(camera, microphone_plan("no such microphone"))
    with caplog.at_level(logging.WARNING):
        info = source.open()
    try:
        assert not info.has_sound
        assert isinstance(source.read(10.0), VideoFrame)
        assert not source.healthy
        assert [part.healthy for part in source.health] == [True, False]
        assert "The walk begins without it" in caplog.text
    finally:
        source.close()


def test_a_camera_that_nothing_brings_back_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = LiveSource(camera_plan(str(films.make(tmp_path / "camera.mp4", seconds=20.0, sound=False))))
    source.open()
    try:
        assert not source.health[0].given_up

        def broken() -> None:
            raise ValueError("a fault of ours")

        monkeypatch.setattr(source._workers[0], "_turn", broken)
        until(lambda: source.health[0].given_up, "the end of its thread")
        assert not source.healthy
    finally:
        source.close()


def test_a_sound_server_that_hangs_leaves_the_camera_alone(pulse: PulseChild, tmp_path: Path) -> None:
    source = LiveSource(camera_plan(str(films.make(tmp_path / "camera.mp4", seconds=60.0))), microphone_plan())
    source.open()
    try:
        pulse.freeze()
        until(lambda: not source.health[1].healthy, "the hang to be noticed")
        until(lambda: isinstance(source.read(0.1), VideoFrame), "a picture")
        assert source.health[0].healthy
    finally:
        pulse.thaw()
        source.close()


def test_a_camera_alone_is_a_live_source(tmp_path: Path) -> None:
    source = open_source(CaptureSettings(f"camera:{films.make(tmp_path / 'camera.mp4')}", microphone="none"))
    info = source.open()
    assert info.has_picture
    assert not info.has_sound
    source.close()


@pytest.mark.usefixtures("pulse")
def test_a_microphone_alone_is_a_live_source() -> None:
    source = LiveSource(microphone_plan())
    info = source.open()
    assert not info.has_picture
    assert info.has_sound
    source.close()


def test_a_missing_camera_is_an_error_even_with_a_microphone() -> None:
    source = LiveSource(camera_plan(93), microphone_plan("no such microphone"))
    with pytest.raises(MediaError, match="camera 93"):
        source.open()
    source.close()
    assert source.ended


# Specs


@pytest.mark.parametrize(
    ("spec", "kind", "names"),
    [
        ("replay:walk.mp4", ReplaySource, ()),
        ("replay:C:odd:name.mp4", ReplaySource, ()),
        ("camera:0", LiveSource, ("camera 0", "microphone default")),
        ("camera:/dev/video2", LiveSource, ("camera /dev/video2", "microphone default")),
        ("camera:", LiveSource, ("camera 0", "microphone default")),
        ("picamera2", LiveSource, ("Pi camera 0", "microphone default")),
        ("picamera2:1", LiveSource, ("Pi camera 1", "microphone default")),
    ],
)
def test_each_spec_names_its_source(spec: str, kind: type, names: tuple[str, ...]) -> None:
    source = open_source(CaptureSettings(spec))
    assert isinstance(source, kind)
    if isinstance(source, LiveSource):
        assert tuple(plan.name for plan in source.plans) == names
    if isinstance(source, ReplaySource):
        assert str(source.path) == spec.removeprefix("replay:")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("replay:", "names no file"),
        ("replay", "names no file"),
        ("webcam:0", "There is no source 'webcam:0'"),
        ("", "There is no source ''"),
        ("picamera2:left", "picamera2:left is not a camera"),
    ],
)
def test_a_spec_that_is_none_says_what_to_write(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_source(CaptureSettings(spec))
    assert caught.value.hint


def test_a_live_source_has_no_fast_pace() -> None:
    with pytest.raises(ConfigError, match="is for replay"):
        open_source(CaptureSettings("camera:0", pace="fast"))


# Pi camera


def _has_picamera2() -> bool:
    try:
        import picamera2
    except ImportError:
        return False
    return bool(picamera2.Picamera2.global_camera_info())


@pytest.mark.skipif(_has_picamera2(), reason="picamera2 is here, with a camera")
def test_without_picamera2_the_error_says_what_to_install() -> None:
    source = LiveSource(picamera2_plan())
    with pytest.raises(MediaError) as caught:
        source.open()
    source.close()
    assert "Pi camera 0: picamera2 is missing" in str(caught.value)
    assert "sudo apt install python3-picamera2" in str(caught.value)


def test_a_picamera2_that_was_built_for_another_numpy_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed, may indicate ...')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = LiveSource(picamera2_plan())
    with pytest.raises(MediaError) as caught:
        source.open()
    source.close()
    assert "numpy.dtype size changed" in str(caught.value)
    assert "install --upgrade --force-reinstall simplejpeg" in str(caught.value)


@pytest.mark.hardware
@pytest.mark.skipif(not _has_picamera2(), reason="no Pi camera, or picamera2 is not installed")
def test_the_pi_camera_gives_pictures() -> None:
    source = LiveSource(picamera2_plan())
    info = source.open()
    try:
        frame = source.read(5.0)
        assert isinstance(frame, VideoFrame)
        assert frame.image.shape == (info.height_px, info.width_px, 3)
    finally:
        source.close()
