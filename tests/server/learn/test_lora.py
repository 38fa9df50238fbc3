"""A night's training, on a checkpoint of the hub's shape with a few thousand weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from server.dataset import feature_cache
from server.learn import lora, run_card, saves
from server.learn.features import cache_of
from server.learn.recipe import Recipe
from server.model import checkpoint as checkpoints
from server.model.checkpoint import HEAD_FILE, Checkpoint
from shared.errors import DatasetError
from tests.server.learn.parts import examples, save_field_checkpoint
from tests.server.learn.test_rows import ROW

RECIPE = Recipe(rank=4, alpha=8, steps=20, batch=6, rate=2e-2, head_rate=1e-2, replay=0, threads=1)
SHORT = replace(RECIPE, steps=4)


@pytest.fixture(scope="module", params=[pytest.param(False, marks=pytest.mark.soak), True], ids=["untied", "tied"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return save_field_checkpoint(tmp_path_factory.mktemp("hub") / "hub", tied=request.param)


@dataclass(frozen=True, slots=True)
class ShortNight:
    """What four steps left behind. Read only."""

    folder: Path
    after: Checkpoint
    trained: lora.Trained


@pytest.fixture(scope="module")
def short_night(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> ShortNight:
    folder = tmp_path_factory.mktemp("short") / "night"
    after, trained, _ = teach(hub, folder, SHORT)
    return ShortNight(folder, after, trained)


def teach(hub: Path, folder: Path, recipe: Recipe = RECIPE) -> tuple[Checkpoint, lora.Trained, list[str]]:
    base, said = checkpoints.load(hub), list[str]()
    rows = examples(12, base)
    trained = lora.train(base, rows[:8], rows[8:], recipe, folder, progress=said.append)
    return base, trained, said


def weights(of: Checkpoint, part: str) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in of.model.state_dict().items() if part in name}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    assert one
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_night_teaches_all_but_the_tower(hub: Path, tmp_path: Path) -> None:
    before = checkpoints.load(hub)
    after, trained, said = teach(hub, tmp_path / "night")
    assert trained.loss_last < 0.8 * trained.loss_first
    assert any(text.startswith("LoRA step 20/20") for text in said)
    assert same(weights(before, "vision_model"), weights(after, "vision_model"))
    assert not same(weights(before, "connector"), weights(after, "connector"))
    assert not same(weights(before, "q_proj.weight"), weights(after, "q_proj.weight"))
    assert not torch.equal(before.head.bias, after.head.bias)


def test_the_model_is_merged_and_saves_as_any_other(hub: Path, tmp_path: Path, short_night: ShortNight) -> None:
    after = short_night.after
    assert after.model.state_dict().keys() == checkpoints.load(hub).model.state_dict().keys()
    checkpoints.save(after, tmp_path / "merged")
    again = checkpoints.load(tmp_path / "merged")
    assert same(weights(after, "text_model"), weights(again, "text_model"))


def test_the_adapter_is_kept_with_its_head_and_recipe(short_night: ShortNight) -> None:
    adapter = short_night.folder / "adapter"
    names = {file.name for file in adapter.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", HEAD_FILE, "recipe.json"} <= names
    assert json.loads((adapter / "recipe.json").read_text()) == asdict(SHORT)
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == SHORT.rank


def test_plain_peft_loads_the_adapter_as_its_card_says(hub: Path, tmp_path: Path, short_night: ShortNight) -> None:
    after, trained = short_night.after, short_night.trained
    adapter = Path(shutil.copytree(short_night.folder / "adapter", tmp_path / "adapter"))
    row = replace(ROW, ground_truth="Caution, pole on the left.")
    card = run_card.RunCard("n1", str(hub), None, (7, "abc"), [row], trained, "trial", ["few walks"], {"recall": 0.5})
    run_card.write(adapter, card)
    said = (adapter / "README.md").read_text()
    assert all(part in said for part in ("| pole | 1 |", "SHA-256 abc", "| recall | 0.500 |", "few walks", str(hub)))
    code = said.partition("```python\n")[2].partition("```")[0].replace("PATH/TO/THIS/FOLDER", str(adapter))
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102 (as its reader runs it)
    merged = found["model"].state_dict()
    named = {name: weight for name, weight in after.model.state_dict().items() if "text_model" in name}
    assert all(torch.allclose(merged[name], weight, atol=1e-6) for name, weight in named.items())


def test_features_are_computed_once_and_only_of_what_is_drawn(hub: Path, tmp_path: Path) -> None:
    short = Recipe(**{**asdict(RECIPE), "steps": 4, "new_share": 0.1, "batch": 3})
    _, trained, first = teach(hub, tmp_path / "night", short)
    (file,) = (tmp_path / "night" / "features").iterdir()
    made = file.stat().st_ino
    _, again, second = teach(hub, tmp_path / "night", short)
    assert trained == again
    assert trained.drawn < 12
    assert f"tower features {trained.drawn}/{trained.drawn}" in first
    assert not any("tower features" in text for text in second)
    assert [*file.parent.iterdir()] == [file]
    assert file.stat().st_ino == made


def test_a_night_reads_the_features_of_nights_before_it(hub: Path, tmp_path: Path) -> None:
    base, short = checkpoints.load(hub), replace(RECIPE, steps=8)
    cache = cache_of(base, tmp_path / "features")
    rows = examples(13, base)
    around = lora.Surroundings(cache=cache)
    lora.train(base, rows[:8], rows[8:12], short, tmp_path / "one", around=around)
    said: list[str] = []
    again = checkpoints.load(hub)
    around = lora.Surroundings(cache=cache_of(again, tmp_path / "features"))
    lora.train(again, rows[:6], rows[8:12], short, tmp_path / "two", around=around, progress=said.append)
    assert [text for text in said if text.startswith("tower features")] == []
    third = checkpoints.load(hub)
    around = lora.Surroundings(cache=cache_of(third, tmp_path / "features"))
    lora.train(third, [*rows[:8], rows[12]], rows[8:12], short, tmp_path / "three", around=around, progress=said.append)
    assert [text for text in said if text.startswith("tower features")] == ["tower features 1/1"]


def test_tower_features_that_were_cut_go_on_in_the_middle_and_to_the_same_bytes(hub: Path, tmp_path: Path) -> None:
    """Batches are those of the undisturbed night, whatever the cache holds of them."""
    short = replace(RECIPE, steps=4, new_share=0.5)

    def run(name: str, stop: str | None) -> tuple[Checkpoint, list[str]]:
        base, said = checkpoints.load(hub), list[str]()
        rows = examples(12, base)

        def progress(text: str) -> None:
            said.append(text)
            if stop is not None and text.startswith(stop):
                raise InterruptedError

        cache = cache_of(base, tmp_path / name / "features")
        around = lora.Surroundings(cache=cache)
        lora.train(base, rows[:8], rows[8:], short, tmp_path / name, around=around, progress=progress)
        return base, said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_cache, "SHARD_BYTES", 3 * cache_of(checkpoints.load(hub), tmp_path / "x").value_bytes)
        whole, first = run("whole", None)
        with pytest.raises(InterruptedError):
            run("cut", "tower features 6/")
        resumed, second = run("cut", None)
    assert next(text for text in first if text.startswith("tower features")).startswith("tower features 3/")
    assert next(text for text in second if text.startswith("tower features")).startswith("tower features 9/")
    assert same(dict(whole.model.state_dict()), dict(resumed.model.state_dict()))


def test_a_training_that_was_cut_goes_on_to_the_same_end(hub: Path, tmp_path: Path) -> None:
    recipe = Recipe(**{**asdict(RECIPE), "steps": 8})
    whole, first, _ = teach(hub, tmp_path / "whole", recipe)

    class PowerCut(Exception):
        pass

    def cut(text: str) -> None:
        if text.startswith("LoRA step 6/"):
            raise PowerCut

    base = checkpoints.load(hub)
    rows = examples(12, base)
    with pytest.raises(PowerCut):
        lora.train(base, rows[:8], rows[8:], recipe, tmp_path / "cut", progress=cut)
    assert not (tmp_path / "cut" / "adapter").exists()
    resumed, trained, said = teach(hub, tmp_path / "cut", recipe)
    steps = [text for text in said if text.startswith("LoRA step")]
    assert steps[0].startswith("LoRA step 5/8"), "it began again instead of going on from its save at step 4"
    assert trained.steps == 8
    assert trained == first, "the losses before the cut are not forgotten"
    assert same(dict(whole.model.state_dict()), dict(resumed.model.state_dict())), "to the bit"
    assert torch.equal(resumed.head.bias, whole.head.bias)


@pytest.mark.parametrize("left", ["first", "empty", "unmarked", "torn", "renamed"])
def test_a_save_that_a_kill_left_half_done_is_dropped(
    hub: Path, tmp_path: Path, short_night: ShortNight, left: str
) -> None:
    steps = tmp_path / "night" / "steps"
    shutil.copytree(short_night.folder / "steps", steps)
    (save,) = steps.iterdir()
    half = steps / "checkpoint-9"
    if left == "first":  # killed right after the folder of the very first save was made
        shutil.rmtree(save)
        (steps / "checkpoint-1").mkdir()
    elif left == "empty":
        half.mkdir()
    elif left == "unmarked":
        shutil.copytree(save, half)
        (half / saves.MARK).unlink()
    elif left == "torn":
        shutil.copytree(save, half)
        with open(half / "optimizer.pt", "r+b") as file:
            file.truncate(100)
    else:
        shutil.copytree(save, half.with_name(half.name + ".gone"))
    resumed, _, _ = teach(hub, tmp_path / "night", SHORT)
    assert [path.name for path in steps.iterdir()] == [save.name]
    assert same(dict(short_night.after.model.state_dict()), dict(resumed.model.state_dict()))


def test_only_the_newest_whole_save_is_kept(hub: Path, tmp_path: Path) -> None:
    teach(hub, tmp_path / "night", Recipe(**{**asdict(RECIPE), "steps": 8}))
    assert [path.name for path in (tmp_path / "night" / "steps").iterdir()] == ["checkpoint-8"]
    assert saves.last(tmp_path / "night" / "steps") == tmp_path / "night" / "steps" / "checkpoint-8"
    assert saves.last(tmp_path / "nowhere") is None
    names = load_file(tmp_path / "night" / "steps" / "checkpoint-8" / "model.safetensors")
    assert names
    assert not [name for name in names if "base_layer" in name or "vision_model" in name], "the base lies there anyway"


def test_a_save_of_another_training_is_refused(hub: Path, tmp_path: Path, short_night: ShortNight) -> None:
    shutil.copytree(short_night.folder, tmp_path / "night")
    save = tmp_path / "night" / "steps" / "checkpoint-4"
    weights = load_file(save / "model.safetensors")
    save_file(dict(list(weights.items())[1:]), save / "model.safetensors", metadata={"format": "pt"})
    (save / saves.MARK).unlink()
    saves.seal(save)
    with pytest.raises(DatasetError, match="does not fit"):
        teach(hub, tmp_path / "night", SHORT)


def test_an_untaught_head_is_the_same_every_time(hub: Path) -> None:
    one = checkpoints.load(hub)
    torch.rand(5)
    other = checkpoints.load(hub)
    assert all(torch.equal(a, b) for a, b in zip(one.head.parameters(), other.head.parameters(), strict=True))
    assert checkpoints.fingerprint(one) == checkpoints.fingerprint(other)


def test_other_weights_or_another_tokenizer_are_another_base(hub: Path) -> None:
    base = checkpoints.load(hub)
    known = {checkpoints.fingerprint(base)}
    with torch.no_grad():
        next(base.model.parameters()).flatten()[0] += 1e-6
    known.add(checkpoints.fingerprint(base))
    base.tokenizer.add_tokens(["pelican crossing"])
    known.add(checkpoints.fingerprint(base))
    base.head.bias.data[0, 0] += 1
    known.add(checkpoints.fingerprint(base))
    assert len(known) == 4


def test_batches_hold_the_share_of_new_rows_that_the_recipe_says() -> None:
    order = lora._order(10, 90, Recipe(steps=100, batch=32, new_share=0.4))
    assert 0.36 < (order < 10).mean() < 0.44
    assert order.max() < 100
    assert set(order[order < 10].tolist()) == set(range(10))
    assert (lora._order(10, 0, Recipe(steps=10)) < 10).all()


def test_masks_take_their_share_of_every_batch_and_without_them_the_order_is_as_it_was() -> None:
    recipe = Recipe(steps=100, batch=32, new_share=0.4, mask_share=0.2)
    plain, order = lora._order(10, 90, recipe), lora._order(10, 90, recipe, masked=5)
    assert 0.17 < (order >= 100).mean() < 0.23
    assert order.max() == 104
    np.testing.assert_array_equal(order[order < 100], plain[order < 100])
