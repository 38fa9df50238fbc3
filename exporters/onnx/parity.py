"""Does the bundle say what the PyTorch model says? Tokens of greedy answers, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.runtime import GuidanceModel

Write = Callable[[NDArray[np.uint8]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike two sets of answers are."""

    pictures: int
    tokens: int
    same_tokens: int
    same_answers: int

    @property
    def token_share(self) -> float:
        """Share of token positions that are equal (a missing or extra token counts as different)."""
        return self.same_tokens / max(1, self.tokens)


def compare(folder: Path, write: Write, pictures: Sequence[NDArray[np.uint8]], *, threads: int = 2) -> Parity:
    """Answers of the bundle in `folder` against `write`, the PyTorch model's greedy answer for one picture.

    pictures: uint8 [h, w, 3] RGB each. raises: BundleError
    """
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    tokens = same = answers = 0
    for picture in pictures:
        ours, theirs = model.word(model.look(picture)).token_ids, tuple(write(picture))
        tokens += max(len(ours), len(theirs))
        same += sum(a == b for a, b in zip(ours, theirs, strict=False))
        answers += ours == theirs
    return Parity(len(pictures), tokens, same, answers)
