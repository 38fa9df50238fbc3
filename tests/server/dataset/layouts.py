"""Tiny folders of masks in the real layouts: a few pictures, laid out as their publishers' archives unpack."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Ids = NDArray[np.uint8]
QUARTERS = (6, 8)
"""Height and width: of each picture four quarters, one id each."""


def quarters(upper_left: int, upper_right: int, lower_left: int, lower_right: int) -> Ids:
    """[6, 8]"""
    corners = np.array([[upper_left, upper_right], [lower_left, lower_right]], np.uint8)
    return corners.repeat(3, axis=0).repeat(4, axis=1)


def picture(file: Path, *, shape: tuple[int, int] = QUARTERS, seed: int = 0) -> None:
    """Noise, as PNG or JPEG by its name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(file.suffix, np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8))
    assert ok
    file.write_bytes(data.tobytes())


def grey(file: Path, ids: Ids) -> None:
    """Ids as grey values."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(file)


def palette(file: Path, ids: Ids) -> None:
    """Ids as places of a palette whose colours say nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids).convert("P")
    image.frombytes(ids.tobytes())
    image.putpalette([(at * 53 + 11) % 256 for at in range(768)])
    image.save(file)


def cityscapes(folder: Path) -> Path:
    for city, number in (("aachen", 0), ("bochum", 1)):
        stem = f"{city}_{number:06}_000019"
        picture(folder / "leftImg8bit" / "train" / city / f"{stem}_leftImg8bit.png", seed=number)
        grey(folder / "gtFine" / "train" / city / f"{stem}_gtFine_labelIds.png", quarters(23, 11, 8, 7))
        grey(folder / "gtFine" / "train" / city / f"{stem}_gtFine_instanceIds.png", quarters(1, 1, 1, 1))
    return folder


def ade20k(folder: Path) -> Path:
    rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName", "1\t0.1\t9\t9\t1\twall", "7\t0.1\t9\t9\t1\troad;route"]
    rows += ["12\t0.0\t9\t9\t1\tsidewalk;pavement", "54\t0.0\t9\t9\t1\tstairs;steps"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objectInfo150.txt").write_text("\n".join(rows) + "\n")
    picture(folder / "images" / "training" / "ADE_train_00000001.jpg")
    grey(folder / "annotations" / "training" / "ADE_train_00000001.png", quarters(1, 54, 12, 7))
    return folder


VISTAS_NAMES = (
    "construction--barrier--curb", "construction--flat--sidewalk", "marking--crosswalk-zebra",
    "construction--flat--road", "void--unlabeled",
)  # fmt: skip


def vistas(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = [{"name": name, "readable": name, "color": [0, 0, 0]} for name in VISTAS_NAMES]
    (folder / "config.json").write_text(json.dumps({"labels": labels, "version": "1.1"}))
    picture(folder / "validation" / "images" / "_0jk.jpg")
    palette(folder / "validation" / "labels" / "_0jk.png", quarters(0, 1, 2, 3))
    return folder


def coco(folder: Path) -> Path:
    segments = {3226956: 191, 70000: 149, 5: 1}
    kinds = [{"id": 191, "name": "pavement-merged"}, {"id": 149, "name": "road"}, {"id": 1, "name": "person"}]
    one, two, three = segments
    ids = np.kron(np.array([[0, three], [one, two]], np.uint32), np.ones((3, 4), np.uint32))
    mask = folder / "annotations" / "panoptic_val2017" / "000000000139.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(np.stack([ids >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)).save(mask)
    info = [{"id": each, "category_id": kind, "iscrowd": 0} for each, kind in segments.items()]
    index = {
        "images": [{"id": 139, "file_name": "000000000139.jpg", "height": 6, "width": 8}],
        "annotations": [{"image_id": 139, "file_name": mask.name, "segments_info": info}],
        "categories": kinds,
    }
    (folder / "annotations" / "panoptic_val2017.json").write_text(json.dumps(index))
    picture(folder / "val2017" / "000000000139.jpg")
    return folder
