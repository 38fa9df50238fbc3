"""The file of a walk: picture and sound on one time line, whole or not there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from server.walks import SpokenLine, Walk, plan_walk, render_frame, soundtrack, write_video
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError

VOICE = (np.sin(np.arange(SAMPLE_RATE_HZ) * 2 * np.pi * 440 / SAMPLE_RATE_HZ) * 9000).astype(np.int16)


@cache
def walk() -> Walk:
    return plan_walk(11, duration_s=5, objects=("pole", "bin", "vehicle"), settings=("street",))


def loudness(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def tone(samples: NDArray[np.int16]) -> float:
    """How much of the 440 Hz of VOICE is in it."""
    at = np.arange(len(samples)) * 2 * np.pi * 440 / SAMPLE_RATE_HZ
    return float(abs(np.mean(samples * np.exp(1j * at))))


def test_a_written_walk_plays_with_its_sound(tmp_path: Path) -> None:
    shares: list[float] = []
    file = tmp_path / "walk.mp4"
    write_video(walk(), file, fps=10, width_px=320, height_px=240, progress=shares.append)
    with av.open(file) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, audio.rate) == (320, 240, SAMPLE_RATE_HZ)
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(5.0, abs=0.15)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    with av.open(file) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(container.streams.audio[0])])
    assert len(pictures) == 50
    assert len(heard) / SAMPLE_RATE_HZ == pytest.approx(5.0, abs=0.15)
    assert float(np.abs(heard).max()) > 0.01
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    drawn = render_frame(walk(), 2.0, 320, 240).image.astype(int)
    assert float(np.abs(pictures[20].astype(int) - drawn).mean()) < 12


def test_the_wearers_voice_is_in_the_sound_at_its_time_and_the_rest_gives_way() -> None:
    plain, spoken = soundtrack(walk()), soundtrack(walk(), voice=[SpokenLine(2.0, VOICE)])
    second = SAMPLE_RATE_HZ
    assert len(plain) == len(spoken) == 5 * second
    assert tone(spoken[2 * second : 3 * second]) > 20 * tone(plain[2 * second : 3 * second])
    assert np.array_equal(plain[: second + second // 2], spoken[: second + second // 2])
    assert np.array_equal(plain[4 * second :], spoken[4 * second :])
    pause = soundtrack(walk(), voice=[SpokenLine(2.0, np.zeros(second, dtype=np.int16))])
    assert loudness(pause[2 * second : 3 * second]) < 0.6 * loudness(plain[2 * second : 3 * second])


def test_sound_is_the_same_every_time_and_never_clips() -> None:
    assert np.array_equal(soundtrack(walk()), soundtrack(walk()))
    assert loudness(soundtrack(walk())) > 100
    assert int(np.abs(soundtrack(walk(), voice=[SpokenLine(0.0, VOICE)]).astype(int)).max()) <= 32767


@pytest.mark.parametrize("route", ["indoor", "rain"])
def test_rooms_and_rain_sound(route: str) -> None:
    if route == "indoor":
        made = plan_walk(2, duration_s=4, objects=("bin", "door"), settings=("corridor",))
    else:
        made = plan_walk(2, duration_s=4, objects=("bin",), weather_name="rain")
    assert loudness(soundtrack(made)) > 60


def test_a_line_outside_the_walk_is_refused_and_no_file_is_left(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="outside the walk"):
        write_video(walk(), tmp_path / "walk.mp4", voice=[SpokenLine(9.0, VOICE)])
    with pytest.raises(ConfigError, match="not int16 mono"):
        soundtrack(walk(), voice=[SpokenLine(1.0, VOICE.astype(np.float32))])
    assert list(tmp_path.iterdir()) == []


def test_an_odd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="even sizes"):
        write_video(walk(), tmp_path / "walk.mp4", width_px=321)


def test_a_write_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(walk(), tmp_path / "walk.mp4", fps=5, width_px=160, height_px=120, progress=stop)
    assert list(tmp_path.iterdir()) == []
