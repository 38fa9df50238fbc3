"""Turn a picture the right way up by its file's display matrix: walks and labelled videos must look the same."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_MATRIX = struct.Struct("=9i")  # FFmpeg's AV_FRAME_DATA_DISPLAYMATRIX: 16.16 fixed point, native byte order
_ONE = 1 << 16


def by_display_matrix(image: Image, matrix: bytes) -> Image:
    """The picture as a player shows it.

    image: [h, w, 3]; matrix: 36 bytes as libavutil/display.h describes them: x' = a·x + c·y, y' = b·x + d·y.
    returns: a contiguous picture. Quarter turns and mirrors are applied; any other angle is left as it is.
    """
    if len(matrix) != _MATRIX.size:
        return image
    a, b, _, c, d, *_rest = _MATRIX.unpack(matrix)
    swapped = abs(b) > _ONE // 2 and abs(c) > _ONE // 2
    if not swapped and not (abs(a) > _ONE // 2 and abs(d) > _ONE // 2):
        return image
    if swapped:
        image = image.transpose(1, 0, 2)
    along_x, along_y = (c, b) if swapped else (a, d)
    if along_x < 0:
        image = image[:, ::-1]
    if along_y < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
