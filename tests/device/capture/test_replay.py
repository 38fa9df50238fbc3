"""Replay: pace, drops, rotation, sound, and every kind of file that is not what it should be."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.capture.replay import LATE_S, ReplaySource
from device.capture.source import SoundBlock, VideoFrame
from shared.clock import ManualClock
from shared.errors import MediaError
from tests.device.capture import films
from tests.device.capture.contract import Walk, walk


def _fast(path: Path) -> Walk:
    source = ReplaySource(path, pace="fast")
    try:
        return walk(source)
    finally:
        source.close()


def _real(path: Path) -> tuple[ReplaySource, ManualClock]:
    clock = ManualClock()
    source = ReplaySource(path, pace="real", clock=clock)
    source.open()
    return source, clock


# Pace


def test_at_real_pace_every_item_comes_when_it_is_due(tmp_path: Path) -> None:
    source, clock = _real(films.make(tmp_path / "walk.mp4"))
    begun_s = clock.now_s
    while not source.ended:
        item = source.read(10.0)
        if item is not None:
            assert clock.now_s - begun_s == pytest.approx(item.t_s, abs=1e-6)
    assert source.frames_dropped == 0


def test_a_picture_was_taken_when_it_was_due_however_late_it_is_fetched(tmp_path: Path) -> None:
    source, clock = _real(films.make(tmp_path / "walk.mp4", sound=False))
    clock.now_s += 30.0
    begun_s = clock.now_s
    while not source.ended:
        item = source.read(10.0)
        if isinstance(item, VideoFrame):
            assert item.taken_s == pytest.approx(begun_s + item.t_s)
            clock.now_s += LATE_S / 2
    assert all(frame.taken_s is None for frame in _fast(source.path).frames)


def test_a_late_replay_of_joined_recordings_never_goes_back_to_the_first_one(tmp_path: Path) -> None:
    one = films.make(tmp_path / "one.mkv", seconds=8.0, fps=10.0, key_every=5, sound=False)
    joined = tmp_path / "joined.mkv"
    joined.write_bytes(one.read_bytes() * 2)
    source, clock = _real(joined)
    times: list[float] = []
    while not source.ended:
        item = source.read(10.0)
        if isinstance(item, VideoFrame):
            times.append(item.t_s)
            clock.now_s += 2.5 if 9.0 < item.t_s < 9.2 else 0.0
    assert times[-1] == pytest.approx(15.8, abs=0.4)  # and not once more from within the first
    assert source.frames_dropped == pytest.approx(24, abs=3)


def test_a_read_ends_at_its_timeout_when_nothing_is_due_yet(tmp_path: Path) -> None:
    source, clock = _real(films.make(tmp_path / "slow.mp4", times=[0.0, 1.0, 1.5], sound=False))
    assert isinstance(source.read(0.0), VideoFrame)
    before_s = clock.now_s
    assert source.read(0.25) is None
    assert clock.now_s - before_s == pytest.approx(0.25)
    assert isinstance(source.read(2.0), VideoFrame)
    assert clock.now_s - before_s == pytest.approx(1.0)
    source.close()


def test_the_walk_begins_with_the_first_read_not_while_models_are_loading(tmp_path: Path) -> None:
    source, clock = _real(films.make(tmp_path / "walk.mp4"))
    clock.now_s += 30.0
    first = source.read(0.0)
    assert first is not None
    assert first.t_s < 0.05
    assert source.frames_dropped == 0
    source.close()


def test_a_reader_that_falls_behind_loses_pictures_and_no_sound(tmp_path: Path) -> None:
    film = films.make(tmp_path / "walk.mp4", seconds=6.0)
    whole = _fast(film)
    source, clock = _real(film)
    frames, blocks, lost = [], [], 0
    while not source.ended:
        item = source.read(1.0)
        if isinstance(item, VideoFrame):
            frames.append(item)
            lost += item.dropped_before
            assert clock.now_s - item.t_s < LATE_S + 0.31, "an old picture was handed out"
            clock.now_s += 0.3  # the agent is busy with each picture
        elif isinstance(item, SoundBlock):
            blocks.append(item)
            assert clock.now_s - item.t_s < 0.5, "the sound lags"
    assert source.frames_dropped > 40
    assert len(frames) + source.frames_dropped == len(whole.frames)
    assert lost <= source.frames_dropped
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), whole.sound)


def test_a_machine_far_behind_goes_on_at_the_next_key_frame(tmp_path: Path) -> None:
    film = films.make(tmp_path / "walk.mp4", seconds=10.0, key_every=15, sound=False)
    source, clock = _real(film)
    assert isinstance(source.read(0.0), VideoFrame)
    clock.now_s += 5.3
    frame = source.read(2.0)
    assert isinstance(frame, VideoFrame)
    assert frame.t_s == pytest.approx(6.0)
    assert films.corner_names(frame.image) == "RGgB"
    assert frame.dropped_before == pytest.approx(89, abs=2)
    source.close()


def test_a_machine_far_behind_keeps_the_picture_of_a_film_with_one_key_frame(tmp_path: Path) -> None:
    source, clock = _real(films.make(tmp_path / "walk.mp4", seconds=6.0, key_every=10_000, sound=False))
    assert isinstance(source.read(0.0), VideoFrame)
    clock.now_s += 4.0
    frame = source.read(2.0)
    assert isinstance(frame, VideoFrame)
    assert 3.8 <= frame.t_s <= 4.2
    source.close()


# Picture


@pytest.mark.parametrize(
    ("degrees", "mirrored", "expected"),
    [(0, True, "GRBg"), (90, False, "GgBR"), (180, False, "gBRG"), (270, False, "BRGg"), (90, True, "gGRB")],
)
def test_a_film_is_shown_upright_as_its_metadata_says(
    degrees: int, mirrored: bool, expected: str, tmp_path: Path
) -> None:
    seen = _fast(films.make(tmp_path / "turned.mp4", degrees=degrees, mirrored=mirrored, sound=False))
    assert (seen.info.width_px, seen.info.height_px) == ((240, 320) if degrees % 180 else (320, 240))
    assert films.corner_names(seen.frames[0].image) == expected


def test_pictures_keep_their_own_times_at_a_varying_rate(tmp_path: Path) -> None:
    times = [0, 0.1, 0.15, 0.6, 0.61, 1.5]
    seen = _fast(films.make(tmp_path / "vfr.mp4", times=times, sound=False))
    assert [frame.t_s for frame in seen.frames] == pytest.approx(times, abs=1e-3)


def test_ten_pictures_a_second_are_ten_pictures_a_second(tmp_path: Path) -> None:
    seen = _fast(films.make(tmp_path / "ten.mp4", fps=10, seconds=3.0))
    assert seen.info.fps == pytest.approx(10, abs=0.1)
    assert len(seen.frames) == 30


def test_a_picture_larger_than_the_limit_is_scaled_down(tmp_path: Path) -> None:
    source = ReplaySource(films.make(tmp_path / "walk.mp4", sound=False), pace="fast", max_side_px=160)
    info = source.open()
    assert (info.width_px, info.height_px) == (160, 120)
    frame = source.read(0.0)
    assert isinstance(frame, VideoFrame)
    assert frame.image.shape == (120, 160, 3)
    source.close()


# Sound


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_sound_of_any_rate_comes_as_16_khz_mono(rate: int, tmp_path: Path) -> None:
    seen = _fast(films.make(tmp_path / "walk.mp4", sound_rate=rate, seconds=3.0))
    assert films.loudest_hz(seen.sound) == pytest.approx(films.TONE_HZ, abs=2)
    assert len(seen.sound) / 16_000 == pytest.approx(3.0, abs=0.15)


def test_a_hole_in_the_sound_does_not_shift_what_follows(tmp_path: Path) -> None:
    seen = _fast(films.make(tmp_path / "hole.mp4", sound_hole=(0.5, 1.5)))
    inside = [block for block in seen.blocks if 0.6 < block.t_s < 1.4]
    after = [block for block in seen.blocks if block.t_s >= 1.4]
    assert inside == []
    assert after[0].t_s == pytest.approx(1.5, abs=0.05)
    assert after[-1].t_s + len(after[-1].samples) / 16_000 == pytest.approx(2.0, abs=0.1)


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    seen = _fast(films.make(tmp_path / "mute.mp4", sound=False))
    assert not seen.info.has_sound
    assert len(seen.frames) == 30


def test_sound_without_a_picture_says_so(tmp_path: Path) -> None:
    seen = _fast(films.make(tmp_path / "sound.m4a", codec=None))
    assert not seen.info.has_picture
    assert seen.info.has_sound
    assert seen.info.fps == 0


# What is not a walk


def _error(path: Path) -> str:
    source = ReplaySource(path)
    with pytest.raises(MediaError) as caught:
        source.open()
    source.close()
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def test_an_empty_file_is_named_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "empty (0 bytes)" in _error(path)


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"PK\x03\x04" + b"spreadsheet" * 1000)
    assert "not a video that can be played" in _error(path)


def test_a_text_is_not_played_as_a_film(tmp_path: Path) -> None:
    path = tmp_path / "walk.txt"
    path.write_text("Turn left at the corner.\n" * 40)
    assert "a picture or a text" in _error(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_still_picture_is_not_played_as_a_film(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{suffix}"
    av.VideoFrame.from_ndarray(films.corners(), format="rgb24").save(path)
    assert "a picture or a text" in _error(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in _error(tmp_path / "gone.mp4")


def test_a_folder_is_not_a_video(tmp_path: Path) -> None:
    assert "is a folder" in _error(tmp_path)


def test_a_playlist_does_not_open_what_it_points_to_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "walk.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/walk.ts\n#EXT-X-ENDLIST\n")
    assert "not a video that can be played" in _error(path)


def test_a_recording_that_lost_its_index_says_that_it_was_cut_off(tmp_path: Path) -> None:
    whole = films.make(tmp_path / "whole.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "cut off before its index was written" in _error(cut)


def test_a_truncated_film_plays_what_decodes_and_then_ends_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = films.make(tmp_path / "whole.mp4", seconds=6.0, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with caplog.at_level(logging.WARNING):
        seen = _fast(cut)
    assert 40 < len(seen.frames) < 70
    assert 2.0 < len(seen.sound) / 16_000 < 5.0
    assert f"{cut} ends after " in caplog.text
    assert "of 6.0 s: it is cut off or damaged" in caplog.text


def test_a_film_in_a_format_nobody_knows_still_gives_its_sound(tmp_path: Path) -> None:
    path = films.make(tmp_path / "walk.mp4", options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    seen = _fast(path)
    assert not seen.info.has_picture
    assert films.loudest_hz(seen.sound) == pytest.approx(films.TONE_HZ, abs=2)


@pytest.mark.parametrize(("before", "after"), [(0.0, 70.0), (70.0, 70.0)], ids=["pauses", "starts late"])
def test_pictures_that_are_away_for_long_stay_beside_the_sound_that_goes_on(
    before: float, after: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = [before + number / 10 for number in range(20)] + [after + number / 10 for number in range(20, 40)]
    seen = _fast(films.make(tmp_path / "away.mkv", seconds=75.0, times=times, fps=10, sound_rate=16_000))
    assert [frame.t_s for frame in seen.frames] == pytest.approx(times, abs=0.05)
    assert "begin again" not in caplog.text
    assert "left out" not in caplog.text


def test_a_jump_of_hours_in_the_stamps_is_taken_out(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 7200.0, 7200.1, 7200.2]
    seen = _fast(films.make(tmp_path / "jump.mkv", times=times, fps=10, sound=False))
    assert [frame.t_s for frame in seen.frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=0.02)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@settings(max_examples=15, deadline=None)
@given(damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=60))
def test_damaged_bytes_are_skipped_or_refused_never_a_crash(
    damage: list[tuple[float, int]], container: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp() / f"damage.{container}"
    if not base.exists():
        options = {"movflags": "faststart"} if container == "mp4" else {}
        films.make(base, seconds=1.0, size=(160, 120), options=options)
    data = bytearray(base.read_bytes())
    for place, value in damage:
        data[min(int(place * len(data)), len(data) - 1)] = value
    path = base.with_name(f"damaged.{container}")
    path.write_bytes(data)
    source = ReplaySource(path, pace="fast")
    try:
        source.open()
    except MediaError:
        return
    times: dict[type, float] = {VideoFrame: 0.0, SoundBlock: 0.0}
    for _ in range(10_000):
        item = source.read(0.0)
        if source.ended:
            break
        if item is not None:
            assert item.t_s >= times[type(item)]
            times[type(item)] = item.t_s
    assert source.ended
    source.close()
