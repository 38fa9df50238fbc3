"""What a picture says about the lens: black, blank, covered, overexposed, or the same picture again and again.

    view(image)                    → LensView             a few figures of one picture, 0.5 ms
    trouble(view)                  → LensTrouble or None
    examine(lens, image, t_s)      → (lens, trouble)      the same for a stream of pictures, which may also be frozen

A hand, cloth or fog before the lens is out of focus: brightness varies, fine detail does not. Measured as the 99th
percentile of the Laplacian after a slight blur, which smooths sensor noise away: 8 to 30 of 256 grey levels on real
streets, rooms and a walk, 1.8 on the same walk at a twelfth of its light, under 0.5 with the lens covered.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

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
logger = logging.getLogger(__name__)


class LensTrouble(StrEnum):
    """Why a picture shows nothing, or little."""

    DARK = "dark"
    FLAT = "flat"
    COVERED = "covered"
    BRIGHT = "bright"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class LensView:
    """Figures of one picture."""

    brightness: float
    """Mean, 0..1."""
    contrast: float
    """Standard deviation, 0..1."""
    glare: float
    """Share of overexposed pixels, 0..1."""
    detail: float
    """How much fine detail there is, in grey levels."""


def view(image: Image) -> LensView:
    """image: uint8 [h, w, 3] RGB, of any size."""
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), BLUR_PX), cv2.CV_32F))
    return LensView(
        brightness=float(grey.mean() / 255),
        contrast=float(grey.std() / 255),
        glare=float((grey >= GLARE).mean()),
        detail=float(np.percentile(edges, 99)),
    )


def trouble(seen: LensView) -> LensTrouble | None:
    """What is wrong with one picture."""
    if seen.brightness < DARK_BELOW:
        return LensTrouble.DARK
    if seen.glare > BRIGHT_ABOVE:
        return LensTrouble.BRIGHT
    if seen.contrast < FLAT_BELOW:
        return LensTrouble.FLAT
    return LensTrouble.COVERED if seen.detail < COVERED_BELOW else None


@dataclass(frozen=True, slots=True, eq=False)
class LensHistory:
    """The last picture, and since when it has not changed. A camera that hangs repeats its last picture for ever; a
    live one never gives the same twice."""

    thumbnail: Image | None = None
    """uint8 [h / STRIDE, w / STRIDE, 3]"""
    since_s: float = 0.0


def examine(history: LensHistory, image: Image, t_s: float) -> tuple[LensHistory, LensTrouble | None]:
    """Judge the next picture. An array that is no picture has no trouble: the model refuses it with a better error.

    image: uint8 [h, w, 3] RGB, of any size; t_s: when it was taken
    """
    try:
        seen = trouble(view(image))
    except cv2.error as error:
        logger.warning("A picture of shape %s could not be judged: %s", image.shape, error)
        return history, None
    thumbnail, last = image[::STRIDE, ::STRIDE].copy(), history.thumbnail
    same = last is not None and last.shape == thumbnail.shape and cv2.absdiff(last, thumbnail).mean() <= SAME_BELOW
    history = LensHistory(thumbnail, history.since_s if same else t_s)
    frozen = t_s - history.since_s >= FROZEN_AFTER_S
    return history, seen or (LensTrouble.FROZEN if frozen else None)
