"""Masks that others drew teach the ground head, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server import walks
from server.dataset import masks
from server.eyes.packaged import Eyes, EyesRecord
from server.eyes.ssd_mobilenet import CLASSES, INPUT_PX, SsdMobileNet
from server.eyes.ssd_tokens import SsdTokens
from server.learn import lora, masked, starter_eyes
from server.learn.batches import Layout, from_rendered, pad_answers
from server.learn.recipe import Recipe
from server.model.checkpoint import Checkpoint
from server.model.familiar import PROTOTYPES
from server.model.guide import Guide
from shared.errors import ConfigError, DatasetError
from shared.sight.ground import GROUND
from tests.server.dataset import layouts

WALKABLE, ROAD, WATER = map(GROUND.index, ("walkable", "road", "water"))
Ids = layouts.Ids


def test_only_training_splits_teach(tmp_path: Path) -> None:
    folder = layouts.cityscapes(tmp_path / "city")
    mine, *others = sorted(folder.rglob("*_labelIds.png"))
    for kind in ("leftImg8bit", "gtFine"):
        (folder / kind / "val").mkdir()
        (folder / kind / "train" / mine.parent.name).rename(folder / kind / "val" / mine.parent.name)
    [teaching] = masked.opened(f"cityscapes:{folder}")
    assert [pair.name for pair in teaching] == [file.stem.replace("gtFine_labelIds", "leftImg8bit") for file in others]
    judging = masks.open_masks("cityscapes", folder).of_split(training=False)
    assert {pair.name for pair in judging}.isdisjoint(pair.name for pair in teaching)
    with pytest.raises(DatasetError, match="no pictures of a training split") as refused:
        masked.opened(f"vistas:{layouts.vistas(tmp_path / 'vistas')}")
    assert "they never teach" in str(refused.value.hint)


def test_the_setting_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    assert masked.opened("") == ()
    for wrong in ("/data", "lava:/data", "cityscapes"):
        with pytest.raises(ConfigError, match=r"learn\.masks has") as refused:
            masked.opened(wrong)
        assert "LAYOUT:FOLDER" in str(refused.value.hint)
    with pytest.raises(DatasetError, match="no masks of the layout coco"):
        masked.opened(f"coco:{tmp_path}")


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    """The packaged eyes' network with weights at random."""
    torch.manual_seed(3)
    labels = ("???", "Person", "Car", *(f"thing {at}" for at in range(CLASSES - 3)))
    record = EyesRecord("untaught", "none", "0", "none", "0" * 64, "0" * 64, labels, INPUT_PX)
    return Eyes(SsdMobileNet().eval(), record)


@pytest.fixture
def base(eyes: Eyes) -> Checkpoint:
    return starter_eyes.build(SsdTokens(eyes))


def test_each_picture_is_seen_twice_and_what_is_damaged_is_left_out_and_told(base: Checkpoint, tmp_path: Path) -> None:
    folder = layouts.ade20k(tmp_path / "ade")
    picked = masked.chosen(masked.opened(f"ade20k:{folder}, cityscapes:{layouts.cityscapes(tmp_path / 'city')}"), 9, 1)
    assert len(picked) == 3
    said: list[str] = []
    next(folder.rglob("*.jpg")).write_bytes(b"")
    found = masked.examples(picked, Layout.of(base), seed=1, progress=said.append)
    assert len(found) == 4
    [told] = said
    assert "ADE_train_00000001.jpg cannot be read" in told
    plain, mirrored = (example.ground for example in found[:2])
    assert plain is not None
    assert mirrored is not None
    np.testing.assert_array_equal(plain.reshape(10, 10)[:, ::-1], mirrored.reshape(10, 10))
    assert (plain.reshape(10, 10)[-1, 0], plain.reshape(10, 10)[-1, -1]) == (WALKABLE, ROAD)
    assert all(example.text is None and not example.hazard_weights.any() for example in found)
    assert masked.chosen((), 9, 1) == []


def test_a_row_without_words_leaves_the_others_losses_as_they_are(base: Checkpoint) -> None:
    layout = Layout.of(base)
    shot = from_rendered(walks.random_frame(np.random.default_rng(1)), layout)
    dim = base.eyes.embeddings.dim if base.eyes else 0
    features, words = torch.randn(2, base.patches, dim), base.answer_ids(shot.text or "")
    guide = Guide(base).eval()
    with torch.no_grad():
        alone = guide({"features": features[:1], "answers": pad_answers([words])})
        both = guide({"features": features, "answers": pad_answers([words, []])})
        none = guide({"features": features, "answers": pad_answers([[], []])})
    assert both["language_loss"].item() == pytest.approx(alone["language_loss"].item(), rel=1e-5)
    assert none["language_loss"].item() == 0.0


@pytest.mark.soak
def test_a_night_learns_the_ground_of_masks_and_does_not_make_their_pictures_familiar(
    base: Checkpoint, eyes: Eyes, tmp_path: Path
) -> None:
    layout, rng = Layout.of(base), np.random.default_rng(1)
    replay = [from_rendered(walks.random_frame(rng), layout) for _ in range(2 * PROTOTYPES + 2)]
    fresh = [replace(replay[0], ground=None)]
    ground = [
        replace(view, ground=np.full(base.patches, WATER, np.int64))
        for view in masked.examples(
            masked.chosen(masked.opened(f"cityscapes:{layouts.cityscapes(tmp_path / 'city')}"), 2, 1),
            layout,
            seed=1,
            progress=pytest.fail,
        )
    ]
    recipe = Recipe(steps=12, batch=4, threads=1, mask_share=0.9)
    lora.train(base, fresh, replay, recipe, tmp_path / "with", masked=ground)
    other = starter_eyes.build(SsdTokens(eyes))
    lora.train(other, fresh, replay, replace(recipe, mask_share=0.0), tmp_path / "without", masked=ground)
    assert base.eyes is not None
    assert other.eyes is not None
    assert base.eyes.ground.classify.bias[WATER] > other.eyes.ground.classify.bias[WATER] + 0.005
    assert torch.equal(base.eyes.familiar.prototypes, other.eyes.familiar.prototypes)
