"""From any camera's picture to the model's tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MediaError
from shared.preprocess import Preprocessing, fit_tile, normalise, prepare

STRETCH, PAD = Preprocessing(32), Preprocessing(32, fit="pad")
SIDES = st.integers(1, 200)


@given(SIDES, SIDES, st.sampled_from([STRETCH, PAD]))
def test_any_picture_becomes_one_tile(height: int, width: int, spec: Preprocessing) -> None:
    tensor = prepare(np.full((height, width, 3), 200, np.uint8), spec)
    assert tensor.shape == (1, 3, 32, 32)
    assert tensor.dtype == np.float32
    assert np.isfinite(tensor).all()
    assert tensor.min() >= -1
    assert tensor.max() <= 1


@given(SIDES, SIDES, st.integers(1, 255))
def test_stretching_uses_the_whole_tile(height: int, width: int, grey: int) -> None:
    assert (fit_tile(np.full((height, width, 3), grey, np.uint8), STRETCH) == grey).all()


@given(SIDES, SIDES, st.integers(1, 255))
def test_padding_keeps_the_shape_and_leaves_black_at_the_right_or_below(height: int, width: int, grey: int) -> None:
    tile = fit_tile(np.full((height, width, 3), grey, np.uint8), PAD)
    rows, columns = (tile[:, 0, 0] > 0).sum(), (tile[0, :, 0] > 0).sum()
    assert max(rows, columns) == 32
    assert (tile[:rows, :columns] == grey).all()
    assert int(tile.astype(int).sum()) == int(rows * columns * 3 * grey)
    assert abs(rows - max(1, 32 * height / max(height, width))) <= 0.5
    assert abs(columns - max(1, 32 * width / max(height, width))) <= 0.5


@pytest.mark.parametrize("spec", [STRETCH, PAD])
def test_the_same_scene_at_twice_the_size_gives_the_same_tile(spec: Preprocessing) -> None:
    small = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    assert np.abs(fit_tile(small, spec).astype(int) - fit_tile(large, spec)).max() <= 1


def test_the_edges_of_a_picture_are_never_cut_off() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, :10, 0] = image[:, -10:, 1] = image[-8:, :, 2] = 255
    for spec in (STRETCH, PAD):
        tile = fit_tile(image, spec)
        assert all((tile[..., channel] > 200).any() for channel in range(3))


def test_a_picture_of_the_tiles_size_is_left_alone() -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), np.uint8)
    for spec in (STRETCH, PAD):
        assert (fit_tile(image, spec) == image).all()


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.int16),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
    ],
    ids=lambda bad: f"{bad.dtype}{list(bad.shape)}",
)
def test_what_is_no_picture_is_refused_with_its_shape(bad: Any) -> None:
    with pytest.raises(MediaError, match=str(bad.dtype)):
        fit_tile(bad, STRETCH)


def test_values_are_centred_and_channels_come_first() -> None:
    tile = np.zeros((32, 32, 3), np.uint8)
    tile[..., 2] = 255
    tensor = normalise(tile, STRETCH)
    assert (tensor[0] == -1).all()
    assert tensor[2] == pytest.approx(1.0)
    assert tensor.flags.c_contiguous
    other = normalise(tile, Preprocessing(32, mean=0.25, std=0.125))
    assert other[0].max() == -2
    assert (normalise(tile[None], STRETCH)[0] == tensor).all()


@given(st.integers(16, 1024), st.sampled_from(["stretch", "pad"]), st.floats(0, 1), st.floats(0.1, 1))
def test_it_travels_in_a_manifest(size_px: int, fit: Any, mean: float, std: float) -> None:
    spec = Preprocessing(size_px, fit, mean, std)
    assert Preprocessing.from_dict({**spec.to_dict(), "newer": 1}) == spec
