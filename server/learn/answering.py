"""What a model answers to one picture: the question that `waycue-server try` asks of an adapter, checkpoint or bundle.

A bundle answers through the device's own runtime: held to the grammar, its confidence calibrated. A checkpoint answers
as PyTorch has it, before quantisation: greedy, free in its words, so that one sees what training made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from shared import vocabulary
from shared.preprocess import prepare
from shared.runtime import GuidanceModel, Hazard

Picture = NDArray[np.uint8]
"""[h, w, 3] RGB, any size"""
_HAZARD_ABOVE = 0.5


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What the model is given."""

    picture: Picture
    previous: Picture | None = None
    """One look before, for models that are shown two."""
    sound: NDArray[np.float32] | None = None
    """[samples] at 16 kHz, the last two seconds, for models that hear."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What it says."""

    text: str
    """vocabulary.CLEAR where it has nothing to warn of."""
    confidence: float
    """Of the least certain token, 0..1: a sentence is as sure as its weakest word."""
    sayable: bool
    """Whether a device may say it. A bundle's words always are; a checkpoint writes freely."""
    hazards: tuple[Hazard, ...]
    """Those above the model's own threshold, most certain first."""


class Answerer(Protocol):
    """A model that can be asked."""

    version: str
    base: str
    calibrated: bool
    """Whether confidence and scores are shares of being right."""
    frames: int
    """Pictures that it is shown: 1 or 2."""

    def answer(self, given: ModelInput) -> ModelAnswer:
        """Raises: MediaError where the array is no picture."""
        ...


class BundleAnswerer:
    """A bundle, as a device runs it."""

    calibrated = True

    def __init__(self, folder: Path, *, threads: int) -> None:
        """Raises: BundleError, ConfigError."""
        self._model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
        self.version, self.base = self._model.manifest.version, self._model.manifest.base
        self.frames = int(self._model.manifest.model.get("frames", 1))
        self._above = self._model.manifest.thresholds.get("hazard_above", _HAZARD_ABOVE)

    def answer(self, given: ModelInput) -> ModelAnswer:
        before = None if given.previous is None else self._model.look(given.previous)
        seen = self._model.look(given.picture, given.sound, before=before)
        said = self._model.word(seen)
        there = tuple(hazard for hazard in seen.hazards if hazard.score >= self._above)
        return ModelAnswer(said.text, said.confidence, vocabulary.read(said.text).as_written, there)


class CheckpointAnswerer:
    """A checkpoint in PyTorch: a base, or a base with an adapter merged in."""

    calibrated = False

    def __init__(self, checkpoint: Checkpoint, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._of, self._guide = checkpoint, Guide(checkpoint).eval()
        self.version = self.base = checkpoint.name
        self.frames = checkpoint.frames
        self._above = checkpoint.thresholds.get("hazard_above", _HAZARD_ABOVE)

    @torch.no_grad()
    def answer(self, given: ModelInput) -> ModelAnswer:
        of, guide = self._of, self._guide
        features = self._features(given.picture)
        previous = None if given.previous is None else self._features(given.previous)
        heard = None if given.sound is None or of.ear is None else of.ear(of.ear.features([given.sound]))
        ids = guide.write(features, end_id=of.end_id, previous=previous, sound=heard)[0]
        answers = torch.tensor([[*ids, of.end_id]])
        logits = guide.answer_logits(features, answers, previous=previous, sound=heard)
        surest = logits.softmax(-1).gather(-1, answers[..., None]).min()
        text = str(of.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        return ModelAnswer(text, float(surest), vocabulary.read(text).as_written, tuple(self._hazards(features)))

    def _features(self, picture: Picture) -> torch.Tensor:
        return self._guide.features(torch.from_numpy(prepare(picture, self._of.preprocessing)))

    def _hazards(self, features: torch.Tensor) -> Iterator[Hazard]:
        scores = self._of.head(features)[1][0].sigmoid()
        for at in scores.flatten().argsort(descending=True).tolist():
            name, side = divmod(at, len(self._of.sides))
            if float(scores[name, side]) < self._above:
                return
            yield Hazard(self._of.objects[name], self._of.sides[side], float(scores[name, side]))
