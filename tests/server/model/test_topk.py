"""Which pictures of a clip are shown: in time, the same every time, and those in which something is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from server import walks
from server.model import topk
from server.walks.catalogue import new_thing
from server.walks.paint import render
from server.walks.walk import scene_at

COUNT, K = 16, 4


def clip(seed: int, *, thing_at: int) -> list[NDArray[np.uint8]]:
    """Two seconds of a drawn walk, of which one picture has a thing that no other has."""
    rng = np.random.default_rng([72, seed])
    route = tuple(walks.ROUTES.values())[seed % len(walks.ROUTES)]
    walk = walks.walk_along(route, seed=(1 << 33) + seed, duration_s=8.0, known=walks.KNOWN)
    start_s, pictures = rng.uniform(1, 5), []
    for number in range(COUNT):
        scene = scene_at(walk, start_s + 2.0 * number / COUNT)
        if number == thing_at:
            x_m, z_m = scene.pose.x_m + rng.uniform(-0.6, 0.6), scene.pose.z_m + rng.uniform(2.0, 3.0)
            thing = replace(new_thing("bin", rng), x_m=float(x_m), z_m=float(z_m))
            scene = replace(scene, things=(*scene.things, thing))
        pictures.append(render(scene, width_px=96, height_px=72).image)
    return pictures


def test_what_is_in_one_picture_only_is_found_more_often_than_by_chance() -> None:
    found, evenly = 0, 0
    for seed in range(5):
        at = (seed * 7 + 3) % COUNT
        pictures = clip(seed, thing_at=at)
        found += at in topk.newest(topk.pixels(pictures), topk.sharpness(pictures), K)
        evenly += at in topk.uniform(COUNT, K)
    assert evenly <= 2  # a quarter of the pictures
    assert found >= evenly + 2


def test_they_are_in_time_and_the_same_every_time() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (COUNT, 48, 64, 3), np.uint8)
    pictures = list(noise)
    first = topk.newest(topk.pixels(pictures), topk.sharpness(pictures), K)
    assert first == sorted(set(first))
    assert len(first) == K
    assert first == topk.newest(topk.pixels(pictures), topk.sharpness(pictures), K)


def test_of_a_still_clip_they_are_spread() -> None:
    still = np.zeros((COUNT, 9, 2), np.float32)
    chosen = topk.newest(still, np.ones(COUNT, np.float32), K)
    assert len(chosen) == K
    assert min(np.diff(chosen)) >= 2


def test_a_blurred_picture_counts_less_than_a_sharp_one() -> None:
    described = np.zeros((8, 4, 1), np.float32)
    described[2] = described[6] = 1.0  # as new as each other
    sharp = np.ones(8, np.float32)
    sharp[2] = 0.01
    assert topk.newest(described, sharp, 1) == [6]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_of_few_pictures_all_are_taken(count: int) -> None:
    described = np.random.default_rng(1).random((count, 3, 2), np.float32)
    every = list(range(count))
    assert topk.newest(described, np.ones(count, np.float32), K) == topk.uniform(count, K) == every


def test_uniform_takes_the_middles_of_equal_parts() -> None:
    assert topk.uniform(16, 4) == [2, 6, 10, 14]
