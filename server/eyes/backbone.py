"""What every picture backbone gives: one grid of tokens. What others it has, maps of several strides, comes to that.

    every map has the same side (a vision transformer)    the deepest one is the grid
    maps of several strides (a convolutional net, Swin)   the grid is that of the stride nearest to 16:
        the map of half its stride    every second place beside its neighbours: 4 times the channels, nothing is lost
        the map of its own stride     as it is
        the map of twice its stride   each place four times

Of several maps with one side the deepest is taken. All others are left out. Everything is fixed once the picture's size
is, so that it exports to ONNX as a static graph. Channels that a network wants shifted or scaled each by itself are so
inside: pictures reach every backbone in the same way, -1..1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.preprocess import Preprocessing

STRIDE = 16
"""Of the grid, where a backbone leaves a choice: 14 × 14 tokens at 224 px, as many as a device can afford."""
Channels = tuple[float, float, float]
"""Red, green, blue."""


class Backbone(nn.Module):
    """A network that sees: float32 [b, 3, s, s] → [b, grid · grid, dim], row by row."""

    def __init__(self, *, name: str, licence: str, preprocessing: Preprocessing, dim: int, grid: int) -> None:
        super().__init__()
        self.name = name
        self.licence = licence
        """As its publisher states it; "" = not stated."""
        self.preprocessing = preprocessing
        self.dim = dim
        """Length of a token."""
        self.grid = grid
        """Tokens on a side."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: float32 [b, 3, s, s], as `preprocessing` says → float32 [b, grid · grid, dim], row by row"""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Colours:
    """How a network wants its channels, 0..1 before: (x - mean) / std."""

    mean: Channels
    std: Channels


@dataclass(frozen=True, slots=True)
class Grid:
    """Which maps become tokens."""

    side: int
    chosen: tuple[int, ...]
    """Places of the maps, finest first."""
    dim: int


class MapBackbone(Backbone):
    """A network that gives maps, as one grid of tokens."""

    scale: Tensor
    shift: Tensor

    def __init__(self, maps: nn.Module, grid: Grid, *, name: str, licence: str, size_px: int, colours: Colours) -> None:
        """maps: float32 [b, 3, s, s] in `colours` → a sequence of [b, c, h, h], those that `grid` was found on"""
        plain = Preprocessing(size_px)
        super().__init__(name=name, licence=licence, preprocessing=plain, dim=grid.dim, grid=grid.side)
        self.maps = maps
        self.chosen = grid.chosen
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (colours.mean, colours.std))
        self.register_buffer("scale", plain.std / std, persistent=False)
        self.register_buffer("shift", (plain.mean - mean) / std, persistent=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """float32 [b, 3, s, s], -1..1 → float32 [b, grid · grid, dim]"""
        maps = self.maps(pixel_values * self.scale + self.shift)
        on_grid = [to_side(maps[at], self.grid) for at in self.chosen]
        return torch.cat(on_grid, 1).flatten(2).transpose(1, 2)


def to_side(feature_map: Tensor, side: int) -> Tensor:
    """[b, c, h, h] → [b, c or 4 c, side, side]. h: twice the side, the side or half of it"""
    height = feature_map.shape[-1]
    if height == 2 * side:
        return quarters(feature_map)
    return feature_map if height == side else feature_map.repeat_interleave(2, -2).repeat_interleave(2, -1)


def quarters(feature_map: Tensor) -> Tensor:
    """Space to depth: [b, c, 2 h, 2 h] → [b, 4 c, h, h]; the channels of the upper left places come first, those of the
    lower right last.

    Slices, not pixel_unshuffle: its export to ONNX puts the channels in another order than it does itself.
    """
    return torch.cat([feature_map[..., down::2, right::2] for down in (0, 1) for right in (0, 1)], 1)


def plan(shapes: Sequence[Sequence[int]], *, size_px: int, name: str, patch_px: int = 0) -> Grid:
    """Which of a backbone's maps become tokens, and on which grid. Pure.

    shapes: [c, h, w] of each map at pictures of `size_px`; patch_px: side of the patches that it cuts a picture into,
    where it says so
    raises: ConfigError where the maps do not fit the picture or each other
    """
    if not shapes or any(len(shape) != 3 or shape[1] != shape[2] or 0 in shape for shape in shapes):
        raise ConfigError(
            f"The backbone {name!r} gives {[list(shape) for shape in shapes]}, no square maps of a square picture.",
            hint='Use a DINOv2, ConvNeXt, SwinV2, ResNet, SigLIP or similar checkpoint, or learn.eyes = "packaged".',
        )
    sides = [shape[1] for shape in shapes]
    _check_size(sides, size_px, name=name, patch_px=patch_px)
    deepest = {side: at for at, side in enumerate(sides)}
    side = min(deepest, key=lambda each: (abs(math.log2(size_px / each / STRIDE)), -each))
    near = [each for each in sorted(deepest, reverse=True) if each in (2 * side, side) or 2 * each == side]
    chosen = tuple(deepest[each] for each in near)
    return Grid(side, chosen, sum(shapes[at][0] * (4 if sides[at] == 2 * side else 1) for at in chosen))


def _check_size(sides: Sequence[int], size_px: int, *, name: str, patch_px: int) -> None:
    """Raises: ConfigError where a map leaves out an edge of the picture, naming sizes that fit."""
    stride = patch_px if patch_px and len(set(sides)) == 1 else _stride(min(sides), size_px)
    if size_px % stride == 0 and all(size_px % side == 0 for side in sides):
        return
    below = size_px // stride * stride
    fitting = [str(size) for size in (below, below + stride) if size]
    raise ConfigError(
        f"The backbone {name!r} sees in steps of {stride} px: {size_px} px leave a rest at the edge.",
        hint=f"Use pictures of {' or '.join(fitting)} px.",
    )


def _stride(side: int, size_px: int) -> int:
    """The power of two by which a map may be smaller than its picture, its rest left out or padded."""
    powers = (2**exponent for exponent in range(11))
    return next((step for step in powers if side in (size_px // step, -(-size_px // step))), size_px // side)
