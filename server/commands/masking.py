"""`waycue-server samples masks`: what a folder of masks that others drew says of the ground, before it teaches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from server.commands.opening import add_json, drawn, print_json
from server.dataset import ground_classes, masks
from server.dataset.masks import MaskFolder
from shared.sight.ground import GROUND

MOST = 500
"""Pictures that are looked at unless it is said otherwise: their shares no longer change much."""


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser(
        "masks", help="what street masks that others drew say of the ground, with their licence"
    )
    parser.add_argument("layout", choices=tuple(masks.LAYOUTS), metavar="LAYOUT", help=", ".join(masks.LAYOUTS))
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder as its publisher's archives unpack")
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help='a TOML file of lines such as "their class" = "walkable"'
    )
    parser.add_argument("--limit", type=_at_least_one, default=MOST, metavar="N", help=f"at most N pictures ({MOST})")
    add_json(parser, "the shares")
    parser.set_defaults(run=_masks)


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return value


def _masks(options: argparse.Namespace) -> int:
    own = ground_classes.read_map(options.classes) if options.classes else None
    found = masks.open_masks(options.layout, options.folder, own=own)
    figures = shares(found, limit=options.limit)
    if options.json:
        print_json({"layout": found.layout, "licence": found.licence, "all": len(found), **figures})
        return 0
    print(f"{found.licence}.\n{figures['pictures']} of {len(found)} pictures looked at.")
    print(f"{'class':<12}{'pixels':>8}  pictures with it")
    for name, share in figures["classes"].items():
        print(f"{name:<12}{share['pixels']:>8.1%}  {share['pictures']}")
    return 0


def shares(found: MaskFolder, *, limit: int) -> Mapping[str, Any]:
    """Pixels of each class as a share of all, and how many pictures have any. Raises: DatasetError."""
    most = min(limit, len(found))
    pixels, having = np.zeros(len(GROUND), np.int64), np.zeros(len(GROUND), np.int64)
    progress = drawn(most, sys.stderr)
    for at, pair in enumerate(islice(found, most), start=1):
        counts = np.bincount(pair.mask.ravel(), minlength=len(GROUND))
        pixels += counts
        having += counts > 0
        progress(at)
    parts = pixels / pixels.sum()
    classes = {
        name: {"pixels": round(float(part), 6), "pictures": int(count)}
        for name, part, count in zip(GROUND, parts, having, strict=True)
    }
    return {"pictures": most, "classes": classes}
