"""Which k pictures of a clip a model is shown: uniform, or those in which something is that is in no other.

    candidates [n] of a clip, in time
        → descriptors of their patches [n, p, d]: of the pixels, or what a base's own tower makes of them
        → how unlike their usual look the most unlike places of each picture are, against how much they usually vary
        → times how sharp the picture is, times how far in time it is from those that were taken already
        → k of them, in time

A thing that stands in one picture only is rarely among k drawn uniformly; by what is new it nearly always is (docs/
learning.md has the figures). Deterministic: of equals the earliest is taken. There is no score by similarity to the
question: the towers of SmolVLM-type bases have no text side to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

MOST = 8
"""Pictures of one clip, at most: each costs a base's image tokens in every prompt."""
CANDIDATES = 16
"""Pictures of a clip that are looked at."""
Selection = Literal["uniform", "pixels", "features"]
SELECTIONS: tuple[Selection, ...] = ("uniform", "pixels", "features")
"""uniform: evenly in time; pixels: new in its pixels; features: new to the base's tower."""
_SIDE, _CELL = 64, 4
_TOP = 0.03
"""Share of a picture's places that count: a thing to be seen covers a few percent of it."""
_QUIET = 0.5
"""Of the typical variation, added to each place's own: in a still place the smallest change would count without end."""
_FLOOR = 1e-3
"""Of a clip in which nothing moves, the pictures are spread."""
_BLURRED = 0.3
"""What a picture without any edge still counts."""


def uniform(count: int, k: int) -> list[int]:
    """The middles of k equal parts of `count` pictures, all of them where there are no more. Pure."""
    if count <= k:
        return list(range(count))
    return [int((part + 0.5) * count / k) for part in range(k)]


def newest(descriptors: NDArray[np.float32], sharpness: NDArray[np.float32], k: int) -> list[int]:
    """The k pictures in which something is new, in time. Pure.

    descriptors: [n, p, d] of the places of pictures in time; sharpness: [n], any positive unit
    """
    count = len(descriptors)
    if count <= k:
        return list(range(count))
    score = (novelty(descriptors) + _FLOOR) * _clear(sharpness)
    apart, chosen = count / k, list[int]()
    weight = np.ones(count, np.float32)
    at = np.arange(count)
    for _ in range(k):
        best = int(np.argmax(np.where(np.isin(at, chosen), -1.0, score * weight)))
        chosen.append(best)
        weight = np.minimum(weight, np.abs(at - best) / apart)
    return sorted(chosen)


def novelty(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """How new each picture is among those of its clip: [n, p, d] → [n], 1 = as much as usual. Pure."""
    usual = np.median(descriptors, axis=0, keepdims=True)
    far = np.linalg.norm(descriptors - usual, axis=2)
    varies = np.median(far, axis=0)
    odd = far / (varies + _QUIET * float(varies.mean()) + 1e-6)
    top = max(1, round(_TOP * odd.shape[1]))
    result: NDArray[np.float32] = np.sort(odd, axis=1)[:, -top:].mean(1).astype(np.float32)
    return result


def pixels(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Descriptors of pictures [h, w, 3] by their pixels alone: float32 [n, p, d]."""
    return np.stack([_cells(picture) for picture in pictures])


def sharpness(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """How sharp pictures [h, w, 3] are: the variance of their Laplacian, float32 [n]."""
    grey = [
        cv2.cvtColor(cv2.resize(one, (160, 120), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for one in pictures
    ]
    return np.array([cv2.Laplacian(one, cv2.CV_32F).var() for one in grey], np.float32)


def _clear(sharp: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n] → [n], 1 for what is as sharp as usual or sharper, less for what is blurred."""
    share: NDArray[np.float32] = np.clip(sharp / (float(np.median(sharp)) + 1e-6), _BLURRED, 1.0).astype(np.float32)
    return share


def _cells(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour and edges of 4 x 4 pixels each of the picture at 64 x 64: [256, 5]."""
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    grey = small.mean(2)
    edges = np.stack([np.abs(cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx)) for dx in (1, 0)], 2)
    layers = np.concatenate([small, 0.25 * edges], 2)
    cells = _SIDE // _CELL
    out: NDArray[np.float32] = layers.reshape(cells, _CELL, cells, _CELL, -1).mean((1, 3)).reshape(cells * cells, -1)
    return out
