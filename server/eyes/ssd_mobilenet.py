"""SSD MobileNetV2, taught at 300 px: three feature maps, and boxes with class logits, in plain PyTorch.

Batch norm is folded into the convolutions, so that training and inference compute the same and LoRA adapts plain
`nn.Conv2d`. All shapes are fixed once the picture's is: it exports to ONNX as a static graph.

source: MobileNetV2, arXiv 1801.04381, table 2; SSD, arXiv 1512.02325; TensorFlow's object detection API,
`ssd_mobilenet_v2_feature_extractor`, `multiple_grid_anchor_generator` and `faster_rcnn_box_coder`
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  as everybody calls it
from torch import Tensor, nn

INPUT_PX = 300
SMALLEST_PX = 160
"""Below it the finest map is coarser than what stands at the edge of a reach."""
CLASSES = 24
"""Class 0 is the background."""
BLOCKS = 17
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first of them."""
PRECISE = ("box_heads", "blocks.12", "blocks.13.expand")
"""What stays in float32 where the rest becomes int8: what gives the finest map and its boxes.

Mean overlap with the boxes in float32 on 200 street pictures: 0.897 with all in int8, 0.917 with the box heads in
float32, 0.941 with all these, for 1.6 ms a look more (8.5 instead of 6.9; all in float32 take 15.7).
"""
_C3_BLOCK, _C4_BLOCK, _WIDE_BLOCK = 5, 12, 13
EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
"""Channels of the 1×1 and of the 3×3 convolution of each layer after the backbone."""
_MAP_CHANNELS = (576, 1280, 512, 256, 256, 128)
_FINEST_STRIDE = 16
_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
_CENTRE_SCALE, _SIZE_SCALE = 10.0, 5.0


class SsdOutput(NamedTuple):
    """What is seen in b pictures."""

    c3: Tensor
    """[b, 32, 38, 38]"""
    c4: Tensor
    """[b, 96, 19, 19]"""
    narrow: Tensor
    """[b, 320, 10, 10], what c5 is made from"""
    c5: Tensor
    """[b, 1280, 10, 10]"""
    boxes: Tensor
    """[b, 1917, 4]: ymin, xmin, ymax, xmax as shares of the picture. They may reach over its edges."""
    class_logits: Tensor
    """[b, 1917, 24]: sigmoid gives a score for each class by itself; class 0 is the background."""


class ConvLayer(nn.Module):
    """Convolution and ReLU6, padded as TensorFlow's SAME: at stride 2 an even map only at its end."""

    def __init__(
        self, channels_in: int, channels: int, size: int = 1, *, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.pad = size // 2 if stride > 1 else 0
        inside = 0 if stride > 1 else size // 2
        self.conv = nn.Conv2d(channels_in, channels, size, stride=stride, padding=inside, groups=groups)
        self.relu = nn.ReLU6() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[b, channels_in, h, w] → [b, channels, ⌈h / stride⌉, ⌈w / stride⌉]"""
        if self.pad:
            rows, columns = x.shape[-2] % 2, x.shape[-1] % 2
            x = F.pad(x, (columns, 1, rows, 1))
        out: Tensor = self.relu(self.conv(x))
        return out


class InvertedResidual(nn.Module):
    """1×1 wide, 3×3 by channel, 1×1 narrow, added to what came in where the shapes agree."""

    def __init__(self, channels_in: int, channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = ConvLayer(channels_in, wide) if expansion > 1 else nn.Identity()
        self.depthwise = ConvLayer(wide, wide, 3, stride=stride, groups=wide)
        self.project = ConvLayer(wide, channels, relu=False)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns: the block's output, and the wide map inside it before its stride."""
        wide = self.expand(x)
        narrow = self.project(self.depthwise(wide))
        return (x + narrow if self.residual else narrow), wide


class SsdMobileNet(nn.Module):
    """The detector. Fresh weights are PyTorch's defaults: `server.eyes.packaged.load` gives it trained ones."""

    anchors: Tensor

    def __init__(self, input_px: int = INPUT_PX) -> None:
        """input_px: side of its pictures. The weights are the same for all, the anchors are not."""
        super().__init__()
        self.stem = ConvLayer(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList()
        channels = 32
        for expansion, width, count, stride in _STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                self.blocks.append(InvertedResidual(channels, width, expansion=expansion, stride=step))
                channels = width
        self.head = ConvLayer(channels, 1280)
        self.extras = nn.ModuleList()
        for before, (narrow, width) in zip(_MAP_CHANNELS[1:], EXTRAS, strict=False):
            self.extras.append(nn.Sequential(ConvLayer(before, narrow), ConvLayer(narrow, width, 3, stride=2)))
        counts = [len(_shapes(layer)) for layer in range(len(_MAP_CHANNELS))]
        self.box_heads, self.class_heads = (
            nn.ModuleList(nn.Conv2d(c, n * values, 1) for c, n in zip(_MAP_CHANNELS, counts, strict=True))
            for values in (4, CLASSES)
        )
        self.register_buffer("anchors", ssd_anchors(input_px), persistent=False)

    def forward(self, pixels: Tensor) -> SsdOutput:
        """Look at pictures.

        pixels: float32 [b, 3, input_px, input_px], RGB, -1..1, each picture stretched to the square. The shapes of the
        output are those at 300 px
        """
        x, kept = self.stem(pixels), {}
        for index, block in enumerate(self.blocks):
            x, wide = block(x)
            if index in (_C3_BLOCK, _C4_BLOCK):
                kept[index] = x
            elif index == _WIDE_BLOCK:
                kept[index] = wide
        c5 = self.head(x)
        maps = [kept[_WIDE_BLOCK], c5]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        offsets, logits = _rows(self.box_heads, maps, 4), _rows(self.class_heads, maps, CLASSES)
        return SsdOutput(kept[_C3_BLOCK], kept[_C4_BLOCK], x, c5, decode(offsets, self.anchors), logits)


def _rows(heads: nn.ModuleList, maps: list[Tensor], values: int) -> Tensor:
    """[b, 1917, values]: by map, row, column and anchor."""
    found = [head(each).permute(0, 2, 3, 1) for head, each in zip(heads, maps, strict=True)]
    return torch.cat([each.reshape(each.shape[0], -1, values) for each in found], 1)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Boxes from what the network says of each anchor.

    offsets: [b, n, 4]: y and x of the centre in tenths of the anchor's sides, logarithms of height and width in fifths
    anchors: [n, 4]: centre y, x, height, width
    returns: [b, n, 4]: ymin, xmin, ymax, xmax
    """
    centre = offsets[..., :2] / _CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    half = torch.exp(offsets[..., 2:] / _SIZE_SCALE) * anchors[:, 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def grids(input_px: int) -> list[int]:
    """The sides of the maps that boxes come from: 19, 10, 5, 3, 2, 1 at 300 px."""
    found = [math.ceil(input_px / _FINEST_STRIDE)]
    while len(found) < len(_MAP_CHANNELS):
        found.append(math.ceil(found[-1] / 2))
    return found


def ssd_anchors(input_px: int = INPUT_PX) -> Tensor:
    """The anchors, 1917 at 300 px, float32 [n, 4]: centre y, x, height, width as shares of the picture."""
    rows = [
        ((row + 0.5) / grid, (column + 0.5) / grid, height, width)
        for layer, grid in enumerate(grids(input_px))
        for row in range(grid)
        for column in range(grid)
        for height, width in _shapes(layer)
    ]
    return torch.tensor(rows)


def _shapes(layer: int) -> list[tuple[float, float]]:
    """(height, width) of the anchors at each place of a map; fewer in the finest (`reduce_boxes_in_lowest_layer`)."""
    scale, coarser = _SCALES[layer : layer + 2]
    pairs = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
    if layer > 0:
        pairs = [*((scale, ratio) for ratio in _RATIOS), (math.sqrt(scale * coarser), 1.0)]
    return [(size / math.sqrt(ratio), size * math.sqrt(ratio)) for size, ratio in pairs]
