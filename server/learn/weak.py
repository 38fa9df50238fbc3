"""Where the thing is that a confirmed sentence names: in the detector's box of such a thing at that side.

    sentence → (object, side)  ┐
    picture → boxes            ┴→ the box that counts most there → its patches are of that object; of others nobody said

A sentence teaches the hazard head that a thing is there, not which patches show it. Where detector and person agree on
a thing and its side, the box says that too: a weak label, for it holds some of what is behind the thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.onnx.frozen import frozen
from server.evaluation.facts import seen_side
from server.learn.batches import Example, Layout
from server.model.guide import IGNORE
from shared import vocabulary
from shared.preprocess import normalise
from shared.sight import Box, BoxScoring, Camera, pick
from shared.sight.hazards import certainty, standing

SCORE_LEAST = 0.3
"""A person has said that the thing is there: the detector need not be as sure as when it speaks alone."""
COVER = 0.5
"""A patch belongs to a box that covers at least this share of it."""
CAMERA, SCORING = Camera(), BoxScoring()
"""A moment does not say where its camera was worn: as usual."""


def box_of(text: str, boxes: Iterable[Box], *, aspect: float) -> Box | None:
    """The box of the thing that a sentence names, at the side where it says it is; None where there is none.

    aspect: width / height of the picture
    """
    slots, best, most = vocabulary.parse(text), None, 0.0
    if slots is None or not slots.object:
        return None
    for box in boxes:
        at = None if box.score < SCORE_LEAST else standing(box, CAMERA, aspect=aspect)
        if at is None or (box.object, at.side) != (slots.object, seen_side(slots.side)):
            continue
        sure = certainty(box.score, at.used, SCORING)
        best, most = (box, sure) if sure > most else (best, most)
    return best


def box_patches(box: Box, place: int, grid: int) -> NDArray[np.int64]:
    """int64 [grid · grid]: place + 1 in the patches of a box, at least in the one of its middle; else IGNORE.

    place: of the object in the model's list
    """
    edges = np.arange(grid + 1) / grid
    across, down = (
        np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
        for low, high in ((box.left, box.right), (box.top, box.bottom))
    )
    covered = np.maximum(down, 0.0)[:, None] * np.maximum(across, 0.0)[None, :] * grid**2
    inside = covered >= COVER
    middle = (box.top + box.bottom) / 2, (box.left + box.right) / 2
    inside[tuple(min(int(at * grid), grid - 1) for at in middle)] = True
    return np.where(inside, place + 1, IGNORE).ravel().astype(np.int64)


class BoxLabels:
    """Gives examples from sentences their patch labels, where the detector has a box for them."""

    def __init__(self, network: nn.Module, names: Sequence[str | None], layout: Layout) -> None:
        """network: [b, 3, s, s] → an object with `boxes` and `class_logits`; names: [classes], what each is called"""
        self._names, self._layout = tuple(names), layout
        self._see = frozen(_Rows(network), layout.preprocessing.size_px, threads=torch.get_num_threads())

    def labelled(self, examples: Sequence[Example], *, aspect: float) -> list[Example]:
        """The same examples, those with patch labels as they are. aspect: width / height of their pictures"""
        wanted = [at for at, example in enumerate(examples) if example.patches is None and self._knows(example.text)]
        out = list(examples)
        if not wanted:
            return out
        tiles = np.stack([examples[at].tile for at in wanted])
        for at, rows in zip(wanted, self._see(normalise(tiles, self._layout.preprocessing)), strict=True):
            boxes = pick(rows[:, :4], np.minimum(rows[:, 4:], 1.0), self._names)
            box = box_of(examples[at].text or "", boxes, aspect=aspect)
            if box is not None and box.object in self._layout.objects:
                place = self._layout.objects.index(box.object)
                out[at] = replace(examples[at], patches=box_patches(box, place, self._layout.grid))
        return out

    def _knows(self, text: str | None) -> bool:
        slots = vocabulary.parse(text or "")
        return slots is not None and bool(slots.object) and slots.object in self._names


class _Rows(nn.Module):
    """A detector's boxes and scores in one tensor [b, n, 4 + classes]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        seen = self.network(pixel_values)
        return torch.cat((seen.boxes, seen.class_logits.sigmoid()), -1)
