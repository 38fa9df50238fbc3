"""From a picture to boxes as a user of the detector goes: stretch, look, keep what scores, suppress what overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from server.eyes.ssd_mobilenet import INPUT_PX, SsdMobileNet

OVERLAP = 0.5
Box = Sequence[float]
"""ymin, xmin, ymax, xmax as shares of the picture."""


@dataclass(frozen=True, slots=True)
class SightedThing:
    """One box."""

    label: str
    score: float
    box: Box


def pixels(path: Path) -> Tensor:
    """[1, 3, 300, 300]"""
    bgr = cv2.imread(str(path))
    assert bgr is not None, path
    rgb = cv2.resize(bgr, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    return torch.from_numpy(rgb.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    both = area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return both / (area(one) + area(other) - both)


def detect(network: SsdMobileNet, labels: Sequence[str], path: Path, *, above: float = 0.3) -> list[SightedThing]:
    """What is in a picture, best first; suppressed within each class."""
    with torch.inference_mode():
        seen = network(pixels(path))
    scores, boxes = seen.class_logits[0].sigmoid(), seen.boxes[0]
    found = [
        SightedThing(labels[index], float(scores[row, index]), tuple(boxes[row].tolist()))
        for row, index in (scores > above).nonzero().tolist()
        if index > 0
    ]
    kept: list[SightedThing] = []
    for thing in sorted(found, key=lambda each: -each.score):
        if all(other.label != thing.label or overlap(other.box, thing.box) <= OVERLAP for other in kept):
            kept.append(thing)
    return kept
