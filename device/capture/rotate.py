"""Turn a picture the right way up: by the file's display matrix, or by how the camera is mounted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.upright import by_display_matrix as by_display_matrix  # the other way to know which way is up

Image = NDArray[np.uint8]


def turned(image: Image, degrees: int) -> Image:
    """The picture, uint8 [h, w, 3], turned clockwise by 0, 90, 180 or 270 degrees, contiguous."""
    return np.ascontiguousarray(np.rot90(image, k=-degrees // 90)) if degrees else image
