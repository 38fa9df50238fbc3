"""Pictures with masks of the ground that others drew, as examples of a night: they teach the ground head, nothing else.

    learn.masks = "cityscapes:/data/cityscapes, vistas:/data/vistas"
    → the pictures of their training splits, some of them by lot → each as itself and in a mirror

No sentence and no hazard is known of them, so they teach neither, and they are not made familiar: a street on which
only the ground was taught is still far from what the hazard head knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from server.dataset import ground_classes, mask_cells, masks
from server.dataset.masks import MaskedPicture, MaskFolder
from server.learn.batches import Example, Layout, mirror
from server.learn.drawings import restyled
from server.model.guide import IGNORE
from shared import vocabulary
from shared.errors import ConfigError, DatasetError
from shared.preprocess import fit_tile

Progress = Callable[[str], None]
Picked = Sequence[tuple[MaskFolder, int]]
"""Pictures: a folder, and the place in it."""


def opened(text: str, classes: str = "") -> tuple[MaskFolder, ...]:
    """The folders that a setting names, the pictures in their training splits only.

    text: LAYOUT:FOLDER, several with commas, "" = none; classes: a file for ground_classes.read_map, "" = none
    raises: ConfigError for another text or file; DatasetError for a folder of another layout, or without such pictures
    """
    own = ground_classes.read_map(Path(classes).expanduser()) if classes else None
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        layout, colon, folder = part.partition(":")
        if not colon or layout not in masks.LAYOUTS:
            raise ConfigError(
                f"learn.masks has {part!r}.", hint=f"Write LAYOUT:FOLDER; layouts are {', '.join(masks.LAYOUTS)}."
            )
        teaching = masks.open_masks(layout, Path(folder).expanduser(), own=own).of_split(training=True)
        if not len(teaching):
            raise DatasetError(
                f"{folder} has no pictures of a training split.",
                hint="Masks of other splits are for judging (models ground): they never teach.",
            )
        found.append(teaching)
    return tuple(found)


def chosen(folders: Sequence[MaskFolder], most: int, seed: int) -> Picked:
    """Of all their pictures `most`, by lot."""
    every = [(folder, at) for folder in folders for at in range(len(folder))]
    lot = np.random.default_rng(seed).permutation(len(every))[:most]
    return [every[at] for at in sorted(lot)]


def examples(picked: Picked, layout: Layout, *, seed: int, progress: Progress) -> list[Example]:
    """Two views of each picture; one that cannot be read is left out and told."""
    out: list[Example] = []
    for number, (folder, at) in enumerate(picked):
        try:
            pair = folder.read(at)
        except DatasetError as error:
            progress(f"left out: {error}")
            continue
        out += _views(pair, layout, np.random.default_rng([seed, number]))
    return out


def _views(pair: MaskedPicture, layout: Layout, rng: np.random.Generator) -> Iterator[Example]:
    flipped, _ = mirror(pair.image, "")
    for image, mask in ((pair.image, pair.mask), (restyled(flipped, rng), pair.mask[:, ::-1])):
        none = np.zeros((len(layout.objects), len(vocabulary.SIDES_SEEN)), np.float32)
        cells = mask_cells.told(mask, layout.grid).ravel()
        ground = np.where(cells == mask_cells.UNTOLD, IGNORE, cells)
        yield Example(fit_tile(image, layout.preprocessing), None, None, none, none, ground=ground)
