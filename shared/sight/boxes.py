"""The boxes of a picture: what a detector's rows come down to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCORE_LEAST = 0.15
OVERLAP_MOST = 0.5
AREA_LEAST = 0.003
"""Of the picture: smaller things are too far away to matter."""
AREA_MOST = 0.7
"""A box over nearly the whole picture is the detector's commonest error: a wall, a shadow, an inside."""


@dataclass(frozen=True, slots=True)
class Box:
    """A thing that the detector knows. Edges are shares of the picture, 0..1."""

    object: str
    score: float
    """0..1, as the detector gives it."""
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Share of the picture."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


def pick(corners: NDArray[np.float32], scores: NDArray[np.float32], names: Sequence[str | None]) -> tuple[Box, ...]:
    """The boxes worth looking at, best first: scored, of a sensible size, each thing once.

    A row of a damaged network, with a corner that is no number or a score that is no probability, is no box.
    corners: float32 [n, 4], top, left, bottom, right as shares of the picture
    scores: float32 [n, classes], 0..1
    names: [classes], what each class is called here; None = nothing is said about it
    """
    edges = np.clip(corners, 0.0, 1.0).astype(np.float64)
    areas = np.prod(np.maximum(edges[:, 2:] - edges[:, :2], 0.0), axis=1)
    sensible = np.isfinite(corners).all(axis=1) & (areas >= AREA_LEAST) & (areas <= AREA_MOST)
    kept: list[Box] = []
    for name in dict.fromkeys(filter(None, names)):
        best = scores[:, [at for at, other in enumerate(names) if other == name]].max(axis=1)
        rows = np.flatnonzero(sensible & (best >= SCORE_LEAST) & (best <= 1.0))
        rows = rows[np.argsort(-best[rows], kind="stable")]
        for row in _suppressed(edges, areas, rows):
            top, left, bottom, right = map(float, edges[row])
            kept.append(Box(name, float(best[row]), left, top, right, bottom))
    return tuple(sorted(kept, key=lambda box: -box.score))


def _suppressed(edges: NDArray[np.float64], areas: NDArray[np.float64], rows: NDArray[np.intp]) -> list[int]:
    """Of rows, best first, those that no better one covers (greedy non-maximum suppression)."""
    chosen: list[int] = []
    while rows.size:
        first, rows = rows[0], rows[1:]
        chosen.append(int(first))
        low, high = np.maximum(edges[rows, :2], edges[first, :2]), np.minimum(edges[rows, 2:], edges[first, 2:])
        both = np.prod(np.maximum(high - low, 0.0), axis=1)
        rows = rows[both <= OVERLAP_MOST * (areas[rows] + areas[first] - both)]
    return chosen
