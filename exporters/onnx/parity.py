"""Does the bundle say what the PyTorch model says? Tokens of greedy answers, moment by moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.runtime import GuidanceModel


@dataclass(frozen=True, slots=True)
class Given:
    """What a model is given at one moment."""

    picture: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    previous: NDArray[np.uint8] | None = None
    """The picture before it, for a model that is shown two."""
    sound: NDArray[np.float32] | None = None
    """[samples] at 16 kHz, for a model that hears."""


Write = Callable[[Given], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike two sets of answers are."""

    moments: int
    tokens: int
    same_tokens: int
    same_answers: int

    @property
    def token_share(self) -> float:
        """Share of token positions that are equal (a missing or extra token counts as different)."""
        return self.same_tokens / max(1, self.tokens)


def compare(folder: Path, write: Write, moments: Sequence[Given], *, threads: int = 2) -> Parity:
    """Answers of the bundle in `folder` against `write`, the PyTorch model's greedy answer for one moment.

    Without the grammar: what the decoder itself wants to write is compared. raises: BundleError
    """
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    tokens = same = answers = 0
    for given in moments:
        before = None if given.previous is None else model.look(given.previous)
        observation = model.look(given.picture, given.sound, before=before)
        ours = model.language.word(observation, constrained=False).token_ids
        theirs = tuple(write(given))
        tokens += max(len(ours), len(theirs))
        same += sum(a == b for a, b in zip(ours, theirs, strict=False))
        answers += ours == theirs
    return Parity(len(moments), tokens, same, answers)
