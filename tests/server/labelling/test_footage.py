"""A video cut into chunks: the right picture, the right way up, with the right sound."""

from __future__ import annotations

import io
import shutil
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server.labelling import footage
from server.labelling.footage import Chunk, Footage
from shared.errors import MediaError
from tests.device.capture.films import REAL, TONE_HZ, corner_names, corners, loudest_hz, make


def image_of(chunk: Chunk | None) -> NDArray[np.uint8]:
    assert chunk is not None
    decoded = cv2.imdecode(np.frombuffer(chunk.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def sound_of(chunk: Chunk | None) -> NDArray[np.int16]:
    assert chunk is not None
    with wave.open(io.BytesIO(chunk.wav)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16_000, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def bar_of(image: NDArray[np.uint8]) -> int:
    """Where the white bar begins."""
    row = image[image.shape[0] // 2].astype(int).min(axis=1)
    return int(np.argmax(row > 200))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mov", "film.ts"])
def test_each_chunk_has_the_picture_of_its_middle(name: str, tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / name, seconds=6.0))
    assert video.chunks == 3
    for number in (2, 0, 1):
        middle_s = number * 2 + 1.0
        assert abs(bar_of(image_of(footage.read(video, number))) - bar_of(corners(bar=middle_s / 10))) <= 3


def test_each_chunk_has_two_seconds_of_its_own_sound(tmp_path: Path) -> None:
    film = make(tmp_path / "film.mp4", seconds=6.0, sound_hole=(2.0, 4.0))
    video = footage.find(film)
    first, hole, last = (sound_of(footage.read(video, number)) for number in range(3))
    assert [len(one) for one in (first, hole, last)] == [32_000] * 3
    assert loudest_hz(first) == pytest.approx(TONE_HZ, abs=5)
    assert loudest_hz(last) == pytest.approx(TONE_HZ, abs=5)
    assert np.abs(first[1000:-1000]).max() > 5000
    assert np.abs(last[3000:-1000]).max() > 5000
    assert np.abs(hole[3000:-3000]).max() < 200


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_picture_is_turned_upright(degrees: int, tmp_path: Path) -> None:
    turned = footage.find(make(tmp_path / "turned.mp4", degrees=degrees))
    names = corner_names(image_of(footage.read(turned, 0)))
    expected = {90: "GgBR", 180: "gBRG", 270: "BRGg"}[degrees]
    assert names == expected


def test_a_film_without_sound_gives_silence(tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / "film.mp4", sound=False))
    assert not video.has_sound
    samples = sound_of(footage.read(video, 0))
    assert len(samples) == 32_000
    assert not samples.any()


@pytest.mark.parametrize(("seconds", "chunks"), [(2.0, 1), (2.4, 1), (2.6, 2), (1.0, 1), (0.2, 1), (5.0, 3)])
def test_a_rest_shorter_than_half_a_second_is_left_out(seconds: float, chunks: int, tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / "film.mp4", seconds=seconds, sound=False, fps=10))
    assert video.chunks == chunks
    assert all(footage.read(video, number) is not None for number in range(chunks))


def test_the_last_chunk_has_sound_of_its_own_length(tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / "film.mp4", seconds=5.0))
    assert len(sound_of(footage.read(video, 2))) == round((video.duration_s - 4.0) * 16_000)


def test_one_picture_held_for_seconds_is_shown_for_all_of_them(tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / "slides.mp4", seconds=8.0, times=[0.0, 7.5]))
    assert [footage.read(video, number) is not None for number in range(video.chunks)] == [True] * video.chunks


def test_sound_that_goes_on_after_the_film_has_no_chunks(tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / "film.mp4", seconds=8.0, times=[n / 15 for n in range(30)]))
    assert footage.read(video, 0) is not None
    assert footage.read(video, 2) is None


def test_a_film_without_an_index_is_read_to_where_it_was_cut_off(tmp_path: Path) -> None:
    whole = make(tmp_path / "film.mkv", seconds=10.0)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 6 // 10])
    video = footage.find(cut)
    readable = [footage.read(video, number) is not None for number in range(video.chunks)]
    assert readable[:2] == [True, True]
    assert not all(readable) or video.chunks < 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.mp4", b"", "is empty"),
        ("text.mp4", b"this is no film", "is not a video|picture or a text"),
        ("notes.txt", b"one\ntwo\n", "is not a video|picture or a text"),
        ("zeros.mp4", bytes(5000), "is not a video|picture or a text"),
    ],
)
def test_what_is_no_video_is_refused_with_what_it_is(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=message):
        footage.find(tmp_path / name)


def test_missing_file_folder_and_sound_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read"):
        footage.find(tmp_path / "absent.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        footage.find(tmp_path)
    with pytest.raises(MediaError, match="has sound but no picture"):
        footage.find(make(tmp_path / "sound.m4a", codec=None))


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.jpg"), corners())
    with pytest.raises(MediaError, match="is a picture"):
        footage.find(tmp_path / "still.jpg")


def test_a_large_film_is_scaled_down(tmp_path: Path) -> None:
    video = footage.find(make(tmp_path / "film.mp4", size=(1920, 1080), seconds=1.0, fps=5))
    assert image_of(footage.read(video, 0)).shape == (720, 1280, 3)


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is not beside the project")
def test_a_real_walk_is_cut_into_chunks(tmp_path: Path) -> None:
    video = footage.find(Path(shutil.copy(REAL, tmp_path)))
    chunks = [footage.read(video, number) for number in range(video.chunks)]
    assert video.chunks == 5
    assert all(chunk is not None for chunk in chunks)
    assert sum(np.abs(sound_of(chunk)).max() > 300 for chunk in chunks) >= 4


def test_the_span_of_a_chunk_ends_with_the_film(tmp_path: Path) -> None:
    assert Footage(tmp_path, 5.0, 15.0, True).span(2) == (4.0, 5.0)
