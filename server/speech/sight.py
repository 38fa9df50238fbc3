"""What a model sees in the picture of a correction: who says "cone" stands before one of the things seen."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.dataset import pictures
from server.speech.requests import NOT_SEEN, SeenThings, SightQuestion
from shared import bundle, model_card
from shared.errors import BundleError, DatasetError
from shared.runtime import GuidanceModel

logger = logging.getLogger(__name__)


def seen_by(model: GuidanceModel, picture: NDArray[np.uint8]) -> SeenThings:
    """What a model sees in a picture, uint8 [h, w, 3] RGB, on whatever side."""
    scores: dict[str, float] = {}
    for hazard in model.look(picture).hazards:
        scores[hazard.object] = max(scores.get(hazard.object, 0.0), round(float(hazard.score), 4))
    return SeenThings(tuple(sorted(model_card.card_of(model.manifest.model).sees)), scores)


class PictureLooker:
    """Looks with one bundle at a time, the one that was asked for last. Not safe from several threads."""

    def __init__(self) -> None:
        self._bundle = ""
        self._model: GuidanceModel | None = None

    def seen(self, question: SightQuestion | None) -> SeenThings:
        """NOT_SEEN where there is no picture or no model: words are understood without, too."""
        if question is None:
            return NOT_SEEN
        try:
            model = self._opened(question.bundle)
            return seen_by(model, pictures.read(Path(question.frame)))
        except (BundleError, DatasetError, OSError) as error:
            logger.warning("Nothing is seen beside a correction: %s", error)
            return NOT_SEEN

    def _opened(self, folder: str) -> GuidanceModel:
        if self._model is None or self._bundle != folder:
            self._model = GuidanceModel.load(Path(folder), threads=1, allow=bundle.FOR_JUDGING)
            self._bundle = folder
        return self._model
