"""Whether a picture shows what the last look saw, so that the networks need not look again. Pure.

    step(state, image, now_s) → (state, whether this look may be left out)

A picture is averaged over GRID cells, which leaves a grey level of a sensor's noise, and compared with the one that was
looked at last, never with one that was left out: slow changes add up. The cell that changed most decides, for a mean
hides a person far away. The networks look again after KEPT_S whatever the picture shows.

Where ALIKE_BELOW comes from: docs/adr/0094 and `make bench NAME=unchanged`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = (40, 30)
"""Columns, rows: 16 × 16 pixels of 640 × 480, a person at 30 m in two of them."""
ALIKE_BELOW = 8.0
"""Grey levels of the cell that changed most, in the colour that changed most."""
KEPT_S = 0.5
PICTURE_S = 1 / 15
"""Between two pictures of a camera: the next one may come too late to look at within KEPT_S."""


@dataclass(frozen=True, slots=True, eq=False)
class LookedAt:
    """The picture that the networks looked at last."""

    cells: NDArray[np.float32]
    """[rows, columns, 3]: means of the cells."""
    at_s: float

    @property
    def again_s(self) -> float:
        """From when on the next picture is looked at, whatever it shows."""
        return self.at_s + KEPT_S - PICTURE_S


def step(state: LookedAt | None, image: NDArray[np.uint8], now_s: float) -> tuple[LookedAt | None, bool]:
    """(what to compare the next picture with, whether this one need not be looked at)

    state: None = nothing was looked at that still holds; image: uint8 [h, w, 3]; now_s: when it was taken
    An array that is no picture is looked at: the model refuses it with a better error.
    """
    if image.ndim != 3 or image.dtype != np.uint8 or not image.size:
        return None, False
    cells = np.asarray(cv2.resize(image, GRID, interpolation=cv2.INTER_AREA), np.float32)
    holds = state is not None and state.at_s <= now_s < state.again_s and cells.shape == state.cells.shape
    if state is not None and holds and float(np.abs(cells - state.cells).max()) < ALIKE_BELOW:
        return state, True
    return LookedAt(cells, now_s), False
