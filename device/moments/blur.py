"""Makes people and number plates in a kept picture unrecognisable, by what the model's detector saw around that moment.

    person                     the upper 40 % of its box: head and shoulders
    vehicle, bicycle           the lower 60 %, where plates are
    no look with a detector    the whole picture, to blocks of a sixteenth of its width

The boxes of all looks within 0.6 s count, each a little larger: the wearer moves between look and picture. A detector
misses people: what it does not see stays as it is (docs/adr/0063-blurring-by-the-eyes.md has the figures).
"""

from __future__ import annotations

import cv2

from device.capture.recorder import Veiled
from device.guidance.history import GuidanceHistory
from shared import hidden
from shared.errors import MediaError
from shared.veil import Image, blurred, regions, whole

WITHIN_S = 0.6


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
                return Veiled(whole(image), hidden.WHOLE)
            found = regions((box for boxes in looks for box in boxes or ()), width=width, height=height)
            return Veiled(blurred(image, found), hidden.of_regions(len(found)))
        except cv2.error as error:
            raise MediaError(f"A picture of {width}×{height} cannot be blurred ({error.err}).") from error
