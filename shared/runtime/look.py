"""The look network of a bundle: what runs at every look, whatever is said.

    look.onnx   pixel_values [1, 3, s, s] → boxes [1, n, 4], box_scores [1, n, classes], and where it has them
                hazard_logits [1, o, sides], features [1, p, d], ground_logits [1, p, classes], distance [1]

With hazard_logits it may give no boxes; the manifest then names no classes.

boxes: top, left, bottom, right as shares of the picture; box_scores: 0..1. `features`: what the language model takes
instead of the picture. `ground_logits`: a square grid, row by row, of shared.sight.ground.GROUND. `distance`: how far
this picture is from those that the heads were taught and calibrated on; at 1 it is as far as hardly one of them. The
manifest's `model["look"]` says how pictures reach it and what its classes are called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from shared.sight.ground import GROUND

LOOK = "look.onnx"
PIXELS, BOXES, BOX_SCORES, HAZARDS = "pixel_values", "boxes", "box_scores", "hazard_logits"
FEATURES, GROUND_LOGITS, DISTANCE = "features", "ground_logits", "distance"
FAR_FROM = 1.0
"""A picture of this distance and more is far from all that the heads were taught on: they guess, more the farther."""
DOUBT = 30.0
"""Log-odds that a hazard of the head loses for each 1 of distance from there on. Drawn walks that are just far keep
nine in ten of their hazards, pictures of real streets under drawn heads one in 25 (decision 49)."""
NEAR_BELOW = 0.93
"""After such a picture the next must be this near: a street does not become familiar from one look to another."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the look network sees in one picture."""

    tile: NDArray[np.uint8]
    """[s, s, 3], what it looked at"""
    boxes: tuple[Box, ...]
    """Best first; none where it gives no boxes."""
    hazards: NDArray[np.float32] | None
    """[1, objects, sides] logits, where it has a head"""
    features: NDArray[np.float32] | None
    """[1, p, d], where the language model takes them"""
    ground: NDArray[np.uint8] | None
    """[grid, grid], places in shared.sight.ground.GROUND, where it has a head for them"""
    distance: float | None
    """From the pictures that the heads were taught on, where that is measured."""


class LookNetwork:
    """Not thread-safe: one caller at a time."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        preprocessing: Preprocessing,
        names: tuple[str | None, ...],
        scoring: BoxScoring,
        camera: Callable[[], Camera],
    ) -> None:
        self._session, self._preprocessing, self._names = session, preprocessing, names
        self._scoring, self._camera = scoring, camera
        self._outputs = [item.name for item in session.get_outputs()]

    @classmethod
    def open(
        cls, folder: Path, model: Mapping[str, Any], execution: Execution, camera: Callable[[], Camera]
    ) -> LookNetwork:
        """model: of the manifest; camera: as it is worn now, asked at each look

        raises: ConfigError for a camera that sees no ground; KeyError, TypeError, ValueError where the manifest and the
        graph do not fit; whatever onnxruntime raises
        """
        look = model["look"]
        names = tuple(None if name is None else str(name) for name in look["names"])
        preprocessing, session = Preprocessing.from_dict(look["preprocessing"]), execution.session(folder / LOOK)
        size, standard = preprocessing.size_px, preprocessing.std
        if preprocessing.fit != "stretch" or type(size) is not int or not standard > 0:
            raise ValueError(f"{LOOK} cannot be shown pictures as {preprocessing} says")  # boxes are shares of them
        camera().check_ground()
        _check_form(session, PIXELS, [3, size, size])
        _check_form(session, BOXES, [4], optional=not names)
        _check_form(session, BOX_SCORES, [len(names)], optional=not names)
        _check_form(session, HAZARDS, [len(model["objects"]), len(model["sides"])], optional=bool(names))
        _check_form(session, GROUND_LOGITS, [len(GROUND)], optional=True)
        _check_square(session)
        if not set(names) - {None} <= set(model["objects"]) or not set(vocabulary.SIDES_SEEN) <= set(model["sides"]):
            raise ValueError(f"{LOOK} names classes or sides that the manifest does not list")
        return cls(session, preprocessing, names, BoxScoring.from_dict(look.get("scoring", {})), camera)

    @property
    def gives_features(self) -> bool:
        """Whether a language model can take its features instead of the picture."""
        return FEATURES in self._outputs and HAZARDS in self._outputs

    @property
    def gives_hazards(self) -> bool:
        return HAZARDS in self._outputs

    @property
    def gives_boxes(self) -> bool:
        return bool(self._names)

    def run(self, image: NDArray[np.uint8]) -> Look:
        """One look.

        image: uint8 [h, w, 3] RGB, any size
        raises: MediaError where the array is no picture; BundleError where the network gives no numbers
        """
        tile = fit_tile(image, self._preprocessing)
        pixels = normalise(tile, self._preprocessing)[None]
        seen = dict(zip(self._outputs, self._session.run(self._outputs, {PIXELS: pixels}), strict=True))
        if not all(np.isfinite(values).all() for name, values in seen.items() if name != HAZARDS):
            raise BundleError(f"{LOOK} gives no numbers for this picture.", hint="Use another model.")
        return Look(
            tile=tile,
            boxes=self._boxes(seen) if self.gives_boxes else (),
            hazards=seen.get(HAZARDS),
            features=seen.get(FEATURES),
            ground=_grid(seen[GROUND_LOGITS][0]) if GROUND_LOGITS in seen else None,
            distance=float(seen[DISTANCE].item()) if DISTANCE in seen else None,
        )

    def _boxes(self, seen: Mapping[str, NDArray[np.float32]]) -> tuple[Box, ...]:
        scores = np.minimum(seen[BOX_SCORES], 1.0)  # an int8 sigmoid may round above it
        return pick(seen[BOXES][0], scores[0], self._names)

    def view(self, *, aspect: float) -> View:
        """How it looks at a picture. aspect: its width / height"""
        return View(self._camera(), self._scoring, aspect)

    def scored(self, boxes: tuple[Box, ...], *, aspect: float) -> dict[tuple[str, str], float]:
        """(object, side) → how sure it is that such a thing stands in the way. aspect: width / height of the picture"""
        return scored(boxes, self._camera(), aspect=aspect, scoring=self._scoring)


def _grid(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[p, classes] → the likeliest of each place [grid, grid]."""
    grid = math.isqrt(len(logits))
    return np.asarray(logits.argmax(-1), np.uint8).reshape(grid, grid)


def _check_square(session: onnxruntime.InferenceSession) -> None:
    """Raises: ValueError where the ground is given for places that make no square."""
    for item in session.get_outputs():
        if item.name == GROUND_LOGITS and math.isqrt(places := int(item.shape[1])) ** 2 != places:
            raise ValueError(f"{LOOK} gives the ground of {places} places, which is no square")


def _check_form(session: onnxruntime.InferenceSession, name: str, tail: list[int], *, optional: bool = False) -> None:
    """Raises: ValueError unless an input or output of that name ends in these sides."""
    given = {item.name: list(item.shape) for item in (*session.get_inputs(), *session.get_outputs())}
    if name not in given and not optional:
        raise ValueError(f"{LOOK} has no {name}")
    if name in given and given[name][-len(tail) :] != tail:
        raise ValueError(f"{LOOK} has {name} {given[name]}, the manifest says [… {str(tail)[1:]}")
