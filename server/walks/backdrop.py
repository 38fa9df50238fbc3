"""Ground, walls, end, ceiling and sky of a place: one ray per pixel against a handful of planes.

At most LIMIT_PX rays across; wider pictures are cast smaller and enlarged, because texture far finer than the camera's
own blur costs time and shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.walks.canvas import axes, focal_px
from server.walks.scene import FAR_M, Light, Place, Pose
from server.walks.textures import GROUND_PX_PER_M, SIZE, WALL_PX_PER_M, atlas

LIMIT_PX = 320
_BITS = 8
_MASK = SIZE - 1
_HUGE = np.float32(1.0e9)


def backdrop(
    place: Place, light: Light, pose: Pose, *, width_px: int, height_px: int, fog: float = 0.0
) -> NDArray[np.uint8]:
    """uint8 [height_px, width_px, 3] RGB of the place with nothing in it."""
    scale = max(1, -(-width_px // LIMIT_PX))
    small = _cast(place, light, pose, width_px=width_px // scale, height_px=height_px // scale, fog=fog)
    if small.shape[:2] == (height_px, width_px):
        return small
    return np.asarray(cv2.resize(small, (width_px, height_px), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Hit:
    """What the ray of each pixel meets in an empty place; arrays [h, w]."""

    t: NDArray[np.float32]
    """How far along the ray, whose part along the camera's axis is 1."""
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]
    dx: NDArray[np.float32]
    dy: NDArray[np.float32]
    is_level: NDArray[np.bool_]
    """Ground, or the ceiling."""
    is_wall: NDArray[np.bool_]
    """A side wall. What is neither is the end, or the sky above it."""


def hits(place: Place, pose: Pose, *, width_px: int, height_px: int) -> Hit:
    """The first plane that each pixel's ray meets."""
    dx, dy, dz = _rays(pose, width_px, height_px)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        t_level = np.where(dy < 0, -np.float32(pose.y_m) / dy, np.float32(place.ceiling_m - pose.y_m) / dy)
        t_wall = (
            np.where(dx < 0, np.float32(place.left_wall_m - pose.x_m), np.float32(place.right_wall_m - pose.x_m)) / dx
        )
        t_end = np.where(dz > 0, np.float32(place.end_m - pose.z_m) / dz, _HUGE)
    np.copyto(t_wall, _HUGE, where=~(t_wall > 0))
    if place.wall_height_m < FAR_M:
        np.copyto(t_wall, _HUGE, where=pose.y_m + t_wall * dy > place.wall_height_m)
    side = np.minimum(t_wall, t_end)
    is_level = t_level < side
    t = np.where(is_level, t_level, side)
    x, y, z = pose.x_m + t * dx, pose.y_m + t * dy, pose.z_m + t * dz
    return Hit(t, x, y, z, dx, dy, is_level, ~is_level & (t_wall < t_end))


def _cast(place: Place, light: Light, pose: Pose, *, width_px: int, height_px: int, fog: float) -> NDArray[np.uint8]:
    hit = hits(place, pose, width_px=width_px, height_px=height_px)
    t, x, y, z, dx, dy, is_level, is_wall = hit.t, hit.x, hit.y, hit.z, hit.dx, hit.dy, hit.is_level, hit.is_wall
    table = atlas().layers
    layer = np.full(t.shape, table[place.end], dtype=np.int32)
    np.copyto(layer, np.where(dx < 0, table[place.left_wall], table[place.right_wall]), where=is_wall)
    np.copyto(layer, _ground(place, x, z, dy), where=is_level)
    layer += t > np.where(is_level, np.float32(6.5), np.float32(14.0))
    u = np.where(is_wall, z, x)
    v = np.where(is_level, z, 8.0 - y)
    grain = np.where(is_level, np.float32(GROUND_PX_PER_M), np.float32(WALL_PX_PER_M))
    sky = (t > 400.0) | (~is_level & ~is_wall & (y > place.end_height_m))
    column = _wrapped(u * grain)
    row = _wrapped(v * grain)
    texels = atlas().texels.take((layer << (2 * _BITS)) | (row << _BITS) | column)
    sky |= (texels >> 24) == 0
    level = np.clip(dy * 300.0, 0, 255).astype(np.int32)
    np.copyto(texels, _sky_table(light).take(level), where=sky)
    image = cv2.cvtColor(texels.view(np.uint8).reshape(height_px, width_px, 4), cv2.COLOR_RGBA2RGB)
    if fog > 0:
        keep = np.clip(np.power(1.0 - min(0.95, fog), np.minimum(t, 300.0) / 10.0), 0, 1).astype(np.float32)
        haze = np.full_like(image, [int(c) for c in light.sky_low])
        image = cv2.blendLinear(image, haze, keep, 1.0 - keep)
    return np.asarray(image, dtype=np.uint8)


def _rays(pose: Pose, width_px: int, height_px: int) -> tuple[NDArray[np.float32], ...]:
    """World direction of each pixel's ray, forward part 1 in the camera's axis; three arrays [h, w]."""
    right, up, forward = axes(pose)
    focal = focal_px(width_px)
    columns = ((np.arange(width_px, dtype=np.float32) + 0.5 - width_px / 2) / focal)[None, :]
    rows = (-(np.arange(height_px, dtype=np.float32) + 0.5 - height_px / 2) / focal)[:, None]
    parts = [(columns * right[i] + (rows * up[i] + forward[i])).astype(np.float32) for i in range(3)]
    for part in parts:
        part[part == 0] = 1e-6
    return tuple(parts)


def _ground(place: Place, x: NDArray[np.float32], z: NDArray[np.float32], dy: NDArray[np.float32]) -> NDArray[np.int32]:
    """The layer of each level pixel: path, what is beside it, the road across it, or the ceiling."""
    table = atlas().layers
    layer = np.full(x.shape, table[place.path], dtype=np.int32)
    np.copyto(layer, table[place.left], where=x < place.path_left_m)
    np.copyto(layer, table[place.right], where=x > place.path_right_m)
    if place.cross_from_m < FAR_M:
        np.copyto(layer, table[place.cross], where=(z > place.cross_from_m) & (z < place.cross_to_m))
    if place.indoor:
        np.copyto(layer, table[place.ceiling], where=dy > 0)
    return layer


def _wrapped(value: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.clip(value, -1e6, 1e6).astype(np.int32) & _MASK


def _sky_table(light: Light) -> NDArray[np.uint32]:
    share = (np.linspace(0, 1, 256, dtype=np.float32) ** 0.6)[:, None]
    colours = np.array(light.sky_low) * (1 - share) + np.array(light.sky_top) * share
    full = np.full((256, 4), 255, dtype=np.uint8)
    full[:, :3] = np.clip(colours, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(full).view(np.uint32).reshape(-1)
