"""Masks that others drew, in the layouts of their publishers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from server.dataset import ground_classes, masks
from server.dataset.ground_classes import ground_class
from shared.errors import ConfigError, DatasetError
from shared.sight.ground import GROUND
from tests.server.commands.terminal import server
from tests.server.dataset import layouts

EXPECTED = {
    "cityscapes": ("unknown", "obstacle", "walkable", "road"),
    "ade20k": ("obstacle", "unknown", "walkable", "road"),
    "vistas": ("curb", "walkable", "crosswalk", "road"),
    "coco": ("unknown", "obstacle", "walkable", "road"),
}
"""Of each layout the four quarters of its picture."""
MAKERS = {"cityscapes": layouts.cityscapes, "ade20k": layouts.ade20k, "vistas": layouts.vistas, "coco": layouts.coco}


@pytest.mark.parametrize("layout", EXPECTED)
def test_each_layout_is_read_as_pictures_with_classes_of_the_ground(layout: str, tmp_path: Path) -> None:
    found = masks.open_masks(layout, MAKERS[layout](tmp_path / "there"))
    pairs = list(found)
    assert len(pairs) == len(found) == (2 if layout == "cityscapes" else 1)
    for pair in pairs:
        assert (pair.image.shape, pair.mask.shape, str(pair.mask.dtype)) == ((6, 8, 3), (6, 8), "uint8")
        corners = (pair.mask[0, 0], pair.mask[0, -1], pair.mask[-1, 0], pair.mask[-1, -1])
        assert tuple(GROUND[each] for each in corners) == EXPECTED[layout]
        np.testing.assert_array_equal(pair.mask, layouts.quarters(*map(int, corners)))
    assert len({pair.image.tobytes() for pair in pairs}) == len(pairs), "each with its own picture"
    assert found.licence


def test_every_rule_names_a_class_and_the_longest_counts() -> None:
    for rules in (ground_classes.CITYSCAPES, ground_classes.ADE20K, ground_classes.VISTAS, ground_classes.COCO):
        assert set(rules) <= set(GROUND)
    for name, found in (
        ("construction--flat--bike-lane", "road"),
        ("construction--flat--crosswalk-plain", "crosswalk"),
        ("construction--barrier--curb", "curb"),
        ("construction--flat--curb-cut", "walkable"),
        ("object--street-light", "obstacle"),
        ("object--manhole", "unknown"),
        ("object--support--pole", "obstacle"),
        ("nature--sky", "unknown"),
    ):
        assert ground_class(name, ground_classes.VISTAS) == found, name
    assert ground_class("carpet", ground_classes.COCO) == "unknown", "no car"
    known = {
        name for name in ground_classes.CITYSCAPES_NAMES if ground_class(name, ground_classes.CITYSCAPES) != "unknown"
    }
    assert "sky" not in known
    assert len(ground_classes.CITYSCAPES_NAMES) == 34
    assert len(known) == 24


def test_an_id_without_a_name_is_unknown(tmp_path: Path) -> None:
    folder = layouts.cityscapes(tmp_path)
    for mask in folder.rglob("*_labelIds.png"):
        layouts.grey(mask, layouts.quarters(255, 34, 8, 0))
    pair = next(iter(masks.open_masks("cityscapes", folder)))
    assert sorted(set(pair.mask.ravel().tolist())) == [0, GROUND.index("walkable")]


def test_an_own_map_comes_before_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('road = "walkable"\nsky = "obstacle"\n')
    found = masks.open_masks("cityscapes", layouts.cityscapes(tmp_path / "there"), own=ground_classes.read_map(file))
    pair = next(iter(found))
    assert (GROUND[pair.mask[0, 0]], GROUND[pair.mask[-1, -1]]) == ("obstacle", "walkable")
    file.write_text('road = "lava"\n')
    with pytest.raises(ConfigError, match=r"'road' is mapped to 'lava'\. The classes are: unknown, walkable"):
        ground_classes.read_map(file)


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no masks of the layout vistas"):
        masks.open_masks("vistas", tmp_path)
    folder = layouts.vistas(tmp_path / "vistas")
    mask, image = folder / "validation" / "labels" / "_0jk.png", folder / "validation" / "images" / "_0jk.jpg"
    layouts.picture(image, shape=(12, 16))
    with pytest.raises(DatasetError, match=r"_0jk\.png is \(6, 8\), its picture \(12, 16\)"):
        list(masks.open_masks("vistas", folder))
    layouts.picture(image)
    mask.write_bytes(mask.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"The mask .*_0jk\.png cannot be read"):
        list(masks.open_masks("vistas", folder))
    layouts.vistas(folder)
    image.unlink()
    with pytest.raises(DatasetError, match=r"The picture _0jk\.jpg cannot be read"):
        list(masks.open_masks("vistas", folder))
    coco = layouts.coco(tmp_path / "coco")
    (coco / "annotations" / "panoptic_val2017.json").write_text('{"categories": []}')
    with pytest.raises(DatasetError, match=r"panoptic_val2017\.json has no list 'images'"):
        masks.open_masks("coco", coco)
    ade = layouts.ade20k(tmp_path / "ade")
    (ade / "objectInfo150.txt").unlink()
    with pytest.raises(DatasetError, match=r"objectInfo150\.txt cannot be read"):
        masks.open_masks("ade20k", ade)


def test_the_command_tells_shares_and_the_licence(tmp_path: Path) -> None:
    folder = layouts.cityscapes(tmp_path / "there")
    done = server(tmp_path, "samples", "masks", "cityscapes", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no commercial use" in done.stdout
    assert "2 of 2 pictures" in done.stdout
    found = json.loads(server(tmp_path, "samples", "masks", "cityscapes", folder, "--json", "--limit", 1).stdout)
    assert (found["pictures"], found["all"]) == (1, 2)
    assert found["classes"]["walkable"] == {"pixels": 0.25, "pictures": 1}
    assert sum(each["pixels"] for each in found["classes"].values()) == pytest.approx(1.0)
    assert server(tmp_path, "samples", "masks", "elsewhere", folder).returncode == 2
    assert server(tmp_path, "samples", "masks", "coco", folder).returncode == 1
