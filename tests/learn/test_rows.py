"""Which rows of a dataset teach, and which judge."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from server.dataset import Dataset, SampleRow
from server.learn import rows
from shared import vocabulary
from shared.errors import DatasetError
from tests.learn.parts import layout, reviewed_home

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


def test_cases_are_held_out_rows_and_verified_corrections(home: Path) -> None:
    first, second, third = Dataset(home / "dataset").rows()
    chosen = [
        replace(first, split="held_out"), replace(second, correction_id="c1", ground_truth=""), third,
        replace(third, correction_id="c2", reviewed=False),
    ]  # fmt: skip
    found = rows.cases(home / "dataset", chosen)
    assert [(case.case_id, case.group) for case in found] == [
        (first.sample_id, "held_out"), (second.sample_id, "correction"),
    ]  # fmt: skip
    assert found[1].text == vocabulary.CLEAR
    assert found[0].image.dtype == np.uint8


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
