"""How right a ground head is on real pictures: by class, with the row that needs no eyes beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from server.dataset.mask_cells import UNTOLD
from server.evaluation import ground
from server.evaluation.ground import CONSTANT, MODEL
from shared.runtime.look import LOOK
from shared.sight.ground import GROUND
from tests.server.commands.terminal import server
from tests.server.dataset import layouts
from tests.shared.runtime import small_eyes
from tests.shared.runtime.altered import rewrite

WALKABLE, ROAD, CURB, OBSTACLE = map(GROUND.index, ("walkable", "road", "curb", "obstacle"))
TOLD = np.array([[ROAD, ROAD, WALKABLE, UNTOLD], [ROAD, ROAD, ROAD, OBSTACLE], [ROAD, WALKABLE, WALKABLE, UNTOLD]])
SAID = np.array([[ROAD, CURB, WALKABLE, ROAD], [ROAD, ROAD, WALKABLE, OBSTACLE], [ROAD, WALKABLE, ROAD, ROAD]])


def test_each_class_is_counted_in_the_cells_of_which_the_masks_tell() -> None:
    found = ground.report(TOLD, SAID)
    assert (found["pictures"], found["cells"]) == (3, 10)
    row = found["rows"][MODEL]
    assert row["right"][0] == 0.7
    road, walkable, curb = (row["classes"][name] for name in ("road", "walkable", "curb"))
    assert (road["cells"], road["pictures"], road["said"]) == (6, 3, 5)
    assert [road[key][0] for key in ("precision", "recall", "iou")] == pytest.approx([4 / 5, 4 / 6, 4 / 7], abs=1e-4)
    assert [walkable[key][0] for key in ("precision", "recall")] == pytest.approx([2 / 3, 2 / 3], abs=1e-4)
    assert (curb["cells"], curb["precision"][0], curb["recall"]) == (0, 0.0, None)
    assert set(row["classes"]) == {"road", "walkable", "curb", "obstacle"}
    assert row["mean_iou"] == pytest.approx(np.mean([4 / 7, 2 / 4, 1]), abs=1e-4), "of classes that are there"
    low, high = row["right"][1:]
    assert low <= 0.7 <= high


def test_the_row_that_needs_no_eyes_says_what_is_most_frequent_at_each_place() -> None:
    assert ground.most_frequent(TOLD).tolist() == [[ROAD, ROAD, WALKABLE, OBSTACLE]] * 3
    assert ground.report(TOLD, SAID)["rows"][CONSTANT]["right"][0] == 0.8
    assert ground.report(TOLD, ground.most_frequent(TOLD))["rows"][MODEL]["right"][0] == 0.8


def test_the_terminal_shows_both_rows() -> None:
    text = "\n".join(ground.lines(ground.report(TOLD, SAID)))
    assert text.startswith("3 pictures, 10 cells of which the masks tell.")
    assert text.index(f"{MODEL}: right 0.70") < text.index(f"{CONSTANT}: right 0.80")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With eyes that have no ground head, and others whose ground is a road above on the right, else walkable."""
    folder = tmp_path_factory.mktemp("ground") / "home"
    plain, bundle = folder.parent / "plain", folder.parent / "bundle"
    small_eyes.export_small(plain)
    model = small_eyes.export_small(bundle).model
    head = small_eyes.WithHead(len(model["objects"]), len(model["sides"]), red=0, distance=True)
    small_eyes.write_eyes(head, bundle / LOOK)
    rewrite(bundle, version="small-ground")
    for words in (("init",), ("models", "add", bundle), ("models", "add", plain)):
        done = server(folder, *words)
        assert done.returncode == 0, done.stderr
    return folder


def judged(folder: Path, *more: str) -> tuple[str | Path, ...]:
    return ("models", "ground", "small-ground", "--masks", folder, "--layout", "cityscapes", *more)


def test_the_command_judges_a_version_on_the_splits_that_never_teach(home: Path, tmp_path: Path) -> None:
    folder = layouts.cityscapes(tmp_path / "city")
    for kind in ("leftImg8bit", "gtFine"):
        (folder / kind / "val").mkdir()
        (folder / kind / "train" / "bochum").rename(folder / kind / "val" / "bochum")
    done = server(home, *judged(folder, "--json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["version"], found["pictures"], found["cells"]) == ("small-ground", 1, 3)
    classes = found["rows"][MODEL]["classes"]
    assert {name: each["cells"] for name, each in classes.items()} == {"walkable": 1, "road": 1, "obstacle": 1}
    assert (classes["walkable"]["precision"][0], classes["walkable"]["recall"][0]) == (0.5, 1.0)
    assert (classes["road"]["precision"][0], classes["road"]["recall"][0]) == (0.0, 0.0)
    assert found["rows"][CONSTANT]["right"][0] == 1.0, "of one picture it knows all"
    assert "no commercial use" in found["licence"]
    assert "most frequent class per place: right 1.00" in server(home, *judged(folder)).stdout


def test_the_command_says_why_it_cannot(home: Path, tmp_path: Path) -> None:
    city = layouts.cityscapes(tmp_path / "city")
    refused = server(home, *judged(city))
    assert refused.returncode == 2
    assert "--training" in refused.stderr
    assert "2 pictures" in server(home, *judged(city, "--training")).stdout
    command = [str(word).replace("small-ground", "small-1") for word in judged(city, "--training")]
    without = server(home, *command)
    assert (without.returncode, "has no ground head" in without.stderr) == (2, True)
