"""A version in the shadow: what it would have said to moments that devices sent, before anybody walks with it.

It answers through the device's own runtime, with the picture before and the sound where it is given them. Its answers
are opinions like a teacher's (server.review.proposals): where they contradict what the device said, the moment comes
earlier in the review. They teach nothing.
"""

from __future__ import annotations

from pathlib import Path

from server.dataset import material
from server.dataset.sample_row import SampleRow
from server.review.proposals import Opinion
from shared import bundle, model_card, vocabulary
from shared.runtime import GuidanceModel
from shared.runtime.look import LOOK


class Shadow:
    """One version. Raises: BundleError where it cannot be loaded."""

    def __init__(self, folder: Path, dataset: Path, *, threads: int) -> None:
        self._model = GuidanceModel.load(folder, threads=threads, allow=bundle.FOR_JUDGING)
        self._dataset = dataset
        manifest = self._model.manifest
        self.name = f"shadow {manifest.version}"
        """As the rows name it: each version looks at a moment once."""
        sees = model_card.card_of(manifest.model).sees
        self._objects = frozenset(sees or map(str, manifest.model["objects"]))
        words = not (folder / LOOK).is_file() or "end_id" in manifest.model
        language = self._model.language if words else None
        self._senses = material.Senses(
            before=language is not None and language.frames == 2, sound=language is not None and language.hears
        )

    def advise(self, row: SampleRow) -> Opinion:
        """What it would have said. Raises: DatasetError where the picture cannot be read."""
        image = material.picture(self._dataset, row)
        earlier = material.before(self._dataset, row) if self._senses.before else None
        sound = material.sound(self._dataset, row) if self._senses.sound else None
        before = None if earlier is None else self._model.look(earlier)
        seen = self._model.look(image, sound, before=before)
        said = self._model.word(seen)
        hazards = {(hazard.object, hazard.side): hazard.score for hazard in seen.hazards}
        wording = "" if said.text == vocabulary.CLEAR else said.text
        return Opinion(self.name, wording, said.confidence, hazards, self._objects)
