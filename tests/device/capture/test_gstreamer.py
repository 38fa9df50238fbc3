"""A GStreamer pipeline as a camera, with GStreamer's own programs."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from device.capture.gstreamer import elements, gstreamer_plan
from device.capture.live import LiveSource
from device.capture.open import open_source
from device.capture.settings import CaptureSettings
from device.capture.source import VideoFrame
from shared.errors import MediaError
from tests.pulse import until

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed (apt install gstreamer1.0-tools)"
)
BARS = "videotestsrc is-live=true pattern=smpte ! video/x-raw,width={},height={},framerate=30/1"


def source(pipeline: str, **settings: int) -> LiveSource:
    return LiveSource(gstreamer_plan(pipeline, CaptureSettings(**settings)))  # type: ignore[arg-type]


def frame_of(live: LiveSource) -> VideoFrame:
    frame = live.read(20.0)
    assert isinstance(frame, VideoFrame)
    return frame


@needs_gstreamer
@pytest.mark.parametrize(("width", "height"), [(320, 240), (322, 242), (318, 101)], ids=["plain", "padded", "odd"])
def test_its_pictures_come_upright_and_in_their_colours(width: int, height: int) -> None:
    live = source(BARS.format(width, height) + " ! appsink drop=true")
    info = live.open()
    try:
        assert (info.width_px, info.height_px) == (width, height)
        image = frame_of(live).image
        bars = [tuple(int(v) for v in image[height // 4, (2 * n + 1) * width // 14]) for n in range(7)]
        wanted = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255)]
        assert np.abs(np.subtract(bars, wanted)).max() <= 6, "white, yellow, cyan, green, magenta, red, blue"
    finally:
        live.close()


@needs_gstreamer
def test_times_run_with_the_pictures_and_a_turned_one_is_upright() -> None:
    live = source(BARS.format(320, 240), rotate_deg=90)
    live.open()
    try:
        frames = [frame_of(live) for _ in range(4)]
        assert frames[0].image.shape == (320, 240, 3)
        steps = np.diff([frame.t_s for frame in frames])
        assert (steps > 0).all()
    finally:
        live.close()


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "message", "hint"),
    [
        ("nvarguscamerasrc sensor-id=0 ! appsink", "no element nvarguscamerasrc", "JetPack"),
        ("videotestsrc ! nvvidconv ! video/x-raw,format=BGRx ! appsink", "no element nvvidconv", "JetPack"),
        ("videotestsource ! appsink", "no element videotestsource", "gst-inspect-1.0"),
        ("videotestsrc colour=red ! appsink", "no property", "gst-launch-1.0 -v"),
        ("videotestsrc ! audio/x-raw ! appsink", "GStreamer: ", "gst-launch-1.0 -v"),
    ],
)
def test_what_is_missing_is_named_with_the_next_step(pipeline: str, message: str, hint: str) -> None:
    live = source(pipeline)
    try:
        with pytest.raises(MediaError, match=message) as caught:
            live.open()
        assert hint in caught.value.hint
    finally:
        live.close()


@needs_gstreamer
def test_a_pipeline_that_ends_on_the_way_says_so_and_is_started_again() -> None:
    live = source("videotestsrc num-buffers=5 is-live=true ! appsink")
    live.open()
    try:
        until(lambda: live.health[0].restarts > 0, "the next one")
        assert live.health[0].trouble.startswith("GStreamer: ")
    finally:
        live.close()


def test_without_gstreamer_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    live = source("nvarguscamerasrc ! appsink")
    with pytest.raises(MediaError, match=r"gst-launch-1\.0 is missing") as caught:
        live.open()
    live.close()
    assert "sudo apt install gstreamer1.0-tools" in caught.value.hint


@needs_gstreamer
def test_a_capture_process_that_is_killed_leaves_no_pipeline_behind() -> None:
    def pipelines() -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"gst-launch-1.0" in command and b"waycue-orphan" in command:
                found.append(entry.name)
        return found

    live = source(BARS.format(320, 240) + " ! identity name=waycue-orphan")
    live.open()
    try:
        frame_of(live)
        assert len(pipelines()) == 1
        child = live._workers[0]._child
        assert child is not None
        before = pipelines()
        os.kill(child.process.pid, signal.SIGKILL)
        until(lambda: before[0] not in pipelines(), "the end of the pipeline")
        until(lambda: live.healthy and pipelines() not in ([], before), "the next one")
    finally:
        live.close()
    until(lambda: pipelines() == [], "the end of all")


def test_elements_are_told_from_caps_and_pads() -> None:
    jetson = "nvarguscamerasrc sensor-id=0 ! 'video/x-raw(memory:NVMM), width=1640' ! nvvidconv ! tee name=t t. ! queue"
    assert elements(jetson) == ["nvarguscamerasrc", "nvvidconv", "tee", "queue"]


def test_a_setting_with_a_pipeline_is_one() -> None:
    live = open_source(CaptureSettings("camera:nvarguscamerasrc ! appsink", microphone="none"))
    assert isinstance(live, LiveSource)
    assert [plan.target for plan in live.plans] == ["device.capture.gstreamer:capture"]
