"""A decoded frame as a person would see it: upright, of square pixels, in ordinary colours."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from shared.film import hdr, upright

_SHAPES = (Fraction(1, 4), Fraction(4))
"""Pixels that are narrower or wider than this are a damaged header."""


class Developer:
    """Makes pictures of the frames of one stream."""

    def __init__(self, pixel: Fraction | None, *, max_side_px: int) -> None:
        """pixel: width / height of one of the stream's pixels; None = square"""
        self._pixel, self._max_side_px = pixel, max_side_px
        self._reformatter = VideoReformatter()

    def picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] RGB, no side longer than max_side_px; pixels are made square by widening, never by loss."""
        width, height = shape(frame.width, frame.height, self._pixel, most=self._max_side_px)
        transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
        ordinary = hdr.is_ordinary(transfer, primaries)
        # One thread: FFmpeg would start and end some for every picture.
        form = "rgb24" if ordinary else "rgb48le"
        values = self._reformatter.reformat(frame, width, height, form, threads=1).to_ndarray()
        image = (
            values.astype(np.uint8, copy=False)
            if ordinary
            else hdr.to_ordinary(values.astype(np.uint16, copy=False), transfer=transfer, primaries=primaries)
        )
        beside = cast(Mapping[str, bytes], frame.side_data)  # PyAV's own types know one key of many
        return upright.by_display_matrix(image, bytes(beside["DISPLAYMATRIX"])) if "DISPLAYMATRIX" in beside else image


def shape(width: int, height: int, pixel: Fraction | None, *, most: int) -> tuple[int, int]:
    """Width and height in square pixels. pixel: width / height of one; None = square"""
    if pixel and _SHAPES[0] <= pixel <= _SHAPES[1]:
        width, height = (round(width * pixel), height) if pixel > 1 else (width, round(height / pixel))
    scale = min(1.0, most / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
