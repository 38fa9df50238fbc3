"""Street pictures with masks that others drew, as classes of the ground: read where an administrator has them.

    cityscapes   leftImg8bit/SPLIT/CITY/*_leftImg8bit.png   gtFine/SPLIT/CITY/*_gtFine_labelIds.png
    ade20k       images/SPLIT/*.jpg   annotations/SPLIT/*.png   objectInfo150.txt   (ADEChallengeData2016)
    vistas       SPLIT/images/*.jpg   SPLIT/labels/*.png and config.json; or SPLIT/v2.0/labels/ and config_v2.0.json
    coco         SPLIT/*.jpg   annotations/panoptic_SPLIT/*.png   annotations/panoptic_SPLIT.json

Nothing is copied: pictures and masks are read one pair after the other. None of these may be used for everything: the
licence is named with each folder that is opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from server.dataset import ground_classes, pictures
from server.dataset.ground_classes import lookup
from shared.errors import DatasetError

Mask = NDArray[np.uint8]
"""[h, w], places in `shared.sight.ground.GROUND`."""
_Own = Mapping[str, str] | None
_VISTAS_FORMS = (("config_v2.0.json", "v2.0/labels"), ("config_v1.2.json", "v1.2/labels"), ("config.json", "labels"))
"""Its configuration, and where its masks lie below each split; the newest first."""
_RGB = np.array([1, 256, 65536], np.uint32)
"""COCO's panoptic ids: red + 256 green + 65536 blue."""


@dataclass(frozen=True, slots=True)
class MaskedPicture:
    """One pair, read."""

    name: str
    image: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    mask: Mask


@dataclass(frozen=True, slots=True)
class _Pair:
    picture: Path
    mask: Path
    decode: Callable[[Path], Mask]
    split: str
    """As its publisher calls it."""


@dataclass(frozen=True, slots=True)
class MaskFolder:
    """A folder of such pictures. Iterating reads one pair at a time."""

    layout: str
    licence: str
    """In words: what it may be used for."""
    _pairs: tuple[_Pair, ...]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[MaskedPicture]:
        """Raises: DatasetError naming a file that is missing, cannot be read, or is not of its picture's size."""
        yield from map(self.read, range(len(self._pairs)))

    def read(self, at: int) -> MaskedPicture:
        """One pair by its place. Raises: as iterating does."""
        pair = self._pairs[at]
        image, mask = pictures.read(pair.picture), pair.decode(pair.mask)
        if image.shape[:2] != mask.shape:
            raise DatasetError(f"{pair.mask} is {mask.shape}, its picture {image.shape[:2]} (height, width).")
        return MaskedPicture(pair.picture.stem, image, mask)

    def of_split(self, *, training: bool) -> MaskFolder:
        """Only the pictures that its publisher means for training (splits called "train…"), or only the others."""
        return replace(self, _pairs=tuple(pair for pair in self._pairs if pair.split.startswith("train") == training))


def open_masks(layout: str, folder: Path, *, own: Mapping[str, str] | None = None) -> MaskFolder:
    """layout: one of LAYOUTS; own: their class → that of the ground, before the built-in rules

    raises: DatasetError where the folder has no such layout
    """
    licence, read = LAYOUTS[layout]
    pairs = tuple(read(folder, own))
    if not pairs:
        raise DatasetError(
            f"{folder} has no masks of the layout {layout}.", hint="docs/learning.md says how each folder must look."
        )
    return MaskFolder(layout, licence, pairs)


def _cityscapes(folder: Path, own: _Own) -> Iterator[_Pair]:
    decode = _indexed(lookup(enumerate(ground_classes.CITYSCAPES_NAMES), ground_classes.CITYSCAPES, own=own))
    for mask in sorted(folder.glob("gtFine/*/*/*_gtFine_labelIds.png")):
        split, city, name = mask.parts[-3:]
        picture = name.replace("_gtFine_labelIds", "_leftImg8bit")
        yield _Pair(folder / "leftImg8bit" / split / city / picture, mask, decode, split)


def _ade20k(folder: Path, own: _Own) -> Iterator[_Pair]:
    masks = sorted(folder.glob("annotations/*/*.png"))
    if masks:
        decode = _indexed(lookup(_ade_names(folder / "objectInfo150.txt"), ground_classes.ADE20K, own=own))
        for mask in masks:
            yield _Pair(folder / "images" / mask.parent.name / f"{mask.stem}.jpg", mask, decode, mask.parent.name)


def _ade_names(file: Path) -> Iterator[tuple[int, str]]:
    """(id, first name) of each line "Idx Ratio Train Val Stuff Name". Raises: DatasetError."""
    lines = _text(file).splitlines()[1:]
    for line in filter(str.strip, lines):
        number, *_, names = line.split("\t")
        if not number.strip().isdigit():
            raise DatasetError(f"{file}: {line!r:.60} is no class.")
        yield int(number), names.split(";")[0].split(",")[0].strip()


def _vistas(folder: Path, own: _Own) -> Iterator[_Pair]:
    for config, below in _VISTAS_FORMS:
        masks = sorted(folder.glob(f"*/{below}/*.png"))
        if masks and (folder / config).is_file():
            names = enumerate(str(label["name"]) for label in _json(folder / config, "labels"))
            decode = _indexed(lookup(names, ground_classes.VISTAS, own=own))
            for mask in masks:
                split = mask.relative_to(folder).parts[0]
                yield _Pair(folder / split / "images" / f"{mask.stem}.jpg", mask, decode, split)
            return


def _coco(folder: Path, own: _Own) -> Iterator[_Pair]:
    for index in sorted(folder.glob("annotations/panoptic_*.json")):
        split = index.stem.removeprefix("panoptic_")
        categories = [(int(each["id"]), str(each["name"])) for each in _json(index, "categories")]
        table = lookup(categories, ground_classes.COCO, own=own)
        files = {each["id"]: str(each["file_name"]) for each in _json(index, "images")}
        for entry in _json(index, "annotations"):
            if entry["image_id"] not in files:
                raise DatasetError(f"{index} has a mask of the picture {entry['image_id']}, which it does not list.")
            kinds = ((int(each["id"]), int(each["category_id"])) for each in entry["segments_info"])
            segments = {each: table[min(kind, len(table) - 1)] for each, kind in kinds}
            mask = index.with_suffix("") / str(entry["file_name"])
            yield _Pair(folder / split / files[entry["image_id"]], mask, _panoptic(segments), split)


LAYOUTS: Mapping[str, tuple[str, Callable[[Path, _Own], Iterator[_Pair]]]] = {
    "cityscapes": ("Cityscapes' own terms: no commercial use; nothing of it is passed on", _cityscapes),
    "ade20k": ("ADE20K: pictures for research without commerce; annotations BSD-3-Clause", _ade20k),
    "vistas": ("Mapillary Vistas: CC BY-NC-SA 4.0; no commercial use without a licence of Mapillary's", _vistas),
    "coco": ("COCO: annotations CC BY 4.0; each picture by the terms of its photographer on Flickr", _coco),
}  # fmt: skip
"""Name → (licence, reader)."""


def _indexed(table: NDArray[np.uint8]) -> Callable[[Path], Mask]:
    """Of a mask whose pixels are ids, with or without a palette."""

    def decode(file: Path) -> Mask:
        ids = _pixels(file)
        if ids.ndim != 2:
            raise DatasetError(f"{file} is no mask of class ids: it has {ids.shape[2]} channels.")
        return np.asarray(table[np.minimum(ids, len(table) - 1)], np.uint8)

    return decode


def _panoptic(segments: Mapping[int, np.uint8]) -> Callable[[Path], Mask]:
    """Of a mask whose colours are the ids of segments."""

    def decode(file: Path) -> Mask:
        colours = _pixels(file)
        if colours.ndim != 3:
            raise DatasetError(f"{file} is no panoptic mask: it has no colours.")
        ids, places = np.unique(colours[..., :3].astype(np.uint32) @ _RGB, return_inverse=True)
        table = np.array([segments.get(int(each), ground_classes.UNKNOWN) for each in ids], np.uint8)
        return table[places].reshape(colours.shape[:2])

    return decode


def _pixels(file: Path) -> NDArray[Any]:
    """A palette's places, not its colours: OpenCV would give those. Raises: DatasetError."""
    try:
        with Image.open(file) as opened:
            if opened.width * opened.height > pictures.MOST_PIXELS:
                raise DatasetError(f"The mask {file} has {opened.width} x {opened.height} pixels.")
            return np.asarray(opened)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:  # SyntaxError: Pillow's word for a broken PNG
        raise DatasetError(f"The mask {file} cannot be read: {error}", hint="Download it again.") from error


def _json(file: Path, key: str) -> list[Any]:
    """Raises: DatasetError."""
    try:
        found = json.loads(_text(file))[key]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{file} has no list {key!r} ({error!r}).", hint="Download it again.") from error
    return list(found)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read: {error}", hint="It is part of the download.") from error
