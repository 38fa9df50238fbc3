"""The champion, or another bundle, looks again at what devices kept: where it says otherwise, one of both was wrong.

An older model may have said it, the device's picture was taken in a hurry, or the model is unsure and falls to either
side. The opinion is kept and ranked as a teacher's (`server.review.proposals`), and teaches as little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from server.dataset import wording
from server.review.proposals import Opinion
from shared import model_card, vocabulary
from shared.runtime.model import GuidanceModel


def opinion(model: GuidanceModel, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None) -> Opinion:
    """What a model says of one moment now, as the opinion of a teacher of its version's name.

    image: uint8 [h, w, 3] RGB; sound: float32 [n], 16 kHz
    raises: MediaError
    """
    observation = model.look(image, sound)
    said = model.word(observation)
    text = wording.canonical(said.text)
    hazards = {(hazard.object, hazard.side): hazard.score for hazard in observation.hazards}
    sees = frozenset(model_card.card_of(model.manifest.model).sees)
    return Opinion(model.manifest.version, "" if text == vocabulary.CLEAR else text, said.confidence, hazards, sees)
