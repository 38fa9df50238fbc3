"""The look network of a bundle: what runs at every look, whatever is said.

    look.onnx   pixel_values [1, 3, s, s] → boxes [1, n, 4], box_scores [1, n, classes], hazard_logits [1, o, sides]

boxes: top, left, bottom, right as shares of the picture; box_scores: 0..1. `hazard_logits` is there where it has a head
of its own. The manifest's `model["look"]` says how pictures reach it and what its classes are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.preprocess import Preprocessing, fit_tile, normalise
from shared.runtime.execution import Execution
from shared.sight import Box, BoxScoring, Camera, pick, scored

LOOK = "look.onnx"
BOXES, BOX_SCORES, HAZARDS = "boxes", "box_scores", "hazard_logits"


class LookNetwork:
    """Not thread-safe: one caller at a time."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        preprocessing: Preprocessing,
        names: tuple[str | None, ...],
        scoring: BoxScoring,
        camera: Camera,
    ) -> None:
        self._session, self._preprocessing, self._names = session, preprocessing, names
        self._scoring, self._camera = scoring, camera
        given = {item.name: item.shape for item in session.get_outputs()}
        self._outputs = [BOXES, BOX_SCORES, *([HAZARDS] if HAZARDS in given else [])]
        if given.get(BOX_SCORES, (0,))[-1] != len(names):
            raise ValueError(f"{LOOK} has other classes than the manifest names")

    @classmethod
    def open(cls, folder: Path, model: Mapping[str, Any], execution: Execution, camera: Camera) -> LookNetwork:
        """model: of the manifest. Raises: KeyError, TypeError, ValueError, and whatever onnxruntime raises."""
        look = model["look"]
        names = tuple(None if name is None else str(name) for name in look["names"])
        return cls(
            execution.session(folder / LOOK),
            Preprocessing.from_dict(look["preprocessing"]),
            names,
            BoxScoring.from_dict(look.get("scoring", {})),
            camera,
        )

    def run(self, image: NDArray[np.uint8]) -> tuple[tuple[Box, ...], NDArray[np.float32] | None, NDArray[np.uint8]]:
        """One look.

        image: uint8 [h, w, 3] RGB, any size
        returns: the boxes, best first; hazard logits [1, objects, sides], where it has a head; the tile it looked at
        raises: MediaError where the array is no picture
        """
        tile = fit_tile(image, self._preprocessing)
        pixels = normalise(tile, self._preprocessing)[None]
        corners, scores, *logits = self._session.run(self._outputs, {"pixel_values": pixels})
        return pick(corners[0], scores[0], self._names), logits[0] if logits else None, tile

    def scored(self, boxes: tuple[Box, ...], *, aspect: float) -> dict[tuple[str, str], float]:
        """(object, side) → how sure it is that such a thing stands in the way. aspect: width / height of the picture"""
        return scored(boxes, self._camera, aspect=aspect, scoring=self._scoring)
