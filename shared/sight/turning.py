"""How far the camera turned between two looks, from the pictures alone: a gyroscope that every camera has. Pure.

The upper part of a street's picture is far away: walking hardly moves it, turning moves all of it. Phase correlation
finds by how much, though cars and people move before it; a weak peak means that the two have too little in common, and
nothing is said.

source: Kuglin and Hines 1975, in OpenCV's phaseCorrelate
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.sight.camera import Camera

WIDTH_PX, HEIGHT_PX = 128, 96
FAR_SHARE = 0.6
"""Of the picture, from its top."""
PEAK_LEAST = 0.15
"""Response of the correlation below which a turn is not believed."""

Thumb = NDArray[np.float32]


def thumb(image: NDArray[np.uint8]) -> Thumb:
    """What of a picture is far away, small and grey: float32 [HEIGHT_PX * FAR_SHARE, WIDTH_PX], contrast evened out.

    image: uint8 [h, w, 3] RGB
    """
    small = cv2.resize(image, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[: round(HEIGHT_PX * FAR_SHARE)].astype(np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 12.0), np.float32)


def turned(before: Thumb, after: Thumb, camera: Camera, *, aspect: float) -> tuple[float, float] | None:
    """Radians to the right, and down, that the camera turned between two pictures; None where that cannot be seen.

    aspect: width / height of the pictures
    """
    if before.shape != after.shape:
        return None
    window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F)
    (right_px, down_px), peak = cv2.phaseCorrelate(before, after, window)
    if not peak >= PEAK_LEAST:
        return None
    right, down = right_px / WIDTH_PX * camera.across, down_px / HEIGHT_PX * camera.across / aspect
    return -math.atan(right), -math.atan(down)
