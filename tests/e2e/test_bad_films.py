"""Films as people bring them, through the command: what can be walked is walked, what cannot is said, and why."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest

from tests.device.capture import films
from tests.e2e.site import Done, flags_at, sealed, walked


def walk(folder: Path, video: Path, *more: str) -> Done:
    """As fast as it goes, with a flag after one second; there is no server and no model."""
    return walked(folder / "state", f"replay:{video}", "--pace", "fast", "--buttons", flags_at(folder, 1.0), *more)


def check_kept(folder: Path, done: Done, *, chunks: int) -> Path:
    """The walk went through and its first chunk is durable. Returns that chunk's folder."""
    assert (done.status, done.err) == (0, "")
    assert done.report["chunks"] == chunks
    assert done.report["not_kept"] == 0
    kept = sealed(folder / "state")
    assert sorted(kept) == sorted(done.report["flagged"])
    name = next(name for name, record in kept.items() if record["sequence"] == 0)
    assert "wearer" in kept[name]["flags"]
    return folder / "state" / "outbox" / name


def test_a_film_without_sound_is_walked_and_its_chunks_have_silent_sound(tmp_path: Path) -> None:
    video = films.make(tmp_path / "walk.mp4", seconds=4.0, size=(160, 120), sound=False)
    kept = check_kept(tmp_path, walk(tmp_path, video), chunks=2)
    with wave.open(io.BytesIO((kept / "audio.wav").read_bytes())) as sound:
        assert sound.getnframes() == 2 * 16_000
        assert set(sound.readframes(32_000)) == {0}


def test_a_film_of_ten_pictures_a_second_is_walked(tmp_path: Path) -> None:
    video = films.make(tmp_path / "walk.mp4", seconds=4.0, fps=10.0, size=(160, 120))
    done = walk(tmp_path, video)
    check_kept(tmp_path, done, chunks=2)
    assert (done.report["frames_seen"], done.report["frames_dropped"]) == (40, 0)


def test_a_film_that_was_turned_is_kept_upright(tmp_path: Path) -> None:
    video = films.make(tmp_path / "walk.mp4", seconds=4.0, size=(160, 120), degrees=90)
    kept = check_kept(tmp_path, walk(tmp_path, video), chunks=2)
    record = sealed(tmp_path / "state")[kept.name]
    assert (record["width_px"], record["height_px"]) == (120, 160)


def test_a_film_that_breaks_off_is_walked_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = films.make(tmp_path / "whole.mkv", seconds=8.0, size=(160, 120))
    video = tmp_path / "walk.mkv"
    video.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    done = walk(tmp_path, video)
    assert (done.status, done.report["not_kept"]) == (0, 0)
    assert 1 <= done.report["chunks"] < 4
    assert sorted(sealed(tmp_path / "state")) == sorted(done.report["flagged"]) != []


@pytest.mark.parametrize("kind", ["sound only", "cut before its index", "zero bytes"])
def test_what_cannot_be_walked_is_said_once_with_status_one_and_a_report(tmp_path: Path, kind: str) -> None:
    video = tmp_path / "walk.mp4"
    if kind == "zero bytes":
        video.touch()
    else:
        films.make(video, seconds=4.0, size=(160, 120), codec=None if kind == "sound only" else "libx264")
    if kind == "cut before its index":
        video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    done = walk(tmp_path, video)
    assert done.status == 1
    said = done.err.strip()
    assert said.startswith("waycue-device: ")
    assert said.count("waycue-device:") == 1
    assert "walk.mp4" in said
    if kind == "sound only":
        assert "sound only" in said
    assert "No camera." in " ".join(done.announced)
    assert (done.report["chunks"], done.report["flagged"]) == (0, [])


@pytest.mark.skipif(not films.REAL.exists(), reason=f"the real clip {films.REAL.name} is not beside the project")
@pytest.mark.parametrize(
    ("seconds", "chunks"), [(4.2, 2), pytest.param(60.0, 4, marks=pytest.mark.soak)], ids=["its beginning", "all of it"]
)
def test_a_real_walk_in_hevc_has_whole_chunks(tmp_path: Path, starter_home: Path, seconds: float, chunks: int) -> None:
    (bundle,) = (starter_home / "models").glob("*/bundle")
    film = films.beginning(films.REAL, tmp_path / "walk.mp4", seconds=seconds)
    done = walk(tmp_path, film, "--model", str(bundle), "--speech", str(tmp_path / "speech.wav"))
    assert done.status == 0, done.err
    assert done.report["duration_s"] // 2 == chunks
    assert done.report["chunks"] >= chunks
    whole = [record for record in sealed(tmp_path / "state").values() if record["duration_s"] > 1.9]
    assert 0 in {record["sequence"] for record in whole}
    assert done.version == bundle.parent.name
    assert (tmp_path / "speech.wav").stat().st_size > 44
