"""Surfaces of the rendered world: one atlas of 256 x 256 tiles, made once from fixed seeds.

Ground and ceiling tiles are 4 m wide (64 pixels a metre), wall tiles 8 m (32 pixels a metre, row 255 at the ground).
Each tile is kept twice, sharp and blurred, so that far surfaces do not shimmer. Alpha 0 lets the sky through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256
GROUND_PX_PER_M = 64
WALL_PX_PER_M = 32
Tile = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Atlas:
    """`texels` uint32 [layers * SIZE * SIZE] (RGBA bytes); `layers` maps a name to its sharp layer, +1 is blurred."""

    texels: NDArray[np.uint32]
    layers: dict[str, int]


@cache
def atlas() -> Atlas:
    """All tiles."""
    tiles: list[NDArray[np.uint8]] = []
    layers: dict[str, int] = {}
    for kind, (count, make) in _KINDS.items():
        for variant in range(count):
            rng = np.random.default_rng([sum(kind.encode()), variant])
            layers[f"{kind}{variant}"] = len(tiles)
            tile = _rgba(make(rng, variant))
            soft = cv2.blur(tile, (9, 9), borderType=cv2.BORDER_REFLECT)
            soft[..., 3] = tile[..., 3]
            tiles += [tile, np.asarray(soft, dtype=np.uint8)]
    return Atlas(np.ascontiguousarray(np.stack(tiles)).view(np.uint32).reshape(-1), layers)


def names(kind: str) -> list[str]:
    """The names of a kind's variants."""
    return [f"{kind}{variant}" for variant in range(_KINDS[kind][0])]


def _rgba(tile: Tile) -> NDArray[np.uint8]:
    full = np.full((SIZE, SIZE, 4), 255, dtype=np.uint8)
    full[..., : tile.shape[2]] = np.clip(tile, 0, 255).astype(np.uint8)
    return full


def _flat(colour: tuple[float, float, float]) -> Tile:
    return np.full((SIZE, SIZE, 3), colour, dtype=np.float32)


def _speckle(rng: np.random.Generator, tile: Tile, *, fine: float, coarse: float) -> Tile:
    """Grain and stains that repeat without a seam."""
    grain = rng.normal(0, fine, (SIZE, SIZE, 1)).astype(np.float32)
    stain = cv2.resize(rng.normal(0, coarse, (8, 8)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    out: Tile = tile + grain + stain[..., None].astype(np.float32)
    return out


def _slabs(rng: np.random.Generator, variant: int) -> Tile:
    base = ((176, 172, 165), (150, 148, 146), (188, 176, 158), (162, 158, 160), (205, 200, 190))[variant]
    size = (48, 32, 64, 42, 64)[variant]
    tile = _flat(base)
    for y in range(0, SIZE, size):
        for x in range(0, SIZE, size):
            tile[y : y + size, x : x + size] += rng.normal(0, 7)
    tile = _speckle(rng, tile, fine=6, coarse=6)
    tile[::size] *= 0.66
    tile[:, ::size] *= 0.66
    return tile


def _asphalt(rng: np.random.Generator, variant: int) -> Tile:
    base = ((92, 92, 95), (74, 75, 80), (112, 110, 108), (64, 64, 66), (100, 96, 98))[variant]
    return _speckle(rng, _flat(base), fine=11, coarse=7)


def _concrete(rng: np.random.Generator, variant: int) -> Tile:
    base = ((178, 176, 170), (150, 150, 148), (196, 192, 184))[variant]
    tile = _speckle(rng, _flat(base), fine=5, coarse=9)
    tile[:2] *= 0.75
    return tile


def _bricks(rng: np.random.Generator, variant: int) -> Tile:
    base = ((158, 96, 78), (142, 110, 96), (120, 116, 116), (176, 140, 104))[variant]
    tile = _flat(base)
    high, wide = 16, 32
    for row in range(SIZE // high):
        for col in range(SIZE // wide + 1):
            x = col * wide - (wide // 2 if row % 2 else 0)
            tile[row * high : (row + 1) * high, max(0, x) : x + wide] *= rng.uniform(0.84, 1.12)
            if x >= 0:
                tile[row * high : (row + 1) * high, x : x + 2] *= 0.7
    tile[::high] *= 0.7
    return _speckle(rng, tile, fine=6, coarse=5)


def _grass(rng: np.random.Generator, variant: int) -> Tile:
    base = ((84, 120, 56), (108, 124, 64), (72, 100, 52))[variant]
    tile = _speckle(rng, _flat(base), fine=20, coarse=12)
    return cv2.blur(tile, (1, 3)).astype(np.float32)


def _tiles(rng: np.random.Generator, variant: int) -> Tile:
    a = ((214, 208, 196), (196, 198, 202), (182, 160, 138), (120, 128, 140))[variant]
    b = ((202, 196, 184), (176, 180, 186), (170, 148, 126), (112, 120, 132))[variant]
    size = (32, 32, 64, 64)[variant]
    tile = _flat(a)
    yy, xx = np.mgrid[0:SIZE, 0:SIZE] // size
    tile[(yy + xx) % 2 == 1] = b
    tile[::size] *= 0.84
    tile[:, ::size] *= 0.84
    return _speckle(rng, tile, fine=3, coarse=4)


def _carpet(rng: np.random.Generator, variant: int) -> Tile:
    base = ((96, 104, 128), (122, 88, 84), (150, 122, 88))[variant]
    tile = _speckle(rng, _flat(base), fine=9, coarse=4)
    if variant == 2:  # boards
        tile[:, ::20] *= 0.72
    return tile


def _window(tile: Tile, x: int, y: int, size: tuple[int, int], glass: tuple[float, float, float]) -> None:
    wide, high = size
    tile[y - 2 : y + high + 2, x - 2 : x + wide + 2] = np.clip(tile[y, x] * 1.25, 0, 255)
    tile[y : y + high, x : x + wide] = glass
    tile[y : y + high // 3, x : x + wide] = np.array(glass) * 1.3 + 16
    tile[y : y + high, x + wide // 2 - 1 : x + wide // 2 + 1] = 200


def _plaster(rng: np.random.Generator, variant: int) -> Tile:
    base = ((206, 190, 160), (198, 198, 196), (182, 134, 106), (150, 164, 176), (220, 214, 202), (170, 176, 150))[
        variant
    ]
    tile = _speckle(rng, _flat(base), fine=3, coarse=7)
    for x in range(24, SIZE - 30, 64 if variant % 2 else 84):
        for y in (16, 116):
            shade = float(rng.uniform(48, 96))
            _window(tile, x, y, (30, 48), (shade, shade * 1.1, shade * 1.25))
    tile[236:] *= 0.72
    return tile


def _brickwall(rng: np.random.Generator, variant: int) -> Tile:
    base = ((150, 84, 68), (128, 104, 90), (168, 120, 88))[variant]
    tile = _flat(base)
    for row in range(0, SIZE, 6):
        tile[row] *= 0.78
        tile[row + 1 : row + 6, (row % 12) :: 12] *= 0.86
    tile = _speckle(rng, tile, fine=7, coarse=8)
    if variant != 1:
        for x in (40, 150):
            for y in (20, 120):
                _window(tile, x, y, (36, 50), (70, 78, 88))
    return tile


def _shop(rng: np.random.Generator, variant: int) -> Tile:
    base = ((90, 60, 56), (60, 84, 80), (70, 70, 84), (196, 190, 180))[variant]
    tile = _speckle(rng, _flat((190, 184, 176)), fine=3, coarse=5)
    for x in (20, 84, 148, 212):
        _window(tile, x, 40, (26, 50), (80, 88, 98))
    tile[140:256] = base
    for x in range(8, SIZE - 8, 62):
        glass = float(rng.uniform(70, 150))
        tile[176:246, x : x + 52] = (glass, glass * 1.05, glass * 1.08)
        tile[176:200, x : x + 52] *= 1.2
    tile[146:168, 10:246:3] = np.array(rng.uniform(120, 240, 3))
    return tile


def _hedge(rng: np.random.Generator, variant: int) -> Tile:
    base = ((52, 84, 40), (70, 96, 48))[variant]
    tile = _speckle(rng, _flat(base), fine=26, coarse=14)
    return cv2.blur(tile, (3, 3)).astype(np.float32)


def _indoor(rng: np.random.Generator, variant: int) -> Tile:
    base = ((224, 220, 208), (206, 214, 220), (216, 200, 176), (190, 196, 186), (170, 150, 130))[variant]
    tile = _speckle(rng, _flat(base), fine=2, coarse=5)
    tile[SIZE - 4 :] = np.array(base) * 0.5
    if variant % 2 == 0:
        tile[SIZE - 32 : SIZE - 28] *= 0.8
    if variant == 1:
        tile[SIZE - 36 :] *= (0.82, 0.88, 0.95)
    if variant == 3:
        tile[::12] *= 0.9
        tile[:, ::12] *= 0.9
    return tile


def _ceiling(rng: np.random.Generator, variant: int) -> Tile:
    tile = _speckle(rng, _flat(((226, 226, 222), (196, 198, 198))[variant]), fine=2, coarse=3)
    tile[::38] *= 0.88
    tile[:, ::38] *= 0.88
    tile[60:98, 20:110] = 255
    return tile


def _skyline(rng: np.random.Generator, variant: int) -> Tile:
    """Roofs and tree tops far away, with sky above them (alpha 0)."""
    tile = np.zeros((SIZE, SIZE, 4), dtype=np.float32)
    x = 0
    while x < SIZE:
        wide = int(rng.integers(14, 50))
        trees = variant == 1 or rng.random() < 0.3
        top = int(rng.integers(90, 190) if trees else rng.integers(10, 150))
        colour = rng.uniform(0.8, 1.1) * np.array((74, 96, 58) if trees else (150, 146, 144))
        tile[top:, x : x + wide, :3] = colour
        tile[top:, x : x + wide, 3] = 255
        if not trees:
            tile[top + 6 :: 14, x + 3 : x + wide - 3 : 8, :3] *= 0.7
        x += wide
    tile[..., :3] = _speckle(rng, tile[..., :3], fine=8, coarse=6)
    tile[..., :3] = tile[..., :3] * 0.8 + 40
    return tile


_KINDS: dict[str, tuple[int, Callable[[np.random.Generator, int], Tile]]] = {
    "slabs": (5, _slabs),
    "asphalt": (5, _asphalt),
    "concrete": (3, _concrete),
    "bricks": (4, _bricks),
    "grass": (3, _grass),
    "tiles": (4, _tiles),
    "carpet": (3, _carpet),
    "plaster": (6, _plaster),
    "brickwall": (3, _brickwall),
    "shop": (4, _shop),
    "hedge": (2, _hedge),
    "indoor": (5, _indoor),
    "ceiling": (2, _ceiling),
    "skyline": (3, _skyline),
}
