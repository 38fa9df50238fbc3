"""Checkpoints: the starter, one as the hub holds it, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from server import walks
from server.learn import starter
from server.learn.bases import STARTER_FOLDER
from server.model import checkpoint as checkpoints
from server.model import tokens
from server.model.checkpoint import EXTRA_FILE, FIELD_TILE_PX, HEAD_FILE
from shared import prompt, vocabulary
from shared.errors import ConfigError
from tests.server.learn.parts import save_field_checkpoint


def test_a_hub_checkpoint_loads_with_the_defaults_of_a_field_model(tmp_path: Path) -> None:
    loaded = checkpoints.load(save_field_checkpoint(tmp_path / "SmolVLM-tiny"))
    assert loaded.intended_use == "field"
    assert loaded.name == "SmolVLM-tiny"
    assert loaded.known == ()
    assert (loaded.preprocessing.size_px, loaded.preprocessing.fit) == (FIELD_TILE_PX, "pad")
    assert loaded.objects == tuple(vocabulary.load().objects)
    assert (loaded.patches, loaded.image_tokens) == (16, 4)
    assert next(loaded.model.parameters()).dtype == torch.float32
    with torch.no_grad():
        image = loaded.model.model.connector(torch.zeros(1, loaded.patches, 32))
    assert image.shape[1] == loaded.image_tokens


def test_a_fresh_head_is_silent_at_first(tmp_path: Path) -> None:
    loaded = checkpoints.load(save_field_checkpoint(tmp_path / "hub"))
    with torch.no_grad():
        features = loaded.model.model.vision_model(pixel_values=torch.zeros(1, 3, 256, 256)).last_hidden_state
        scores = loaded.head(features)[1].sigmoid()
    spoken = loaded.thresholds["hazard_above"]
    assert float(scores.median()) < spoken
    assert float(scores.max()) < spoken


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_saved_loads_as_it_was(tmp_path: Path, tied: bool) -> None:
    first = checkpoints.load(save_field_checkpoint(tmp_path / "hub", tied=tied))
    first.name, first.intended_use, first.known = "ours", "demo", ("curb", "pole")
    first.thresholds = {"hazard_above": 0.7, "speak_above": 0.4, "flag_below": 0.55}
    torch.nn.init.normal_(first.head.place)
    checkpoints.save(first, tmp_path / "saved")
    again = checkpoints.load(tmp_path / "saved")
    assert (again.name, again.intended_use, again.known) == ("ours", "demo", ("curb", "pole"))
    assert (again.preprocessing, again.objects, again.sides) == (first.preprocessing, first.objects, first.sides)
    assert dict(again.thresholds) == dict(first.thresholds)
    for mine, theirs in ((first.model, again.model), (first.head, again.head)):
        kept = theirs.state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in mine.state_dict().items())
    assert again.answer_ids("Stop, curb ahead.") == first.answer_ids("Stop, curb ahead.")
    assert not list(tmp_path.glob("*.part"))


def test_saving_again_replaces_the_folder_as_a_whole(tmp_path: Path) -> None:
    loaded = checkpoints.load(save_field_checkpoint(tmp_path / "hub"))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "left over").write_text("from before")
    checkpoints.save(loaded, tmp_path / "saved", dtype=torch.float16)
    assert not (tmp_path / "saved" / "left over").exists()
    assert next(checkpoints.load(tmp_path / "saved").model.parameters()).dtype == torch.float32


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.*could not be loaded.*Give the name"):
        checkpoints.load(tmp_path / "nowhere")


def test_a_folder_without_a_model_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not be loaded"):
        checkpoints.load(tmp_path)


def test_a_model_that_sees_nothing_is_refused(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=900, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "text")
    tokens.build().save_pretrained(tmp_path / "text")
    with pytest.raises(ConfigError, match="text"):
        checkpoints.load(tmp_path / "text")


def test_the_shipped_starter_is_small_and_says_what_it_is() -> None:
    assert sum(file.stat().st_size for file in STARTER_FOLDER.iterdir()) <= starter.MOST_BYTES
    said = json.loads((STARTER_FOLDER / EXTRA_FILE).read_text())
    assert said["intended_use"] == "demo"
    assert tuple(said["known"]) == walks.KNOWN
    assert not set(said["known"]) & set(walks.HELD_BACK)
    assert set(said["objects"]) <= set(vocabulary.load().objects), "a night adds what it was not built for"
    assert (STARTER_FOLDER / HEAD_FILE).is_file()


def test_the_shipped_starter_has_the_sizes_that_its_recipe_builds() -> None:
    built, shipped = starter.build(), checkpoints.load(STARTER_FOLDER)
    assert {k: v.shape for k, v in built.model.state_dict().items()} == {
        k: v.shape for k, v in shipped.model.state_dict().items()
    }
    assert built.preprocessing == shipped.preprocessing
    assert shipped.end_id == shipped.answer_ids("")[-1]
    assert shipped.tokenizer.decode(shipped.before_ids()) == prompt.before_image()
    assert shipped.tokenizer.decode(shipped.after_ids()) == prompt.after_image()
