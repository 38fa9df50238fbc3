"""Every source under the one contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from device.capture.camera import camera_plan
from device.capture.live import LiveSource
from device.capture.microphone import microphone_plan
from device.capture.open import open_source
from device.capture.replay import ReplaySource
from device.capture.settings import CaptureSettings
from device.capture.source import Source
from tests.device.capture import films
from tests.device.capture.contract import check_close, check_timeout, walk

Build = Callable[[Path], Source]


def _truncated(folder: Path) -> Path:
    whole = films.make(folder / "whole.mkv", seconds=4.0)
    cut = folder / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    return cut


REPLAYS: dict[str, Callable[[Path], Path]] = {
    "plain": lambda folder: films.make(folder / "plain.mp4"),
    "no sound": lambda folder: films.make(folder / "mute.mp4", sound=False),
    "sound only": lambda folder: films.make(folder / "sound.m4a", codec=None),
    "rotated": lambda folder: films.make(folder / "rotated.mp4", degrees=90),
    "10 fps": lambda folder: films.make(folder / "ten.mp4", fps=10),
    "varying rate": lambda folder: films.make(folder / "vfr.mp4", times=[0, 0.1, 0.15, 0.6, 0.61, 1.5]),
    "hole in the sound": lambda folder: films.make(folder / "hole.mp4", sound_hole=(0.5, 1.5)),
    "matroska": lambda folder: films.make(folder / "walk.mkv", sound_rate=48_000),
    "transport stream": lambda folder: films.make(folder / "walk.ts"),
    "hevc": lambda folder: films.make(folder / "hevc.mp4", codec="libx265"),
    "truncated": _truncated,
}


def _make(name: str, folder: Path) -> Path:
    if name == "hevc" and not films.can_encode("libx265"):
        pytest.skip("this FFmpeg has no HEVC encoder; test_real_clip reads real HEVC")
    return REPLAYS[name](folder)


@pytest.mark.parametrize("name", REPLAYS)
def test_replay_keeps_the_contract(name: str, tmp_path: Path) -> None:
    source = ReplaySource(_make(name, tmp_path), pace="fast")
    walk(source)
    assert source.frames_dropped == 0
    check_close(source)


@pytest.mark.parametrize("name", ["plain", "sound only", "no sound"])
def test_replay_in_real_time_keeps_the_contract(name: str, tmp_path: Path) -> None:
    source = ReplaySource(_make(name, tmp_path), pace="real")
    info = source.open()
    check_timeout(source)
    walk(source, info=info)
    check_close(source)


@pytest.mark.parametrize("name", ["plain", "no sound"])
def test_closing_a_replay_in_the_middle_keeps_the_contract(name: str, tmp_path: Path) -> None:
    source = ReplaySource(_make(name, tmp_path), pace="real")
    source.open()
    source.read(1.0)
    assert source.healthy
    check_close(source)


def test_camera_keeps_the_contract(tmp_path: Path) -> None:
    source = LiveSource(camera_plan(str(films.make(tmp_path / "camera.mp4", seconds=3.0))))
    info = source.open()
    assert source.healthy
    check_timeout(source)
    seen = walk(source, info=info)
    assert info.live
    assert films.corner_names(seen.frames[-1].image) == "RGgB"
    check_close(source)


@pytest.mark.usefixtures("pulse")
def test_microphone_keeps_the_contract() -> None:
    source = LiveSource(microphone_plan())
    info = source.open()
    assert source.healthy
    check_timeout(source)
    seen = walk(source, info=info, for_s=1.5)
    assert not info.has_picture
    assert len(seen.blocks) > 5
    check_close(source)


@pytest.mark.usefixtures("pulse")
def test_camera_with_microphone_keeps_the_contract(tmp_path: Path) -> None:
    film = films.make(tmp_path / "camera.mp4", seconds=3.0)
    source = LiveSource(camera_plan(str(film)), microphone_plan())
    seen = walk(source)
    assert seen.frames
    assert seen.blocks
    check_close(source)


@pytest.mark.skipif(not films.REAL.exists(), reason="the real clips (../shared/data) are not here")
@pytest.mark.parametrize(
    ("seconds", "frames", "least_s", "most_s"),
    [(3.0, 93, 2.9, 3.1), pytest.param(60.0, 274, 9.1, 9.3, marks=pytest.mark.soak)],
    ids=["its beginning", "all of it"],
)
def test_real_clip_keeps_the_contract(
    tmp_path: Path, seconds: float, frames: int, least_s: float, most_s: float
) -> None:
    film = films.beginning(films.REAL, tmp_path / "walk.mp4", seconds=seconds)
    source = open_source(CaptureSettings(f"replay:{film}", pace="fast"))
    seen = walk(source)
    assert (seen.info.width_px, seen.info.height_px) == (1920, 1080)
    assert len(seen.frames) == frames
    assert least_s < len(seen.sound) / 16_000 < most_s
    check_close(source)


def test_a_source_that_was_never_opened_can_be_closed(tmp_path: Path) -> None:
    for source in (ReplaySource(tmp_path / "none.mp4"), LiveSource(camera_plan(0)), LiveSource(microphone_plan())):
        source.close()
        assert source.ended
        assert source.read(0.0) is None
