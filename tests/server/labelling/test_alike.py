"""A chunk of a labelled video and a chunk that a device recorded of the same video are the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.capture.recorder import ClosedChunk, Recorder
from device.capture.replay import ReplaySource
from server.labelling import footage
from tests.device.capture.films import make


def recorded(film: Path) -> list[ClosedChunk]:
    """What a device's recorder makes of a walk that is replayed."""
    source, recorder = ReplaySource(film, pace="fast"), Recorder(clips=False)
    source.open()
    chunks = []
    while not source.ended:
        if (item := source.read(1.0)) is not None:
            chunks += recorder.feed(item)
    source.close()
    return chunks + recorder.flush()


@pytest.mark.parametrize(
    ("size", "degrees"),
    [
        ((320, 240), 0),
        ((1920, 1080), 90),
        *(
            pytest.param(size, degrees, marks=pytest.mark.soak)
            for size, degrees in (((320, 240), 90), ((1920, 1080), 0), ((2560, 1440), 0), ((2560, 1440), 90))
        ),
    ],
)
def test_pictures_are_byte_for_byte_alike(size: tuple[int, int], degrees: int, tmp_path: Path) -> None:
    film = make(tmp_path / "film.mp4", size=size, seconds=4.0, fps=5, degrees=degrees, sound=False)
    video = footage.find(film)
    labelled = [footage.read(video, number) for number in range(video.chunks)]
    assert len(labelled) == 2
    assert [chunk and chunk.jpeg for chunk in labelled] == [chunk.frame_jpeg for chunk in recorded(film)]


def test_sound_is_byte_for_byte_alike(tmp_path: Path) -> None:
    film = make(tmp_path / "film.mkv", seconds=6.0, fps=5, sound_rate=16_000, sound_hole=(2.5, 3.5))
    video = footage.find(film)
    labelled = [footage.read(video, number) for number in range(3)]
    assert [chunk and chunk.wav for chunk in labelled] == [chunk.audio_wav for chunk in recorded(film)[:3]]


def test_resampled_sound_is_alike_where_no_seek_comes_before_it(tmp_path: Path) -> None:
    film = make(tmp_path / "film.mp4", seconds=4.0, fps=5, sound_rate=44_100)
    first = footage.read(footage.find(film), 0)
    assert first is not None
    assert first.wav == recorded(film)[0].audio_wav
