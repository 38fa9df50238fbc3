"""Eyes whose boxes can be told from the picture: every cell that is red is a person, every blue one a vehicle.

Two maps as a real detector has, of other strides and of another input size. Weights are set by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.exporters.configs import OnnxConfig

from exporters.onnx.bundle import GoldenChunk, Label
from exporters.onnx.eyes import export_eyes
from exporters.onnx.graphs import write_graph
from exporters.onnx.look import Detector
from exporters.onnx.quiet import quiet
from shared import bundle
from shared.preprocess import Preprocessing
from shared.runtime.look import BOX_SCORES, BOXES, DISTANCE, GROUND_LOGITS, HAZARDS
from shared.sight.ground import GROUND

SIZE_PX, STRIDES = 96, (8, 16)
NAMES = (None, "person", "vehicle")
RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (127, 127, 127)
PALE = (204, 89, 89)
"""Perhaps a person: scored 0.3."""
PREPROCESSING = Preprocessing(SIZE_PX)
_BACKGROUND = 5.0
Cell = tuple[int, int, int]
"""Map, row, column."""


class SmallOutput(NamedTuple):
    boxes: Tensor
    class_logits: Tensor


class SmallEyes(nn.Module):
    """pixels [b, 3, 96, 96], -1..1 → boxes [b, 180, 4] and class logits [b, 180, 3]"""

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.class_heads = nn.ModuleList(nn.Conv2d(3, len(NAMES), stride, stride=stride) for stride in STRIDES)
        self.box_heads = nn.ModuleList(nn.Conv2d(3, 4, stride, stride=stride) for stride in STRIDES)
        cells = [
            box_of((index, row, column)) for index in range(2) for row, column in np.ndindex(grid(index), grid(index))
        ]
        self.register_buffer("anchors", torch.tensor(cells, dtype=torch.float32))
        for classes, boxes, stride in zip(self.class_heads, self.box_heads, STRIDES, strict=True):
            assert isinstance(classes, nn.Conv2d)
            assert isinstance(boxes, nn.Conv2d)
            red, blue = torch.tensor([1.0, -0.5, -0.5]), torch.tensor([-0.5, -0.5, 1.0])
            weights = torch.stack([torch.zeros(3), red, blue]) * 8 / stride**2
            classes.weight.data = weights[:, :, None, None].expand(-1, -1, stride, stride).clone()
            classes.bias = nn.Parameter(torch.tensor([_BACKGROUND, -8.0, -8.0]))
            boxes.weight.data.zero_()
            boxes.bias = nn.Parameter(torch.zeros(4))

    def forward(self, pixels: Tensor) -> SmallOutput:
        logits, offsets = _rows(self.class_heads, pixels, len(NAMES)), _rows(self.box_heads, pixels, 4)
        return SmallOutput(self.anchors + offsets, logits)


def _rows(heads: nn.ModuleList, pixels: Tensor, values: int) -> Tensor:
    maps = [head(pixels).permute(0, 2, 3, 1) for head in heads]
    return torch.cat([each.reshape(each.shape[0], -1, values) for each in maps], 1)


def grid(index: int) -> int:
    """Cells of a map's side."""
    return SIZE_PX // STRIDES[index]


def box_of(cell: Cell) -> tuple[float, float, float, float]:
    """top, left, bottom, right."""
    index, row, column = cell
    side = 1 / grid(index)
    return row * side, column * side, (row + 1) * side, (column + 1) * side


def painted(*cells: tuple[Cell, tuple[int, int, int]], height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """A grey picture, uint8 [h, w, 3] RGB, with some cells in colour."""
    image = np.full((height, width, 3), GREY, np.uint8)
    for cell, colour in cells:
        top, left, bottom, right = box_of(cell)
        image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = colour
    return image


AHEAD, LEFT, RIGHT, FAR = (1, 5, 3), (1, 5, 0), (1, 5, 5), (1, 2, 2)
"""Cells of the coarse map: at the walker's feet in the path, beside it, and far ahead."""
PERSON, CAR = painted((AHEAD, RED)), painted((LEFT, BLUE))
GOLDEN = (GoldenChunk(PERSON, "person", "ahead", True), GoldenChunk(CAR, "vehicle", "on the left", False))


def export_small(folder: Path, *, quantised: bool = False, precise: Sequence[str] = ()) -> bundle.Manifest:
    """A bundle of these eyes alone."""
    label = Label("small-1", "by hand", "", "demo", {"hazard_above": 0.5}, 1.0)
    what = Detector(SmallEyes(), PREPROCESSING, NAMES, precise=precise)
    return export_eyes(what, label, folder, golden_chunks=GOLDEN, pictures=[PERSON, CAR], quantised=quantised)


class WithHead(nn.Module):
    """Small eyes with a hazard head: all its logits are the same, but for one that grows with the picture's red.

    With a distance, what is blue is far from all that it knows, and the ground is a road at one place, else walkable.
    """

    def __init__(self, objects: int, sides: int, *, red: int, distance: bool = False) -> None:
        super().__init__()
        self.eyes, self.config, self.distance = SmallEyes(), None, distance
        self.objects, self.sides = objects, sides
        self.which: Tensor
        self.register_buffer("which", torch.nn.functional.one_hot(torch.tensor(red), objects * sides).float())

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        seen = self.eyes(pixel_values)
        redness = (pixel_values[:, 0] - pixel_values[:, 1]).mean(dim=(1, 2), keepdim=True)
        logits = (redness * 100 * self.which - 4).reshape(1, self.objects, self.sides)
        found = {BOXES: seen.boxes, BOX_SCORES: seen.class_logits.sigmoid(), HAZARDS: logits}
        if not self.distance:
            return found
        blueness = (pixel_values[:, 2] - pixel_values[:, 0]).mean(dim=(1, 2)).clamp(min=0) * 100
        ground = torch.zeros(1, 4, len(GROUND)) + blueness * 0
        ground[:, :, GROUND.index("walkable")], ground[:, 1, GROUND.index("road")] = 1.0, 2.0
        return {**found, DISTANCE: blueness, GROUND_LOGITS: ground}


def write_eyes(module: nn.Module, file: Path) -> None:
    """A module with the names of look.onnx as that graph."""
    with quiet():
        write_graph(module, {"pixel_values": torch.zeros(1, 3, SIZE_PX, SIZE_PX)}, OnnxConfig(ort_fusions="cpu"), file)
