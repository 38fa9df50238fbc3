"""Makes people and number plates in a kept picture unrecognisable, by what the model's detector saw around that moment.

    person                     the upper 40 % of its box: head and shoulders
    vehicle, bicycle           the lower 60 %, where plates are
    no look with a detector    the whole picture, to blocks of a sixteenth of its width

The boxes of all looks within 0.6 s count, each a little larger: the wearer moves between look and picture. A detector
misses people: what it does not see stays as it is (docs/adr/0063-blurring-by-the-eyes.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.recorder import Veiled
from device.guidance.history import GuidanceHistory
from shared import hidden
from shared.errors import MediaError
from shared.sight import Box

WITHIN_S = 0.6
MARGIN = 0.15
"""Of a box's width and height, added on each side."""
PARTS = {"person": (0.0, 0.4), "vehicle": (0.4, 1.0), "bicycle": (0.4, 1.0)}
"""Object → from which share of its box's height to which."""
ACROSS = 6
"""Blocks across a box: a face is two of them wide, a plate at most three."""
ACROSS_WHOLE = 16

Image = NDArray[np.uint8]
Region = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""


class Veil:
    """Called with a picture and its time on the walk; what is kept of it."""

    def __init__(self, history: GuidanceHistory) -> None:
        self._history = history

    def __call__(self, image: Image, t_s: float) -> Veiled:
        """Raises: MediaError for what is no picture."""
        looks = self._history.boxes(t_s - WITHIN_S, t_s + WITHIN_S)
        height, width = image.shape[:2]
        try:
            if not looks or any(boxes is None for boxes in looks):
                return Veiled(_blocks(image.copy(), (0, 0, width, height), ACROSS_WHOLE), hidden.WHOLE)
            found = regions((box for boxes in looks for box in boxes or ()), width=width, height=height)
            return Veiled(blurred(image, found), hidden.of_regions(len(found)))
        except cv2.error as error:
            raise MediaError(f"A picture of {width}×{height} cannot be blurred ({error.err}).") from error


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
        _blocks(out, region, ACROSS)
    return out


def _blocks(image: Image, region: Region, across: int) -> Image:
    """The same array, with a region in blocks, each of one colour."""
    left, top, right, bottom = region
    part = image[top:bottom, left:right]
    if part.size:
        side = max(1.0, (right - left) / across)
        small = (max(1, round((right - left) / side)), max(1, round((bottom - top) / side)))
        tiny = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(tiny, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return image
