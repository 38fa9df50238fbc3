"""Covered, black, overexposed and frozen pictures are told apart from dark, foggy and sunlit streets."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server.walks.frames import random_frame
from shared import lens
from tests.paths import DATA

Image = NDArray[np.uint8]


def street(seed: int = 3) -> Image:
    return random_frame(np.random.default_rng(seed), want="curb", width_px=320, height_px=240).image


def noisy(image: NDArray[np.float64], noise: float, seed: int = 0) -> Image:
    """A sensor's picture: clipped, with noise."""
    rough = np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image + rough, 0, 255).astype(np.uint8)


def covered(colour: tuple[int, int, int], *, slope: float, cloth: float = 0.0, noise: float = 6.0) -> Image:
    """Something out of focus over the whole lens: its colour, the light from one side, a blurred texture."""
    y, x = np.mgrid[0:480, 0:640]
    light = 1 + slope * (x / 640 - 0.5) + 0.7 * slope * (y / 480 - 0.5)
    weave = np.random.default_rng(1).normal(0, 1, (480, 640)).astype(np.float32)
    light = light * (1 + 25 * cloth * cv2.GaussianBlur(weave, (0, 0), 25))
    return noisy(np.array(colour) * light[..., None], noise)


COVERS = {
    "finger": (covered((70, 20, 15), slope=0.8), "covered"),
    "finger before the sun": (covered((160, 60, 40), slope=1.2), "covered"),
    "hand": (covered((60, 40, 30), slope=1.0, cloth=0.15, noise=8.0), "covered"),
    "scarf": (covered((40, 40, 45), slope=0.4, cloth=0.3, noise=8.0), "covered"),
    "fogged": (covered((170, 170, 170), slope=0.15, cloth=0.05), "covered"),
    "cap on": (covered((1, 1, 1), slope=0.0, noise=2.0), "dark"),
    "cap on, gain up": (covered((3, 3, 3), slope=0.0), "dark"),
    "grey card": (covered((120, 120, 120), slope=0.0, noise=2.0), "flat"),
    "white": (covered((254, 254, 254), slope=0.0, noise=1.0), "bright"),
}


@pytest.mark.parametrize("name", COVERS)
def test_a_lens_that_shows_nothing_is_named(name: str) -> None:
    image, wanted = COVERS[name]
    assert lens.trouble(lens.view(image)) == wanted


@pytest.mark.parametrize("gain", [12, 20])
def test_an_overexposed_street_is_bright_and_a_sunny_one_is_not(gain: float) -> None:
    image = street().astype(np.float64)
    assert lens.trouble(lens.view(noisy(image * gain, 0.0))) == "bright"
    assert lens.trouble(lens.view(noisy(image * 1.6, 0.0))) is None


def test_a_street_at_a_sixth_of_its_light_with_a_sensors_noise_is_still_seen() -> None:
    assert lens.trouble(lens.view(noisy(street() / 6.0, 2.0))) is None


def test_no_drawn_street_room_night_fog_or_rain_is_taken_for_a_covered_lens() -> None:
    pictures = (random_frame(np.random.default_rng(seed)).image for seed in range(60))
    assert {lens.trouble(lens.view(image)) for image in pictures} == {None}


@pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside this checkout")
def test_no_real_street_or_room_is_taken_for_a_covered_lens() -> None:
    paths = sorted((DATA / "stills").glob("*.*g")) + sorted((DATA / "streets").rglob("*.*g"))[::8]
    found = [(path.name, lens.trouble(lens.view(cv2.imread(str(path))))) for path in paths]  # type: ignore[arg-type]
    assert len(found) > 40
    assert [pair for pair in found if pair[1]] == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1080, 1920, 3), (1920, 1080, 3), (33, 4000, 3)])
def test_pictures_of_any_size_and_rotation_are_judged(shape: tuple[int, int, int]) -> None:
    assert lens.trouble(lens.view(np.zeros(shape, np.uint8))) == "dark"


def frozen(images: Iterable[Image]) -> list[bool]:
    """Whether each of the pictures, a quarter of a second apart, is taken for a frozen camera's."""
    history, found = lens.LensHistory(), []
    for number, image in enumerate(images):
        history, trouble = lens.examine(history, image, 0.25 * number)
        found.append(trouble is lens.LensTrouble.FROZEN)
    return found


def test_a_picture_that_stands_still_is_frozen_after_a_second_and_a_half_and_no_longer_once_it_moves() -> None:
    still, moved = [street()] * 8, [street(4), street()[:200]]  # a camera that came back with another size
    assert frozen([*still, *moved]) == [False] * 6 + [True] * 2 + [False] * 2


def test_a_sensors_noise_alone_shows_that_a_still_camera_is_alive() -> None:
    image = street().astype(np.float64)
    assert not any(frozen(noisy(image, 0.7, seed=n) for n in range(20)))


def test_a_lens_that_is_covered_is_so_even_where_the_picture_stands_still() -> None:
    history, dark = lens.LensHistory(), np.zeros((48, 64, 3), np.uint8)
    for number in range(12):
        history, trouble = lens.examine(history, dark, 0.25 * number)
        assert trouble is lens.LensTrouble.DARK


def with_lamps(image: NDArray[np.float64], count: int, seed: int = 0) -> NDArray[np.float64]:
    """Small discs of light in the upper half."""
    lit, random = image.copy(), np.random.default_rng(seed)
    height, width = image.shape[:2]
    for _ in range(count):
        centre = int(random.integers(8, width - 8)), int(random.integers(8, height // 2))
        cv2.circle(lit, centre, max(1, width // 160), (255, 235, 190), -1)
    return lit


def walk_into(darkness: Iterable[Image], *, before: float = 1.0) -> list[lens.LensTrouble | None]:
    """What is found in each of these pictures, a quarter of a second apart, after three seconds of a lit street."""
    history, found = lens.LensHistory(), []
    lit = (noisy(street().astype(np.float64) * before, 2.0, seed) for seed in range(12))
    for number, image in enumerate([*lit, *darkness]):
        history, trouble = lens.examine(history, image, 0.25 * number)
        found.append(trouble)
    assert not any(found[:12])
    return found[12:]


@pytest.mark.parametrize("name", sorted(set(COVERS) - {"grey card", "white"}))
@pytest.mark.parametrize("before", [1.0, 0.3])
def test_a_lens_that_is_covered_in_mid_walk_is_never_called_too_dark(name: str, before: float) -> None:
    image, wanted = COVERS[name]
    assert set(walk_into([image] * 8, before=before)) == {wanted}


@pytest.mark.parametrize("lamps", [1, 2, 5])
@pytest.mark.parametrize("share", [1 / 30, 1 / 60, 1 / 200])
def test_a_dark_street_with_lamps_is_too_dark_at_once(share: float, lamps: int) -> None:
    night = [noisy(with_lamps(street(n).astype(np.float64) * share, lamps, n), 2.0, n) for n in range(20, 28)]
    found = walk_into(night)
    assert set(found) <= {lens.LensTrouble.NIGHT, None}
    assert lens.LensTrouble.NIGHT in found


def test_light_that_goes_away_little_by_little_is_too_dark_without_any_lamp() -> None:
    dusk = [noisy(street().astype(np.float64) * 0.85**n, 2.0, n) for n in range(40)]
    found = walk_into(dusk)
    assert {trouble for trouble in found if trouble} == {lens.LensTrouble.NIGHT}
    assert found[-1] is lens.LensTrouble.NIGHT


def test_a_light_that_is_switched_off_and_a_cap_from_the_start_count_as_covered() -> None:
    assert set(walk_into([noisy(street(n).astype(np.float64) / 200, 2.0, n) for n in range(8)])) == {
        lens.LensTrouble.DARK
    }
    history, cap = lens.LensHistory(), COVERS["cap on, gain up"][0]
    for number in range(8):
        history, trouble = lens.examine(history, cap, 0.25 * number)
        assert trouble is lens.LensTrouble.DARK


def test_an_array_that_is_no_picture_is_left_to_the_model() -> None:
    assert lens.examine(lens.LensHistory(), np.zeros((0, 4, 3), np.uint8), 1.0)[1] is None
