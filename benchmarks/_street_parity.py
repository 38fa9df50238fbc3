"""What int8 costs on real pictures: a bundle beside itself in float32, box by box and by the ranking of its hazards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.evaluation.facts import Truth
from server.evaluation.measures import auc
from shared.runtime import GuidanceModel
from shared.sight import Box, Camera

PICTURES = 200
SCORE_LEAST = 0.3
"""Boxes of the float32 network from here on are looked for in the other: a faint one may fall below the least score."""
IOU_LEAST, AUC_OFF_MOST = 0.9, 0.01
Shots = Sequence[tuple[NDArray[np.uint8], Truth]]


def parity(full: Path, quantised: Path, shots: Shots, camera: Camera) -> dict[str, Any]:
    """Boxes' mean IoU, hazards' AUC of both, and how often the most urgent hazard is the same.

    full, quantised: folders of the same model's bundles; shots: PICTURES of them are taken, evenly
    """
    chosen = [shots[at] for at in np.linspace(0, len(shots) - 1, min(PICTURES, len(shots))).astype(int)]
    models = [GuidanceModel.load(folder, threads=1, allow_demo=True, camera=camera) for folder in (full, quantised)]
    overlaps, first = list[float](), 0
    scores: tuple[list[NDArray[np.float32]], ...] = ([], [])
    there = list[NDArray[np.bool_]]()
    for image, truth in chosen:
        seen = [model.look(image) for model in models]
        overlaps += [best_overlap(box, seen[1].boxes) for box in seen[0].boxes if box.score >= SCORE_LEAST]
        tables = [{(one.object, one.side): one.score for one in look.hazards} for look in seen]
        pairs = sorted(tables[0])
        for kept, table in zip(scores, tables, strict=True):
            kept.append(np.array([table[pair] for pair in pairs], np.float32))
        there.append(np.array([pair in truth.there for pair in pairs]))
        first += seen[0].hazards[0].object == seen[1].hazards[0].object
    areas = [auc(list(zip(kept, there, strict=True))) for kept in scores]
    return {
        "pictures": len(chosen),
        "boxes": len(overlaps),
        "mean_iou": round(float(np.mean(overlaps)), 4) if overlaps else None,
        "auc_float": None if areas[0] is None else areas[0][0],
        "auc_int8": None if areas[1] is None else areas[1][0],
        "same_first_hazard": round(first / len(chosen), 4),
    }


def best_overlap(box: Box, others: Sequence[Box]) -> float:
    """Intersection over union with the box of the same thing that it shares most with; 0 where there is none."""
    return max((_iou(box, other) for other in others if other.object == box.object), default=0.0)


def _iou(one: Box, other: Box) -> float:
    across = max(0.0, min(one.right, other.right) - max(one.left, other.left))
    down = max(0.0, min(one.bottom, other.bottom) - max(one.top, other.top))
    both = across * down
    return both / (one.area + other.area - both)
