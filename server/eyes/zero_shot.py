"""Where and when a picture was taken, by a model of pictures and words (CLIP, SigLIP) that the admin names.

    picture, one sentence for each choice of a field → how well they fit → softmax over the choices of the field

It guesses: what it says fills no recording plan until a person has confirmed it. How often it is right depends on the
model, and is for whoever names one to find out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from server.eyes import hub
from shared.errors import ConfigError

SURE_ABOVE = 0.5
"""Share of a field's choices from which one is a guess."""
SENTENCES: Mapping[str, str] = {
    "environment": "a photo taken while walking, of a {}",
    "lighting": "a photo taken in the light of a {}",
    "weather": "a photo taken outdoors in {} weather",
}
"""Of the fields that a picture can tell; the scenario follows from the wording."""
_WORDS = {"day": "bright day", "night": "dark night", "low light": "dim evening", "rain": "rainy"}


class ZeroShotModel:
    """One model, asked about some fields."""

    def __init__(self, name: str, choices_of: Mapping[str, Sequence[str]]) -> None:
        """choices_of: field → its choices; those without a sentence are not asked about

        raises: ConfigError where it cannot be had, or is no model of pictures and words
        """
        config = hub.configuration(name)
        if type(config) not in AutoModelForZeroShotImageClassification._model_mapping:
            raise ConfigError(
                f"{name!r} is a {config.model_type} model: no model of pictures and words.",
                hint="Use for example openai/clip-vit-base-patch32 or google/siglip-base-patch16-224.",
            )
        self.name, self.licence = name, hub.licence(name)
        self._model = hub.pretrained(AutoModelForZeroShotImageClassification, name)
        self._processor = _loaded(AutoImageProcessor, name)
        choices = [(field, choice) for field in SENTENCES for choice in choices_of[field]]
        self._fields = np.array([field for field, _ in choices])
        self._choices = [choice for _, choice in choices]
        texts = [SENTENCES[field].format(_WORDS.get(choice, choice)) for field, choice in choices]
        # As both families were trained: padded to the length of the model, or to the longest.
        padding = "max_length" if config.model_type.startswith("siglip") else True
        self._words = _loaded(AutoTokenizer, name)(texts, padding=padding, truncation=True, return_tensors="pt")

    @torch.inference_mode()
    def guess(self, image: NDArray[np.uint8]) -> dict[str, tuple[str, str]]:
        """Field → (choice, this model's name), of those that it is sure of.

        image: uint8 [h, w, 3] RGB
        """
        pixels = self._processor(images=image, return_tensors="pt", input_data_format="channels_last")
        fits = self._model(**self._words, **pixels).logits_per_image[0].float()
        found = {}
        for field in SENTENCES:
            at = np.flatnonzero(self._fields == field)
            shares = torch.softmax(fits[torch.from_numpy(at)], dim=0)
            best = int(shares.argmax())
            if float(shares[best]) >= SURE_ABOVE:
                found[field] = (self._choices[int(at[best])], self.name)
        return found


def _loaded(kind: Any, name: str) -> Any:
    try:
        return kind.from_pretrained(name, local_files_only=Path(name).exists())
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(
            f"{name!r} does not say how it takes pictures or words: {error}",
            hint="Put its publisher's preprocessor_config.json and tokenizer beside the weights.",
        ) from error
