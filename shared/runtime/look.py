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

from shared import vocabulary
from shared.errors import BundleError
from shared.preprocess import Preprocessing, fit_tile, normalise
from shared.runtime.execution import Execution
from shared.sight import Box, BoxScoring, Camera, View, pick, scored

LOOK = "look.onnx"
PIXELS, BOXES, BOX_SCORES, HAZARDS = "pixel_values", "boxes", "box_scores", "hazard_logits"


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
        has_head = any(item.name == HAZARDS for item in session.get_outputs())
        self._outputs = [BOXES, BOX_SCORES, *([HAZARDS] if has_head else [])]

    @classmethod
    def open(cls, folder: Path, model: Mapping[str, Any], execution: Execution, camera: Camera) -> LookNetwork:
        """model: of the manifest.

        raises: ConfigError for a camera that sees no ground; KeyError, TypeError, ValueError where the manifest and the
        graph do not fit; whatever onnxruntime raises
        """
        look = model["look"]
        names = tuple(None if name is None else str(name) for name in look["names"])
        preprocessing, session = Preprocessing.from_dict(look["preprocessing"]), execution.session(folder / LOOK)
        size, standard = preprocessing.size_px, preprocessing.std
        if preprocessing.fit != "stretch" or type(size) is not int or not standard > 0:
            raise ValueError(f"{LOOK} cannot be shown pictures as {preprocessing} says")  # boxes are shares of them
        camera.check_ground()
        _check_form(session, PIXELS, [3, size, size])
        _check_form(session, BOXES, [4])
        _check_form(session, BOX_SCORES, [len(names)])
        _check_form(session, HAZARDS, [len(model["objects"]), len(model["sides"])], optional=True)
        if not set(names) - {None} <= set(model["objects"]) or not set(vocabulary.SIDES_SEEN) <= set(model["sides"]):
            raise ValueError(f"{LOOK} names classes or sides that the manifest does not list")
        return cls(session, preprocessing, names, BoxScoring.from_dict(look.get("scoring", {})), camera)

    def run(self, image: NDArray[np.uint8]) -> tuple[tuple[Box, ...], NDArray[np.float32] | None, NDArray[np.uint8]]:
        """One look.

        image: uint8 [h, w, 3] RGB, any size
        returns: the boxes, best first; hazard logits [1, objects, sides], where it has a head; the tile it looked at
        raises: MediaError where the array is no picture; BundleError where the network gives no numbers
        """
        tile = fit_tile(image, self._preprocessing)
        pixels = normalise(tile, self._preprocessing)[None]
        corners, scores, *logits = self._session.run(self._outputs, {PIXELS: pixels})
        if not (np.isfinite(corners).all() and np.isfinite(scores).all()):
            raise BundleError(f"{LOOK} gives no numbers for this picture.", hint="Use another model.")
        scores = np.minimum(scores, 1.0)  # an int8 sigmoid may round above it
        return pick(corners[0], scores[0], self._names), logits[0] if logits else None, tile

    def view(self, *, aspect: float) -> View:
        """How it looks at a picture. aspect: its width / height"""
        return View(self._camera, self._scoring, aspect)

    def scored(self, boxes: tuple[Box, ...], *, aspect: float) -> dict[tuple[str, str], float]:
        """(object, side) → how sure it is that such a thing stands in the way. aspect: width / height of the picture"""
        return scored(boxes, self._camera, aspect=aspect, scoring=self._scoring)


def _check_form(session: onnxruntime.InferenceSession, name: str, tail: list[int], *, optional: bool = False) -> None:
    """Raises: ValueError unless an input or output of that name ends in these sides."""
    given = {item.name: list(item.shape) for item in (*session.get_inputs(), *session.get_outputs())}
    if name not in given and not optional:
        raise ValueError(f"{LOOK} has no {name}")
    if name in given and given[name][-len(tail) :] != tail:
        raise ValueError(f"{LOOK} has {name} {given[name]}, the manifest says [… {str(tail)[1:]}")
