"""An adapter is loaded with the base that it was trained on, and answers as the model that it was merged into."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from server.learn import adapters, base_record, bases, lora
from server.learn.answering import CheckpointAnswerer, ModelInput
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from shared.errors import ConfigError
from tests.server.learn.parts import examples, flat, save_field_checkpoint, save_whisper

RECIPE = Recipe(rank=4, alpha=8, steps=4, batch=6, rate=2e-2, head_rate=1e-2, replay=0, threads=1)
Trained = tuple[Checkpoint, Path]


def teach(base: Checkpoint, folder: Path) -> Trained:
    """A short night: (what it left merged, its adapter)."""
    rows = examples(12, base)
    lora.train(base, rows[:8], rows[8:], RECIPE, folder)
    return base, folder / "adapter"


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return teach(bases.load_base(LearnSettings(base=str(base)), Path("/nowhere")), tmp_path_factory.mktemp("night"))


def load(folder: Path, home: Path, base: Path | str | None = None) -> Checkpoint:
    return adapters.load(folder, home, base=None if base is None else str(base), progress=lambda text: None)


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert one.objects == other.objects
    heads = zip(one.head.state_dict().values(), other.head.state_dict().values(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in heads)


def test_a_nights_adapter_is_loaded_with_its_recorded_base(trained: Trained, tmp_path: Path) -> None:
    after, folder = trained
    loaded = load(folder, tmp_path)
    assert_same(loaded, after)
    asked = [CheckpointAnswerer(of, threads=1).answer(ModelInput(flat(2))) for of in (loaded, after)]
    assert asked[0] == asked[1]
    assert 0 < asked[0].confidence <= 1


def test_a_tied_base_and_one_that_hears_and_is_shown_two_pictures_come_back_too(tmp_path: Path) -> None:
    hub = save_field_checkpoint(tmp_path / "hub", tied=True)
    whisper = save_whisper(tmp_path / "whisper")
    settings = LearnSettings(base=str(hub), audio_encoder=str(whisper), frames=2)
    after, folder = teach(bases.load_base(settings, tmp_path), tmp_path / "night")
    loaded = load(folder, tmp_path)
    assert_same(loaded, after)
    assert loaded.frames == 2
    assert loaded.ear is not None
    assert after.ear is not None
    assert torch.equal(loaded.ear.gate, after.ear.gate)


def test_a_base_of_another_fingerprint_is_refused_with_what_to_do(trained: Trained, base: Path, tmp_path: Path) -> None:
    other = tmp_path / base.name
    shutil.copytree(base, other)
    weights = load_file(other / "model.safetensors")
    first = next(iter(weights))
    weights[first] = weights[first] + 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ConfigError, match=r"trained on small with the fingerprint .*other weights.*--base NAME\|FOLDER"
    ):
        load(trained[1], tmp_path, other)
    shutil.copytree(base, tmp_path / "moved")
    assert_same(load(trained[1], tmp_path, tmp_path / "moved"), trained[0])


def plain(base: Path, folder: Path, *, recorded: str | None = None) -> Checkpoint:
    """What plain peft writes after a training: no file of ours. Returns the merged model."""
    of = checkpoints.load(base)
    adapted = get_peft_model(of.model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(str(folder))
    if recorded is not None:
        file = folder / adapters.CONFIG
        file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": recorded}))
    adapted.merge_and_unload()
    return of


def test_a_plain_peft_folder_is_loaded_with_the_bases_own_head(base: Path, tmp_path: Path) -> None:
    after = plain(base, tmp_path / "plain")
    loaded = load(tmp_path / "plain", tmp_path)
    assert_same(loaded, after)


def test_a_base_of_plain_peft_that_lies_elsewhere_is_named(base: Path, tmp_path: Path) -> None:
    after = plain(base, tmp_path / "plain", recorded="somebody/small")
    assert_same(load(tmp_path / "plain", tmp_path, base), after)


def test_of_plain_peft_a_base_of_another_name_is_refused(base: Path, tmp_path: Path) -> None:
    plain(base, tmp_path / "plain", recorded="somebody/SmolVLM-large")
    with pytest.raises(ConfigError, match=r"trained on somebody/SmolVLM-large, and .*has another name.*--base"):
        load(tmp_path / "plain", tmp_path, base)
    plain(base, tmp_path / "nameless", recorded="")
    with pytest.raises(ConfigError, match=r"does not say which base.*--base"):
        load(tmp_path / "nameless", tmp_path)


@pytest.mark.parametrize("damage", ["config", "weights", "no weights", "pickle", "renamed", "lost", "head", "record"])
def test_a_damaged_adapter_is_refused_and_says_so(trained: Trained, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(trained[1], folder)
    weights = load_file(folder / "adapter_model.safetensors")
    first = next(iter(weights))
    if damage == "config":
        (folder / adapters.CONFIG).write_text('{"peft_type": "LORA", ')
    elif damage == "weights":
        with open(folder / "adapter_model.safetensors", "r+b") as file:
            file.truncate(1000)
    elif damage == "no weights":
        (folder / "adapter_model.safetensors").unlink()
    elif damage == "pickle":
        (folder / "adapter_model.safetensors").unlink()
        (folder / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    elif damage == "renamed":
        save_file({f"{first}.of_another": weights.pop(first), **weights}, folder / "adapter_model.safetensors")
    elif damage == "lost":
        save_file({k: v for k, v in weights.items() if k != first}, folder / "adapter_model.safetensors")
    elif damage == "head":
        save_file({"patch.weight": torch.zeros(2, 2)}, folder / checkpoints.HEAD_FILE)
    else:
        (folder / base_record.FILE).write_text('{"name": 3}')
    with pytest.raises(
        ConfigError, match=r"cannot be read|does not fit .* or is damaged|has no adapter_model.safetensors"
    ):
        load(folder, tmp_path)
