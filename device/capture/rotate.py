"""Turn a picture the right way up, as the camera is mounted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def turned(image: Image, degrees: int) -> Image:
    """The picture, uint8 [h, w, 3], turned clockwise by 0, 90, 180 or 270 degrees, contiguous."""
    return np.ascontiguousarray(np.rot90(image, k=-degrees // 90)) if degrees else image
