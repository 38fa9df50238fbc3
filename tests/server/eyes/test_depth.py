"""Depth maps of scenes whose geometry is known: what stands there, what falls away, and when nothing is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from server.eyes import depth
from shared.sight import Box, BoxScoring, Camera, scored

WIDTH, HEIGHT = 200, 150
ASPECT = WIDTH / HEIGHT


def scene(
    camera: Camera, *, wall: tuple[float, float, float] | None = None, trench_m: float = math.inf
) -> NDArray[np.float32]:
    """Inverse depth, 1 / metres, of level ground under a wall (metres ahead, its edges to the right) of 1.5 m, and of
    ground that lies 0.8 m deeper from `trench_m` on."""
    y, x = np.meshgrid((np.arange(HEIGHT) + 0.5) / HEIGHT, (np.arange(WIDTH) + 0.5) / WIDTH, indexing="ij")
    across, pitch = 2 * math.tan(math.radians(camera.fov_deg) / 2), math.radians(camera.pitch_deg)
    right, below = (x - 0.5) * across, (y - 0.5) * across / ASPECT
    down, ahead = below * math.cos(pitch) + math.sin(pitch), math.cos(pitch) - below * math.sin(pitch)
    z = np.where(down > 1e-6, camera.height_m / np.maximum(down, 1e-6), 1e3)
    deep = np.where(down > 1e-6, (camera.height_m + 0.8) / np.maximum(down, 1e-6), 1e3)
    z = np.where(z * ahead > trench_m, deep, z)
    if wall is not None:
        at_m, left_m, right_m = wall
        front = at_m / ahead
        up_m = camera.height_m - front * down
        hit = (up_m >= 0) & (up_m <= 1.5) & (front * right >= left_m) & (front * right <= right_m) & (front < z)
        z = np.where(hit, front, z)
    return (1.0 / z).astype(np.float32)


def foot_m(box: Box, camera: Camera) -> float:
    point = camera.ground((box.left + box.right) / 2, box.bottom, aspect=ASPECT)
    assert point is not None
    return point.ahead_m


@pytest.mark.parametrize("camera", [Camera(), Camera(height_m=1.0, pitch_deg=25.0, fov_deg=80.0)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (37.0, -4.0)])
def test_a_post_stands_where_it_stands_whatever_the_maps_scale(camera: Camera, scale: float, offset: float) -> None:
    noise = np.random.default_rng(1).normal(0, 0.002, (HEIGHT, WIDTH)).astype(np.float32)
    (box,) = depth.things((scene(camera, wall=(3.0, -0.2, 0.2)) + noise) * scale + offset, camera, aspect=ASPECT)
    assert box.object == "obstacle"
    assert foot_m(box, camera) == pytest.approx(3.0, abs=0.3)
    scores = scored([box], camera, aspect=ASPECT, scoring=BoxScoring())
    assert scores["obstacle", "ahead"] > 0.5


def test_beside_the_path_it_is_beside() -> None:
    camera = Camera()
    (box,) = depth.things(scene(camera, wall=(3.0, 0.9, 1.4)), camera, aspect=ASPECT)
    assert max(scored([box], camera, aspect=ASPECT, scoring=BoxScoring()))[1] == "on the right"


def test_ground_that_falls_away_is_a_drop() -> None:
    camera = Camera()
    found = depth.things(scene(camera, trench_m=3.0), camera, aspect=ASPECT)
    assert [box.object for box in found] == ["drop-off"]
    assert 2.5 < foot_m(found[0], camera) < 3.5


def test_level_ground_a_far_wall_and_a_map_without_ground_say_nothing() -> None:
    camera = Camera()
    assert depth.things(scene(camera), camera, aspect=ASPECT) == ()
    assert depth.things(scene(camera, wall=(20.0, -9.0, 9.0)), camera, aspect=ASPECT) == ()
    rng = np.random.default_rng(0)
    assert depth.things(rng.random((HEIGHT, WIDTH), np.float32), camera, aspect=ASPECT) == ()
    assert depth.things(np.full((HEIGHT, WIDTH), 0.5, np.float32), camera, aspect=ASPECT) == ()
    assert depth.things(-scene(camera, wall=(3.0, -0.2, 0.2)), camera, aspect=ASPECT) == (), "upside down: depth"
    assert depth.things(np.full((HEIGHT, WIDTH), np.nan, np.float32), camera, aspect=ASPECT) == ()
