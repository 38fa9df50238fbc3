"""A capture process that hangs, dies, lies or floods: the source stays well-behaved and brings it back."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.capture.camera import MOST_DAMAGED, _pictures, camera_plan
from device.capture.live import LiveSource
from device.capture.settings import CaptureSettings
from device.capture.source import SoundBlock, VideoFrame
from device.capture.supervisor import Limits
from device.capture.worker_process import Plan
from shared.errors import MediaError
from tests.device.capture import films
from tests.pulse import until


def test_a_damaged_picture_of_a_camera_is_left_out_and_only_several_in_a_row_are_its_end() -> None:
    image = np.zeros((2, 2, 3), np.uint8)

    def taken(reads: str, *, is_file: bool = False) -> int:
        """. = a picture, x = none, n = one that could not be decoded."""
        story = iter([(read != "x", image if read == "." else None) for read in reads] + [(False, None)] * 99)
        count = 0
        with contextlib.suppress(MediaError):
            for _ in _pictures(lambda: next(story), is_file=is_file, device="0"):
                count += 1
        return count

    assert taken(".." + "x" * MOST_DAMAGED + ".n.x.") == 5
    assert taken("." + "x" * (MOST_DAMAGED + 1) + "...") == 1
    assert taken("xx..") == 2  # many cameras begin with a picture that is half
    assert taken("..x..", is_file=True) == 2
    with pytest.raises(MediaError, match="gives no picture"):
        next(_pictures(lambda: (False, None), is_file=False, device="0"))


QUICK = Limits(start_s=30.0, stall_s=0.5, backoff_first_s=0.05, backoff_max_s=0.2)
PATIENT = Limits(start_s=30.0, stall_s=20.0, backoff_first_s=0.05, backoff_max_s=0.2)


def _plan(function: str, *, limits: Limits = QUICK, **options: Any) -> Plan:
    return Plan(function, "picture", f"tests.device.capture.children:{function}", options, "Buy another one.", limits)


@contextmanager
def _opened(source: LiveSource) -> Iterator[LiveSource]:
    source.open()
    try:
        yield source
    finally:
        source.close()


def _next_frame(source: LiveSource, *, timeout_s: float = 20.0) -> VideoFrame:
    stop_at = time.monotonic() + timeout_s
    while time.monotonic() < stop_at:
        item = source.read(0.1)
        if isinstance(item, VideoFrame):
            return item
    raise TimeoutError("no picture came")


def _pid(agent: int | None = None) -> int:
    """Of the one capture process that a process has started."""
    parent = agent or os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z" and b"worker_main" in (stat.parent / "cmdline").read_bytes():
                return int(stat.parent.name)
    raise LookupError(f"{parent} has no capture process")


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_frozen_camera_is_killed_and_comes_back(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", seconds=30.0, fps=10, sound=False)
    with _opened(LiveSource(camera_plan(str(film), limits=QUICK))) as source:
        before = _next_frame(source)
        pid = _pid()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: not source.healthy, "the camera to be found frozen")
        after = _next_frame(source)
        assert _gone(pid)
        assert after.t_s > before.t_s + QUICK.stall_s
        assert source.health[0].restarts >= 1
        assert "gave nothing for 0.5 s" in source.health[0].trouble
        assert not source.ended


def test_a_camera_process_that_is_killed_comes_back(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", seconds=30.0, fps=10, sound=False)
    with _opened(LiveSource(camera_plan(str(film), limits=PATIENT))) as source:
        _next_frame(source)
        os.kill(_pid(), signal.SIGKILL)
        until(lambda: source.health[0].restarts == 1, "the restart")
        assert "signal 9" in source.health[0].trouble
        _next_frame(source)


@pytest.mark.parametrize(
    ("function", "options", "trouble"),
    [
        ("hangs_after", {"pictures": 1}, "gave nothing"),
        ("hangs_inside_a_picture", {}, "gave nothing"),
        ("crashes", {}, "signal 11"),
    ],
)
def test_a_capture_that_fails_on_the_way_is_tried_again(function: str, options: dict[str, Any], trouble: str) -> None:
    with _opened(LiveSource(_plan(function, **options))) as source:
        until(lambda: source.health[0].restarts >= 2, "two restarts")
        assert trouble in source.health[0].trouble
        assert not source.ended


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("never_starts", {}, "never_starts: did not start within 0.3 s. Buy another one."),
        ("fails", {"text": "no such camera"}, "fails: no such camera. Buy another one."),
        ("fails", {"text": "no such camera", "hint": "Plug it in."}, "fails: no such camera. Plug it in."),
        ("raises", {}, "the lens cap is on"),
        ("talks_nonsense", {}, "sent a message of"),
        ("not_there", {}, "has no attribute 'not_there'"),
    ],
)
def test_a_camera_that_does_not_start_is_an_error_that_says_what_to_do(
    function: str, options: dict[str, Any], message: str
) -> None:
    limits = Limits(start_s=0.3) if function == "never_starts" else QUICK
    source = LiveSource(_plan(function, limits=limits, **options))
    with pytest.raises(MediaError) as caught:
        source.open()
    assert message in str(caught.value)
    assert not source.ended  # it is tried on
    assert not source.healthy
    source.close()
    assert source.ended


def _left_waiting(**options: Any) -> tuple[list[VideoFrame], int]:
    """What is handed out, and how many were dropped, where nobody fetches a picture before the last was sent."""
    with _opened(LiveSource(_plan("counts_up", **options))) as source:
        until(lambda: not source.healthy, "all pictures to be sent")
        frames = []
        while not source.ended:
            item = source.read(0.1)
            assert not isinstance(item, SoundBlock)
            if item is not None:
                frames.append(item)
        return frames, source.frames_dropped


def _numbers(frames: list[VideoFrame]) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_pictures_that_nobody_fetches_are_dropped_oldest_first_and_counted() -> None:
    frames, dropped = _left_waiting(pictures=100, fps=8.0)
    assert _numbers(frames) == list(range(83, 100))  # two seconds of them
    assert dropped == frames[0].dropped_before == 83


@pytest.mark.parametrize(("pictures", "fps"), [(30, 15.0), (57, 30.0), (2, 1.0)])
def test_a_pause_of_the_agent_below_two_seconds_costs_no_picture(pictures: int, fps: float) -> None:
    frames, dropped = _left_waiting(pictures=pictures, fps=fps)
    assert (_numbers(frames), dropped) == (list(range(pictures)), 0)


@pytest.mark.parametrize(("width_px", "height_px", "kept"), [(1920, 1080, 5), (3840, 2160, 4)])
def test_large_pictures_wait_only_as_far_as_memory_allows(width_px: int, height_px: int, kept: int) -> None:
    frames, dropped = _left_waiting(pictures=10, width_px=width_px, height_px=height_px)
    assert (_numbers(frames), dropped) == (list(range(10 - kept, 10)), 10 - kept)


def test_a_picture_that_waited_names_the_newest_one_behind_it() -> None:
    frames, _ = _left_waiting(pictures=12)
    *waited, last = frames
    assert last.newest is None
    for frame in waited:
        assert frame.newest is not None
        assert frame.newest.t_s == last.t_s
        assert _numbers([frame.newest]) == [11]


def test_a_picture_from_the_past_is_left_out() -> None:
    with _opened(LiveSource(_plan("goes_back_in_time"))) as source:
        until(lambda: not source.healthy, "all pictures to be sent")
        items = [source.read(0.1) for _ in range(4)]
        times = [item.t_s for item in items if item is not None]
    assert len(times) == 3
    assert times == sorted(times)


def test_closing_ends_the_process_even_when_it_is_frozen(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", seconds=5.0, sound=False)
    with _opened(LiveSource(camera_plan(str(film), limits=PATIENT))):
        pid = _pid()
        os.kill(pid, signal.SIGSTOP)
    assert _gone(pid)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("capture ")]


def test_reading_from_a_hung_camera_honours_the_timeout() -> None:
    with _opened(LiveSource(_plan("hangs_after", pictures=0, limits=Limits(stall_s=60.0)))) as source:
        started = time.monotonic()
        assert source.read(0.2) is None
        assert 0.15 < time.monotonic() - started < 10.0


def test_no_capture_process_outlives_a_killed_agent(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", seconds=60.0, fps=5, sound=False)
    code = (
        "import json, sys, threading\n"
        "from device.capture.camera import camera_plan\n"
        "from device.capture.live import LiveSource\n"
        "source = LiveSource(camera_plan(sys.argv[1]))\n"
        "source.open()\n"
        "print(flush=True)\n"
        "threading.Event().wait()\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", code, str(film)], stdout=subprocess.PIPE)
    assert agent.stdout is not None
    try:
        agent.stdout.readline()
        pid = _pid(agent.pid)
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()
    until(lambda: _gone(pid), "the capture process to follow")


def test_ctrl_c_in_the_terminal_leaves_the_capture_to_the_agent(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", seconds=30.0, fps=10, sound=False)
    with _opened(LiveSource(camera_plan(str(film), limits=PATIENT))) as source:
        os.kill(_pid(), signal.SIGINT)
        for _ in range(5):
            _next_frame(source)
        assert source.health[0].restarts == 0


def test_a_camera_is_turned_as_it_is_mounted(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", sound=False)
    with _opened(LiveSource(camera_plan(str(film), CaptureSettings(rotate_deg=90)))) as source:
        frame = _next_frame(source)
    assert frame.image.shape == (320, 240, 3)
    assert films.corner_names(frame.image) == "BRGg"  # clockwise: what was bottom left is now top left


def test_a_camera_that_is_not_there_is_named_with_what_to_check() -> None:
    source = LiveSource(camera_plan(93))
    with pytest.raises(MediaError, match=r"camera 93: OpenCV cannot open '93' \(/dev/video93\)\. Check the plug"):
        source.open()
    source.close()


def test_trouble_is_logged_once_for_each_failure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), _opened(LiveSource(_plan("hangs_after", pictures=1))) as source:
        until(lambda: source.health[0].restarts == 1, "a restart")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "hangs_after: gave nothing for 0.5 s. It is started again."


def test_a_live_source_without_any_part_is_refused() -> None:
    with pytest.raises(MediaError, match="needs a camera or a microphone"):
        LiveSource()
