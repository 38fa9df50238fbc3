"""Views of moments that are made when they are asked for: a night computes those that its steps draw, and no others.

    rows of the dataset × views of each → places 0 … n - 1
    place → Piece     what the view is made from, without making it: cached features are found by it
    place → Labels    what is said of it, without its picture
    place → tiles     decoded, mirrored, varied

A view depends on its row, its number and the seed alone, never on which others are drawn.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from server.dataset import material
from server.dataset.feature_cache import FeatureCache, Piece
from server.dataset.sample_row import SampleRow
from server.learn.batches import Example, Layout, from_sentence, known_of, mirror, vary
from server.learn.weak import BoxLabels
from server.model.guide import IGNORE
from shared import vocabulary

DEAF = 4
"""Every fourth view of a moment is without its sound: a microphone that fails must not take guidance with it."""
VIEWS_VERSION = 1
"""Of how a view is made out of its row; another one computes everything again."""
Tile = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Labels:
    """What teaches beside a picture: an Example without it."""

    text: str | None
    patches: NDArray[np.int64] | None
    ground: NDArray[np.int64] | None
    hazards: NDArray[np.float32]
    hazard_weights: NDArray[np.float32]
    sound: NDArray[np.float32] | None

    @classmethod
    def of(cls, example: Example) -> Labels:
        e = example
        return cls(e.text, e.patches, e.ground, e.hazards, e.hazard_weights, e.sound)


@runtime_checkable
class Views(Protocol):
    """Examples by place."""

    def __len__(self) -> int: ...

    def piece(self, at: int, *, frames: int) -> Piece:
        """What the pictures of a place are made from. frames: 2 = the one before, too"""
        ...

    def tiles(self, at: int, *, frames: int) -> list[Tile]:
        """[frames] pictures [s, s, 3], the newest first; it stands in for an earlier one that is not known."""
        ...

    def labels(self, places: Sequence[int]) -> list[Labels]:
        """Of places in rising order. Raises: DatasetError."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Examples that are there already."""

    examples: Sequence[Example]

    def __len__(self) -> int:
        return len(self.examples)

    def piece(self, at: int, *, frames: int) -> Piece:
        digest = hashlib.sha256()
        for tile in self.tiles(at, frames=frames):
            digest.update(np.ascontiguousarray(tile).data)
        return Piece(digest.hexdigest())

    def tiles(self, at: int, *, frames: int) -> list[Tile]:
        example = self.examples[at]
        return tiles_of(example, frames=frames)

    def labels(self, places: Sequence[int]) -> list[Labels]:
        return [Labels.of(self.examples[at]) for at in places]


def tiles_of(example: Example, *, frames: int) -> list[Tile]:
    """[frames] pictures, the newest first."""
    earlier = example.tile if example.previous is None else example.previous
    return [example.tile, earlier][:frames]


class JoinedViews:
    """Several lots as one, their places one after another."""

    def __init__(self, lots: Sequence[Views]) -> None:
        self._lots = tuple(lots)
        self._starts = [sum(len(lot) for lot in lots[:number]) for number in range(len(lots) + 1)]

    def __len__(self) -> int:
        return self._starts[-1]

    def piece(self, at: int, *, frames: int) -> Piece:
        lot = self._lot(at)
        return self._lots[lot].piece(at - self._starts[lot], frames=frames)

    def tiles(self, at: int, *, frames: int) -> list[Tile]:
        lot = self._lot(at)
        return self._lots[lot].tiles(at - self._starts[lot], frames=frames)

    def labels(self, places: Sequence[int]) -> list[Labels]:
        found: list[Labels] = []
        for lot, some in groupby(places, self._lot):
            found += self._lots[lot].labels([at - self._starts[lot] for at in some])
        return found

    def _lot(self, at: int) -> int:
        return int(np.searchsorted(self._starts, at, side="right")) - 1


def views_of(examples: Views | Sequence[Example]) -> Views:
    """Examples in a list as views."""
    return examples if isinstance(examples, Views) else Listed(examples)


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """How rows become examples."""

    variations: int
    """Views of each row: as itself, in a mirror, and as changed pictures."""
    seed: int
    senses: material.Senses = field(default_factory=material.Senses)
    most: int | None = None
    """Examples of all rows; each row then gives fewer of its views, at least one, drawn by lot."""
    clusters: Sequence[int] = ()
    """Of each row, which near-duplicates weigh as one with it (server.dataset.alike); () = each weighs by itself."""
    boxes: BoxLabels | None = None
    """Says which patches show the thing that a sentence names, for a model with eyes."""
    found: FeatureCache | None = None
    """Where its answers are kept: int16 [p]."""

    def each(self, rows: int) -> int:
        """Views that each of so many rows gives."""
        return self.variations if self.most is None else min(self.variations, max(1, self.most // max(1, rows)))


@dataclass(frozen=True, slots=True)
class _Material:
    """What the views of one row are made from."""

    at: int
    image: NDArray[np.uint8]
    earlier: NDArray[np.uint8] | None


class Rows(Sequence[Example]):
    """The views of rows of the dataset in `folder`; each is made when it is asked for. Raises: DatasetError."""

    def __init__(self, folder: Path, rows: Sequence[SampleRow], layout: Layout, plan: ViewPlan) -> None:
        self._folder, self._rows, self._layout, self._plan = folder, rows, layout, plan
        self._each = plan.each(len(rows))
        self._open: _Material | None = None
        self._heard: tuple[int, NDArray[np.float32] | None] = -1, None
        self._contents: dict[str, str] = {}
        self._known: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        """Of each sentence that was parsed."""
        self._detections: list[tuple[Piece, NDArray[np.generic]]] = []
        """Not in the cache yet."""

    def __len__(self) -> int:
        return len(self._rows) * self._each

    @property
    def moments(self) -> int:
        """Rows of the dataset; near-duplicates count as one."""
        return len(set(self._plan.clusters)) or len(self._rows)

    @property
    def lots(self) -> list[NDArray[np.int64]] | None:
        """Places that weigh as one moment, of each moment; None where each row is one by itself."""
        own = np.repeat(np.asarray(self._plan.clusters, np.int64), self._each)
        if self.moments == len(self._rows):
            return None
        return [np.flatnonzero(own == name) for name in np.unique(own)]

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> list[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | list[Example]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        at %= len(self)
        (labels,) = self.labels([at])
        tile, *earlier = self._pictures(at)
        return Example(
            tile,
            labels.text,
            labels.patches,
            labels.hazards,
            labels.hazard_weights,
            next(iter(earlier), None),
            labels.sound,
            labels.ground,
        )

    def piece(self, at: int, *, frames: int) -> Piece:
        row, number = self._row(at)
        made_from = [VIEWS_VERSION, self._content(row.frame_path), number % 2]
        if frames == 2 and self._plan.senses.before:
            made_from += [self._content(row.clip_path), row.duration_s]
        if number >= 2:
            made_from += [row.sample_id, number, self._plan.seed]
        key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
        return Piece(key, Path(row.frame_path).stem)

    def tiles(self, at: int, *, frames: int) -> list[Tile]:
        pictures = self._pictures(at)
        return [*pictures, pictures[0]][:frames]

    def labels(self, places: Sequence[int]) -> list[Labels]:
        found: list[Labels] = []
        for _, some in groupby(places, lambda at: at // self._each):
            found += self._labels_of_row(list(some))
        if self._plan.found is not None and self._detections:
            self._plan.found.add([piece for piece, _ in self._detections], np.stack([at for _, at in self._detections]))
            self._detections.clear()
        return found

    def _labels_of_row(self, places: Sequence[int]) -> list[Labels]:
        said = []
        for at in places:
            row, number = self._row(at)
            text = row.ground_truth if number % 2 == 0 else swapped(row.ground_truth)
            hazards, known = self._known_of(text)
            sound = None if number % DEAF == DEAF - 1 else self._sound(at // self._each)
            said.append(Labels(text or vocabulary.CLEAR, None, None, hazards, known, sound))
        boxed = self._boxes(places, said)
        return said if boxed is None else boxed

    def _known_of(self, text: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if text not in self._known:
            self._known[text] = known_of(text, self._layout.objects)
        return self._known[text]

    def _boxes(self, places: Sequence[int], said: Sequence[Labels]) -> list[Labels] | None:
        """The same with patch labels out of a detector's boxes; None where there is no detector."""
        boxes, kept = self._plan.boxes, self._plan.found
        if boxes is None:
            return None
        pieces = [self._named_piece(at, labels.text or "") for at, labels in zip(places, said, strict=True)]
        if kept is None or not all(kept.has(piece.key) for piece in pieces):
            found = self._detected(boxes, places, said)
            self._detections += zip(pieces, found, strict=True)
            return [_with(labels, cells) for labels, cells in zip(said, found, strict=True)]
        return [_with(labels, kept[piece.key]) for labels, piece in zip(said, pieces, strict=True)]

    def _detected(self, boxes: BoxLabels, places: Sequence[int], said: Sequence[Labels]) -> list[NDArray[np.generic]]:
        unknown = np.full(self._layout.grid**2, IGNORE, np.int64)
        views = [
            Example(self.tiles(at, frames=1)[0], labels.text, None, labels.hazards, labels.hazard_weights)
            for at, labels in zip(places, said, strict=True)
        ]
        height, width = self._material(places[0]).image.shape[:2]
        labelled = boxes.labelled(views, aspect=width / height)
        return [unknown if view.patches is None else view.patches for view in labelled]

    def _named_piece(self, at: int, text: str) -> Piece:
        of = self.piece(at, frames=1)
        return Piece(hashlib.sha256(f"{of.key} {text}".encode()).hexdigest(), of.picture)

    def _row(self, at: int) -> tuple[SampleRow, int]:
        """The row of a place, and which of its views it is."""
        row = self._rows[at // self._each]
        if self._each == self._plan.variations:
            return row, at % self._each
        rng = np.random.default_rng([self._plan.seed, _number(row)])
        return row, int(sorted(rng.permutation(self._plan.variations)[: self._each])[at % self._each])

    def _pictures(self, at: int) -> list[Tile]:
        """The newest, and the one before where there is one."""
        row, number = self._row(at)
        made_from = self._material(at)
        pictures = [made_from.image, *([] if made_from.earlier is None else [made_from.earlier])]
        if number % 2:
            pictures = [mirror(picture, "")[0] for picture in pictures]
        if number >= 2:
            rng = np.random.default_rng([self._plan.seed, _number(row), number])
            # both pictures of a moment are changed alike
            pictures = [vary(picture, twin) for picture, twin in zip(pictures, _twins(rng), strict=False)]
        return [from_sentence(picture, "", self._layout).tile for picture in pictures]

    def _material(self, at: int) -> _Material:
        number = at // self._each
        if self._open is None or self._open.at != number:
            row = self._rows[number]
            earlier = material.before(self._folder, row) if self._plan.senses.before else None
            self._open = _Material(number, material.picture(self._folder, row), earlier)
        return self._open

    def _sound(self, number: int) -> NDArray[np.float32] | None:
        if self._heard[0] != number:
            heard = material.sound(self._folder, self._rows[number]) if self._plan.senses.sound else None
            self._heard = number, heard
        return self._heard[1]

    def _content(self, path: str) -> str:
        """Hex SHA-256 of a file of the dataset; "" where there is none."""
        if path not in self._contents:
            file = self._folder / path
            self._contents[path] = hashlib.sha256(file.read_bytes()).hexdigest() if path and file.is_file() else ""
        return self._contents[path]


def swapped(text: str) -> str:
    """The sentence of the moment in a mirror."""
    return mirror(np.zeros((1, 1, 3), np.uint8), text)[1]


def _with(labels: Labels, cells: NDArray[np.generic]) -> Labels:
    patches = None if (cells == IGNORE).all() else cells.astype(np.int64)
    return Labels(labels.text, patches, labels.ground, labels.hazards, labels.hazard_weights, labels.sound)


def _number(row: SampleRow) -> int:
    return int.from_bytes(hashlib.sha256(row.sample_id.encode()).digest()[:8], "big")


def _twins(rng: np.random.Generator) -> Iterator[np.random.Generator]:
    while True:
        yield copy.deepcopy(rng)
