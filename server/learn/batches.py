"""From rendered frames and dataset rows to what `Guide.forward` takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from server import walks
from server.evaluation.facts import seen_side
from server.model.checkpoint import Checkpoint
from server.model.guide import IGNORE, Batch
from shared import vocabulary
from shared.jpeg import jpeg_artefacts
from shared.preprocess import Preprocessing, fit_tile, normalise

PATCH_COVER = 0.12  # a patch belongs to an object that covers at least this share of it: thin poles count


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled picture, already on the tile."""

    tile: NDArray[np.uint8]
    """[s, s, 3]"""
    text: str | None
    """None = nobody said anything about it"""
    patches: NDArray[np.int64] | None
    """[p] object per patch, IGNORE = nobody said, or None where that is so of all"""
    hazards: NDArray[np.float32]
    """[objects, sides]"""
    hazard_weights: NDArray[np.float32]
    """[objects, sides], 0 = nobody said"""
    previous: NDArray[np.uint8] | None = None
    """[s, s, 3], the picture one look before; None = not known: the newest stands in for it"""
    sound: NDArray[np.float32] | None = None
    """[samples] at 16 kHz, up to this moment; None = nothing was heard"""
    ground: NDArray[np.int64] | None = None
    """[p] places in shared.sight.ground.GROUND; None = nobody said"""


def from_rendered(shot: walks.Rendered, checkpoint: Layout) -> Example:
    """A rendered frame is labelled exactly: masks, and every (object, side) known."""
    tile = fit_tile(shot.image, checkpoint.preprocessing)
    hazards = hazard_labels(shot, checkpoint)
    patches = patch_labels(shot.mask, checkpoint)
    text, known = shot.instruction or vocabulary.CLEAR, np.ones_like(hazards)
    return Example(tile, text, patches, hazards, known, ground=ground_labels(shot, checkpoint))


def from_sentence(
    image: NDArray[np.uint8],
    text: str,
    layout: Layout,
    *,
    previous: NDArray[np.uint8] | None = None,
    sound: NDArray[np.float32] | None = None,
) -> Example:
    """A person's sentence says one thing that is there; what else is there, nobody said.

    Its slots teach the hazard head, together with the words. Silence that a person confirmed, as "" or in the words of
    vocabulary.CLEAR, says that nothing is there. Any other sentence without an object ("Turn right.") says nothing of
    things: their weight is 0. The named object is weakly absent at other sides.
    """
    hazards, known = known_of(text, layout.objects)
    tile, spec = fit_tile(image, layout.preprocessing), layout.preprocessing
    earlier = None if previous is None else fit_tile(previous, spec)
    return Example(tile, text or vocabulary.CLEAR, None, hazards, known, earlier, sound)


def known_of(text: str, objects: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a sentence says of each (object, side), and how much it knows of it: float32 [objects, sides] both."""
    hazards = np.zeros((len(objects), len(vocabulary.SIDES_SEEN)), np.float32)
    known = np.zeros_like(hazards)
    slots = vocabulary.parse(text)
    if text in ("", vocabulary.CLEAR):
        known[:] = 1.0
    elif slots is not None and slots.object in objects:
        row = objects.index(slots.object)
        known[row] = 0.3
        column = vocabulary.SIDES_SEEN.index(seen_side(slots.side))
        hazards[row, column] = known[row, column] = 1.0
    return hazards, known


@dataclass(frozen=True, slots=True)
class Layout:
    """What examples must know of a checkpoint; small enough to send to worker processes."""

    objects: tuple[str, ...]
    preprocessing: Preprocessing
    patch_px: int

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Layout:
        patch_px = int(checkpoint.model.config.vision_config.patch_size)
        return cls(checkpoint.objects, checkpoint.preprocessing, patch_px)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height in pixels in which frames are drawn for it."""
        return SIZES if self.preprocessing.size_px <= SMALL_PX else RECORDED

    @property
    def grid(self) -> int:
        """Patches along each side of the tile."""
        return self.preprocessing.size_px // self.patch_px


def patch_labels(mask: NDArray[np.uint8], layout: Layout) -> NDArray[np.int64]:
    """The object that covers most of each patch, 0 where none covers PATCH_COVER of it. mask [h, w] → int64 [p]."""
    size = layout.preprocessing.size_px
    grid = size // layout.patch_px
    square = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
    cells = square.reshape(grid, layout.patch_px, grid, layout.patch_px).swapaxes(1, 2).reshape(grid * grid, -1)
    classes = len(walks.DRAWN) + 1
    counts = np.zeros((len(cells), classes), np.int32)
    for index in range(1, classes):
        counts[:, index] = (cells == index).sum(1)
    counts[:, 0] = int(PATCH_COVER * cells.shape[1])
    to_object = np.array([0, *(layout.objects.index(name) + 1 for name in walks.DRAWN)], np.int64)
    chosen: NDArray[np.int64] = to_object[counts.argmax(1)]
    return chosen


def hazard_labels(shot: walks.Rendered, layout: Layout) -> NDArray[np.float32]:
    """What is within reach where: float32 [objects, sides], 1 = there."""
    there = np.zeros((len(layout.objects), len(vocabulary.SIDES_SEEN)), np.float32)
    for seen in shot.seen:
        there[layout.objects.index(seen.object), vocabulary.SIDES_SEEN.index(seen.side)] = 1.0
    return there


def ground_labels(shot: walks.Rendered, layout: Layout) -> NDArray[np.int64]:
    """What the ground of each patch is: int64 [p]."""
    return walks.ground_cells(shot.ground, layout.grid).ravel().astype(np.int64)


def mirror(image: NDArray[np.uint8], text: str) -> tuple[NDArray[np.uint8], str]:
    """The same moment seen in a mirror: left is right. Twice as many views of a new thing, on both sides.

    image: uint8 [h, w, 3]; returns: the same shape, contiguous, and the sentence with its sides swapped
    """
    swap = {"left": "right", "right": "left"}
    flipped = re.sub(r"\b(left|right)\b", lambda side: swap[side[0]], text)
    return np.ascontiguousarray(image[:, ::-1]), flipped


def vary(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, shift, zoom, noise, JPEG damage: what makes 20 pictures of a thing enough to learn it.

    image: uint8 [h, w, 3]; returns: the same shape
    """
    height, width = image.shape[:2]
    zoom = rng.uniform(0.95, 1.12)
    shift = rng.uniform(-0.04, 0.04, 2) * (width, height)
    centre = np.array([width / 2, height / 2])
    move = np.array([[zoom, 0, 0], [0, zoom, 0]], np.float64)
    move[:, 2] = centre - zoom * centre + shift
    out = cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)
    out = (out - 128) * rng.uniform(0.75, 1.25) + 128 + rng.uniform(-30, 30)
    out *= rng.uniform(0.94, 1.06, 3)
    out += rng.normal(0, rng.uniform(0, 8), out.shape)
    varied = out.clip(0, 255).astype(np.uint8)
    return damage(varied, rng)


def damage(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Half of the pictures, uint8 [h, w, 3], go through JPEG, as a recorder's do."""
    if rng.random() < 0.5:
        return image
    return jpeg_artefacts(image, quality=int(rng.integers(50, 95)))


class RenderedStream(IterableDataset[Example]):
    """Endless fresh rendered frames (see `drawn`); each worker process draws its own."""

    def __init__(self, layout: Layout, *, objects: Sequence[str], seed: int, walks_share: float) -> None:
        self.layout = layout
        self.objects = tuple(objects)
        self.seed = seed
        self.walks_share = walks_share

    def __iter__(self) -> Iterator[Example]:
        worker = torch.utils.data.get_worker_info()
        cv2.setNumThreads(0)
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        return drawn(rng, self.objects, self.layout, walks_share=self.walks_share)


def drawn(rng: np.random.Generator, objects: Sequence[str], layout: Layout, *, walks_share: float) -> Iterator[Example]:
    """Rendered frames without end. walks_share: of them that are of planned walks; the others stand by themselves."""
    on_walks = walk_examples(rng, objects, layout)
    while True:
        yield next(on_walks) if rng.random() < walks_share else rendered_example(rng, objects, layout)


SIZES = ((160, 120), (160, 120), (320, 240))  # two in three drawn small, which is faster; walks are recorded larger
RECORDED = ((320, 240), (320, 240), (640, 480))
"""For a model that says how far a picture is from what it was taught on: it must know them as they are recorded."""
SMALL_PX = 160


def rendered_example(rng: np.random.Generator, objects: Sequence[str], layout: Layout, **options: str) -> Example:
    width, height = layout.sizes[int(rng.integers(len(layout.sizes)))]
    shot = walks.random_frame(rng, objects=objects, width_px=width, height_px=height, **options)  # type: ignore[arg-type]
    return _damaged(from_rendered(shot, layout), rng)


WALK_S = 24.0
WALK_FRAMES = 32


def walk_examples(rng: np.random.Generator, objects: Sequence[str], layout: Layout) -> Iterator[Example]:
    """`walk_frames` as examples."""
    for shot in walk_frames(rng, objects, layout.sizes):
        yield _damaged(from_rendered(shot, layout), rng)


def walk_frames(
    rng: np.random.Generator, objects: Sequence[str], sizes: Sequence[tuple[int, int]]
) -> Iterator[walks.Rendered]:
    """Frames of walks without end: things at all distances, most of them out of reach, as a walker's camera has them.

    The walks take the places and lights of `walks.ROUTES`; their seeds are below every held-out one.
    sizes: width and height in pixels, one of which each frame has
    """
    routes = tuple(walks.ROUTES.values())
    while True:
        route = routes[int(rng.integers(len(routes)))]
        walk = walks.walk_along(route, seed=int(rng.integers(1 << 32)), duration_s=WALK_S, known=objects)
        for t_s in rng.uniform(0.0, WALK_S, WALK_FRAMES):
            yield walks.render_frame(walk, float(t_s), *sizes[int(rng.integers(len(sizes)))])


def _damaged(example: Example, rng: np.random.Generator) -> Example:
    return replace(example, tile=damage(example.tile, rng))


def collate(examples: Sequence[Example], checkpoint: Checkpoint) -> Batch:
    """Examples that have sentences → a batch with pixel_values."""
    tiles = np.stack([example.tile for example in examples])
    batch: Batch = {
        "pixel_values": torch.from_numpy(normalise(tiles, checkpoint.preprocessing)),
        "answers": pad_answers([checkpoint.answer_ids(example.text or "") for example in examples]),
        "hazards": torch.from_numpy(np.stack([example.hazards for example in examples])),
        "hazard_weights": torch.from_numpy(np.stack([example.hazard_weights for example in examples])),
    }
    if all(example.patches is not None for example in examples):
        batch["patch_labels"] = torch.from_numpy(np.stack([e.patches for e in examples if e.patches is not None]))
    return batch


def pad_answers(rows: Sequence[Sequence[int]]) -> Tensor:
    """int64 [b, longest], padded with IGNORE; a row may be empty."""
    longest = max(1, *(len(row) for row in rows))
    return torch.tensor([[*row, *[IGNORE] * (longest - len(row))] for row in rows], dtype=torch.long)
