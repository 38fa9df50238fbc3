"""What a picture says about the lens: black, blank, covered, overexposed, or the same picture again and again.

    view(image)      → View              a few figures of one picture, 0.5 ms
    trouble(view)    → "" | "dark" | "flat" | "covered" | "bright"
    Repeats          → whether the picture has stood still for too long ("frozen")

A hand, cloth or fog before the lens is out of focus: brightness varies, fine detail does not. Measured as the 99th
percentile of the Laplacian after a slight blur, which smooths sensor noise away: 8 to 30 of 256 grey levels on real
streets, rooms and a walk, 1.8 on the same walk at a twelfth of its light, under 0.5 with the lens covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (160, 120)
DARK_BELOW = 0.02  # a night street with one lamp is above it
FLAT_BELOW = 0.015
COVERED_BELOW = 0.7  # grey levels of detail
GLARE = 250  # of 255: a sensor that is full
BRIGHT_ABOVE = 0.85  # share of full pixels; 0.31 on the brightest of 367 real streets
BLUR_PX = 1.5
STRIDE = 8
SAME_BELOW = 0.02  # mean difference in grey levels: a sensor's noise alone is 0.5 or more
FROZEN_AFTER_S = 1.5

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """Figures of one picture."""

    brightness: float
    """Mean, 0..1."""
    contrast: float
    """Standard deviation, 0..1."""
    glare: float
    """Share of overexposed pixels, 0..1."""
    detail: float
    """How much fine detail there is, in grey levels."""


def view(image: Image) -> View:
    """image: uint8 [h, w, 3] RGB, of any size."""
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), BLUR_PX), cv2.CV_32F))
    return View(
        brightness=float(grey.mean() / 255),
        contrast=float(grey.std() / 255),
        glare=float((grey >= GLARE).mean()),
        detail=float(np.percentile(edges, 99)),
    )


def trouble(seen: View) -> str:
    """What is wrong with the picture; "" = nothing."""
    if seen.brightness < DARK_BELOW:
        return "dark"
    if seen.glare > BRIGHT_ABOVE:
        return "bright"
    if seen.contrast < FLAT_BELOW:
        return "flat"
    return "covered" if seen.detail < COVERED_BELOW else ""


class Repeats:
    """Feed it pictures in order. A camera that hangs gives its last one for ever; a real one never gives the same."""

    def __init__(self) -> None:
        self._last: Image | None = None
        self._since_s = 0.0

    def frozen(self, image: Image, t_s: float) -> bool:
        """Whether the picture has been the same for FROZEN_AFTER_S. t_s: when it was taken."""
        thin = image[::STRIDE, ::STRIDE].copy()
        last, self._last = self._last, thin
        if last is None or last.shape != thin.shape or cv2.absdiff(last, thin).mean() > SAME_BELOW:
            self._since_s = t_s
        return t_s - self._since_s >= FROZEN_AFTER_S
