"""From a camera picture to what the vision encoder takes: the same code trains, exports, evaluates and guides.

The whole picture is used (stretched to a square, or padded), never a centre crop: a curb at the lower edge and a person
at the side are what guidance is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import MediaError


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pictures become tensors. Travels in the bundle manifest, so that a device follows its model."""

    size_px: int
    """Side of the square tile."""
    fit: Literal["stretch", "pad"] = "stretch"
    """stretch: the picture fills the tile. pad: it keeps its shape, black bars below or at the right."""
    mean: float = 0.5
    std: float = 0.5

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Preprocessing:
        return cls(**{key: value[key] for key in ("size_px", "fit", "mean", "std")})


def fit_tile(image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """Bring a picture to the tile.

    image: uint8 [h, w, 3] RGB of any size
    returns: uint8 [size_px, size_px, 3]
    raises: MediaError where the array is no RGB picture
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise MediaError(f"A picture must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}.")
    size = spec.size_px
    if spec.fit == "stretch":
        return _resize(image, size, size)
    scale = size / max(image.shape[:2])
    small = _resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    tile = np.zeros((size, size, 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small
    return tile


def normalise(tile: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """uint8 [..., size, size, 3] → float32 [..., 3, size, size], (x / 255 - mean) / std."""
    scaled = (tile.astype(np.float32) * np.float32(1 / 255) - np.float32(spec.mean)) / np.float32(spec.std)
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def prepare(image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """Picture uint8 [h, w, 3] RGB → pixel_values float32 [1, 3, size, size]. Raises: MediaError."""
    return normalise(fit_tile(image, spec), spec)[None]


def _resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if image.shape[1] == width and image.shape[0] == height:
        return image
    shrink = width <= image.shape[1] and height <= image.shape[0]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return resized  # type: ignore[return-value]  # cv2's stubs widen uint8 to any dtype
