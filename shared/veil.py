"""What is made unrecognisable in a picture, on a device and on the server: regions become blocks of one colour each.

    person                     the upper 40 % of its box: head and shoulders
    vehicle, bicycle           the lower 60 %, where plates are
    face                       all of it, half as large again

Six blocks across a region: a face is two or three of them wide, and what was between them cannot be computed back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.sight import Box

MARGIN = 0.15
"""Of a box's width and height, added on each side."""
PARTS = {"person": (0.0, 0.4), "vehicle": (0.4, 1.0), "bicycle": (0.4, 1.0)}
"""Object → from which share of its box's height to which."""
ACROSS = 6
"""Blocks across a box: a face is two of them wide, a plate at most three."""
ACROSS_WHOLE = 16
"""Blocks across a picture that is hidden as a whole."""

Image = NDArray[np.uint8]
Region = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""


def regions(boxes: Iterable[Box], *, width: int, height: int) -> list[Region]:
    """What of a picture is to be hidden."""
    return [_region(box, width=width, height=height) for box in boxes if box.object in PARTS]


def _region(box: Box, *, width: int, height: int) -> Region:
    begin, end = PARTS[box.object]
    tall, wide = box.bottom - box.top, box.right - box.left
    edges = (
        box.left - MARGIN * wide,
        box.top + (begin - MARGIN) * tall,
        box.right + MARGIN * wide,
        box.top + end * tall + MARGIN * tall,
    )
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return int(left * width), int(top * height), -int(-right * width), -int(-bottom * height)


def blurred(image: Image, covered: Sequence[Region]) -> Image:
    """A copy with these regions in blocks. image: uint8 [h, w, 3]"""
    out = image.copy()
    for region in covered:
        blocks(out, region, ACROSS)
    return out


def blocks(image: Image, region: Region, across: int) -> Image:
    """The same array, with a region in blocks, each of one colour."""
    left, top, right, bottom = region
    part = image[top:bottom, left:right]
    if part.size:
        side = max(1.0, (right - left) / across)
        small = (max(1, round((right - left) / side)), max(1, round((bottom - top) / side)))
        tiny = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(tiny, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return image


def whole(image: Image) -> Image:
    """A copy of which all is in blocks. image: uint8 [h, w, 3]"""
    height, width = image.shape[:2]
    return blocks(image.copy(), (0, 0, width, height), ACROSS_WHOLE)
