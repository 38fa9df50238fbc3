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
from shared.runtime.seen import Observation
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
    seen = [[model.look(image) for image, _ in chosen] for model in models]
    overlaps = [share for one, other in zip(*seen, strict=True) for share in _overlaps(one.boxes, other.boxes)]
    areas = [auc([_scores(look, truth) for look, (_, truth) in zip(looks, chosen, strict=True)]) for looks in seen]
    first = [one.hazards[0].object == other.hazards[0].object for one, other in zip(*seen, strict=True)]
    return {
        "pictures": len(chosen),
        "boxes": len(overlaps),
        "mean_iou": round(float(np.mean(overlaps)), 4) if overlaps else None,
        "auc_float": None if areas[0] is None else areas[0][0],
        "auc_int8": None if areas[1] is None else areas[1][0],
        "same_first_hazard": round(float(np.mean(first)), 4),
    }


def _scores(look: Observation, truth: Truth) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Of one look: every hazard's score, and whether it is there."""
    pairs = [(hazard.object, hazard.side) for hazard in look.hazards]
    scores = np.array([hazard.score for hazard in look.hazards], np.float32)
    return scores, np.array([pair in truth.there for pair in pairs])


def _overlaps(boxes: Sequence[Box], others: Sequence[Box]) -> list[float]:
    return [best_overlap(box, others) for box in boxes if box.score >= SCORE_LEAST]


def best_overlap(box: Box, others: Sequence[Box]) -> float:
    """Intersection over union with the box of the same thing that it shares most with; 0 where there is none."""
    return max((_iou(box, other) for other in others if other.object == box.object), default=0.0)


def _iou(one: Box, other: Box) -> float:
    across = max(0.0, min(one.right, other.right) - max(one.left, other.left))
    down = max(0.0, min(one.bottom, other.bottom) - max(one.top, other.top))
    both = across * down
    return both / (one.area + other.area - both)
