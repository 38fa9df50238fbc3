"""What others call the ground, and what stands on it, as classes of `shared.sight.ground`. Pure.

A name is looked up in the rules of its layout from its front: the longest rule that it begins with counts, so that
"object--" stands for every object of Mapillary Vistas but for those with a rule of their own. Without a rule it is
"unknown": nothing is taught there. Steps whose way is not told by their name are "unknown" too, and so is what may lie
on the ground as well as stand.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.sight.ground import GROUND

UNKNOWN = GROUND.index("unknown")
Rules = Mapping[str, tuple[str, ...]]
"""Class of the ground → beginnings of names."""

CITYSCAPES: Rules = {
    "walkable": ("sidewalk",),
    "road": ("road", "parking", "rail track"),
    "grass": ("terrain",),
    "obstacle": (
        "building", "wall", "fence", "guard rail", "pole", "polegroup", "traffic light", "traffic sign", "vegetation",
        "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
    ),
}  # fmt: skip
CITYSCAPES_NAMES: tuple[str, ...] = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus",
    "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""By the id in a labelIds.png. source: cityscapesscripts/helpers/labels.py"""
ADE20K: Rules = {
    "walkable": ("floor", "sidewalk", "path", "rug", "pier"),
    "road": ("road", "runway"),
    "grass": ("grass", "field"),
    "water": ("water", "sea", "river", "lake", "swimming pool", "waterfall"),
    "obstacle": (
        "wall", "building", "tree", "person", "door", "table", "plant", "car", "chair", "sofa", "fence", "railing",
        "column", "signboard", "chest of drawers", "bench", "desk", "cabinet", "bookcase", "armchair", "seat",
        "wardrobe", "bannister", "pole", "bus", "truck", "van", "bicycle", "minibike", "trade name", "streetlight",
        "ashcan", "screen door", "house", "skyscraper", "bed", "refrigerator", "stove", "counter", "barrel", "animal",
        "tent", "booth",
    ),
}  # fmt: skip
VISTAS: Rules = {
    "walkable": (
        "construction--flat--sidewalk", "construction--flat--pedestrian-area", "construction--flat--curb-cut",
        "construction--barrier--curb-cut",
    ),
    "road": ("construction--flat--", "marking--"),
    "curb": ("construction--barrier--curb",),
    "crosswalk": (
        "construction--flat--crosswalk", "marking--crosswalk", "marking--discrete--crosswalk",
        "marking-only--discrete--crosswalk",
    ),
    "grass": ("nature--terrain",),
    "water": ("nature--water",),
    "obstacle": (
        "human--", "animal--", "object--", "construction--barrier--", "construction--structure--", "nature--vegetation",
    ),
    "unknown": (
        "construction--structure--bridge", "construction--structure--tunnel", "object--manhole", "object--pothole",
        "object--catch-basin", "construction--barrier--road-median", "construction--barrier--road-side",
    ),
}  # fmt: skip
COCO: Rules = {
    "walkable": ("pavement", "floor", "gravel", "platform", "rug"),
    "road": ("road", "railroad"),
    "grass": ("grass",),
    "water": ("water", "sea", "river"),
    "obstacle": (
        "wall", "building", "house", "tree", "fence", "door", "rock", "person", "bicycle", "car", "motorcycle", "bus",
        "train", "truck", "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "dog", "horse",
        "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "chair", "couch", "potted plant", "bed", "dining table",
        "refrigerator", "cabinet", "counter", "table", "shelf", "tent", "suitcase",
    ),
}  # fmt: skip


def lookup(
    names: Iterable[tuple[int, str]], rules: Rules, *, own: Mapping[str, str] | None = None
) -> NDArray[np.uint8]:
    """[most id + 2]: place in GROUND of each id; the last stands for every id that has no name.

    names: (id, name); own: name → class, before all rules
    """
    pairs = list(names)
    table = np.full(max((number for number, _ in pairs), default=-1) + 2, UNKNOWN, np.uint8)
    for number, name in pairs:
        if number >= 0:
            table[number] = GROUND.index((own or {}).get(name) or ground_class(name, rules))
    return table


def ground_class(name: str, rules: Rules) -> str:
    """The class of the longest rule that a name begins with as whole words; "unknown" where there is none."""
    hits = [(len(start), found) for found, starts in rules.items() for start in starts if _begins(name, start)]
    return max(hits, default=(0, GROUND[UNKNOWN]))[1]


def _begins(name: str, start: str) -> bool:
    rest = name[len(start) :]
    return name.startswith(start) and (start.endswith("-") or not rest or not rest[0].isalnum())


def read_map(file: Path) -> dict[str, str]:
    """An administrator's own map, a TOML file of lines such as `"construction--flat--bike-lane" = "road"`.

    raises: ConfigError naming what is wrong
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The class map {file} could not be read: {error}") from error
    for name, value in found.items():
        if value not in GROUND:
            raise ConfigError(
                f"{file}: {name!r} is mapped to {value!r}.", hint=f"The classes are: {', '.join(GROUND)}."
            )
    return found
