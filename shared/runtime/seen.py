"""What the runtime answers with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.sight import Box, View


@dataclass(frozen=True, slots=True)
class Hazard:
    """How sure the hazard head is that a thing is at a side, within reach."""

    object: str
    side: str
    score: float
    """0..1"""
    how: str = ""
    """A modifier of the vocabulary, where its motion was measured: "approaching"."""
    looks: tuple[bool, ...] | None = None
    """Whether this very thing was seen in each of the last looks, the newest last; None = it is not followed."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at one picture."""

    image_tokens: NDArray[np.float32]
    """[1, n, e]: what the decoder words an instruction from; n = 0 where the language model has not looked yet"""
    hazards: tuple[Hazard, ...]
    """All (object, side) pairs, most certain first."""
    brightness: float
    """Mean of the picture, 0..1."""
    contrast: float
    """Standard deviation of the picture, 0..1."""
    audio: NDArray[np.float32] | None = None
    """[1, 1, e]: what was heard, added to each image token; None = nothing, or the model does not hear"""
    earlier_tokens: NDArray[np.float32] | None = None
    """[1, n, e] of the picture before, where the model is shown two"""
    boxes: tuple[Box, ...] = ()
    """Of a look network, most certain first."""
    view: View | None = None
    """How that network looked: what a box's place follows from. None = there is none, or its boxes do not count."""
    by_head: tuple[Hazard, ...] = ()
    """What of `hazards` a hazard head says, without the boxes; only where there is a view."""
    unseen: tuple[NDArray[np.uint8], ...] = ()
    """[h, w, 3] RGB each: the pictures that the language model would have to look at, the newest last"""
    ground: NDArray[np.uint8] | None = None
    """[grid, grid] places in shared.sight.ground.GROUND: what a look network's ground head says"""
    far: bool = False
    """The picture is far from all that the heads were taught on: they are doubted, boxes count, the table words."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """A sentence that the decoder wrote."""

    text: str
    confidence: float
    """Calibrated probability of the least certain token, 0..1: a sentence is as sure as its weakest word."""
    token_ids: tuple[int, ...]
    raw: str = ""
    """What the decoder wanted to write: the text, up to and with the first word that the grammar refused."""
    grammatical: bool = True
    """Whether the decoder wrote a sentence of the grammar by itself."""
    passes: int = field(default=0, compare=False)
    """Runs of the decoder that it took: fewer where a draft was right."""
