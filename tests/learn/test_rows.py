"""Which rows of a dataset teach, and which judge."""

from __future__ import annotations

import shutil
import struct
import wave
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server.dataset import Dataset, SampleRow
from server.learn import cases, rows
from server.learn.rows import Senses
from shared.errors import DatasetError
from shared.mel import RATE_HZ
from tests.learn.parts import layout, reviewed_home, tone

ROW = SampleRow(
    row_id="a#1", sample_id="pi-1-b00t-000001", frame_path="frames/none.jpg", audio_path="audio/none.wav",
    instruction="x", timestamp=0.0, device="pi-1", walk_id="w", reviewed=True, ground_truth="Stop, curb ahead.",
)  # fmt: skip


def test_only_confirmed_rows_of_the_training_split_teach() -> None:
    others = [
        replace(ROW, reviewed=False),
        replace(ROW, split="held_out"),
        replace(ROW, ground_truth="Watch out for that thing over there"),
    ]
    assert rows.teaching([ROW, *others]) == [ROW]


def test_confirmed_silence_teaches() -> None:
    silent = replace(ROW, ground_truth="")
    assert rows.teaching([silent]) == [silent]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewed_home(tmp_path_factory.mktemp("rows") / "home", walks_of={"walk-1": 3})


def test_a_row_becomes_itself_its_mirror_and_variations(home: Path) -> None:
    (row, *_) = Dataset(home / "dataset").rows()
    made = rows.examples(home / "dataset", [row], layout(), variations=5, seed=1)
    again = rows.examples(home / "dataset", [row], layout(), variations=5, seed=1)
    assert [example.text for example in made[::2]] == [row.ground_truth] * 3
    assert (made[1].tile == made[0].tile[:, ::-1]).mean() > 0.9
    assert all((a.tile == b.tile).all() for a, b in zip(made, again, strict=True))
    assert len({example.tile.tobytes() for example in made}) == 5


@pytest.fixture
def heard_and_seen(home: Path, tmp_path: Path) -> tuple[Path, SampleRow]:
    """A row whose clip is 1 s of black, then white, and whose sound is a tone."""
    (row, *_) = Dataset(home / "dataset").rows()
    folder = tmp_path / "dataset"
    for name in ("frames", "clips", "audio"):
        (folder / name).mkdir(parents=True)
    shutil.copy(home / "dataset" / row.frame_path, folder / row.frame_path)
    film(folder / "clips" / "1.mp4", [np.full((48, 64, 3), 255 * (n >= 20), np.uint8) for n in range(40)])
    samples = (tone(300.0) * 32767).astype(np.int16)
    with wave.open(str(folder / "audio" / "1.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return folder, replace(row, clip_path="clips/1.mp4", audio_path="audio/1.wav", duration_s=2.0)


def film(file: Path, pictures: list[NDArray[np.uint8]]) -> None:
    with av.open(str(file), "w") as out:
        stream = out.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))


def test_a_row_gives_the_picture_one_look_before_and_its_sound(heard_and_seen: tuple[Path, SampleRow]) -> None:
    folder, row = heard_and_seen
    earlier = rows.before(folder, row)
    assert earlier is not None
    assert earlier.max() < 40, "a quarter of a second before the middle, the clip is still black"
    heard = rows.sound(folder, row)
    assert heard is not None
    assert heard.shape == (2 * RATE_HZ,)
    assert np.abs(heard - tone(300.0)).max() < 1e-3


def test_views_share_their_sound_and_change_both_pictures_alike(heard_and_seen: tuple[Path, SampleRow]) -> None:
    folder, row = heard_and_seen
    given = Senses(before=True, sound=True)
    made = rows.examples(folder, [row], layout(), variations=8, seed=1, senses=given)
    assert all(example.previous is not None for example in made)
    assert len({id(example.sound) for example in made}) == 2, "one array, and None"
    assert [example.sound is None for example in made] == [n % 4 == 3 for n in range(8)]
    plain = rows.examples(folder, [row], layout(), variations=8, seed=1)
    assert all((a.tile == b.tile).all() for a, b in zip(made, plain, strict=True)), "what is seen now does not depend"
    (case,) = cases.cases(folder, [(row, "real")], given, progress=print)
    assert case.previous is not None
    assert case.sound is not None


def test_a_row_whose_clip_or_sound_is_gone_or_broken_still_teaches(heard_and_seen: tuple[Path, SampleRow]) -> None:
    folder, row = heard_and_seen
    for path in ("", "clips/none.mp4", row.frame_path):
        other = replace(row, clip_path=path, audio_path=path)
        assert rows.before(folder, other) is None or path == row.frame_path
        assert rows.sound(folder, other) is None


def test_a_picture_that_is_gone_is_named(home: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.jpg of sample pi-1-b00t-000001.*reject the sample"):
        rows.picture(home / "dataset", ROW)


def test_a_picture_whose_header_says_that_it_is_huge_is_named_too(tmp_path: Path) -> None:
    encoded = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    size_at = encoded.index(b"\xff\xc0") + 5  # height and width in the frame header
    struct.pack_into(">HH", encoded, size_at, 65_500, 65_500)
    (tmp_path / "huge.jpg").write_bytes(encoded)
    with pytest.raises(DatasetError, match=r"huge\.jpg.*cannot be read"):
        rows.read_picture(tmp_path / "huge.jpg")
