"""How long a night trains, with which values, and what ends it early."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from server.dataset.sample_row import SampleRow
from server.learn import devices, lora, presets, validation
from server.learn.eta import Eta
from server.learn.recipe import Recipe, Schedule
from server.learn.settings import LearnSettings
from server.learn.tuning import Tuning
from server.learn.watching import Deadline
from server.model import checkpoint as checkpoints
from shared.clock import ManualClock
from shared.errors import ConfigError
from tests.paths import ROOT
from tests.server.learn.parts import examples
from tests.server.learn.test_rows import ROW

RECIPE = Recipe(rank=4, alpha=8, steps=12, batch=6, rate=2e-2, head_rate=1e-2, replay=0, threads=1)


def test_the_steps_follow_the_rows_within_bounds() -> None:
    schedule, recipe = Schedule(epochs=2.0, least=240, most=960), Recipe()
    steps = {rows: schedule.steps(rows, recipe, replay=True) for rows in (25, 1000, 3000, 10_000)}
    assert steps == {25: 240, 1000: 240, 3000: 625, 10_000: 960}
    assert schedule.steps(10_000, recipe, replay=False) == 625
    assert schedule.steps(10_000, replace(recipe, batch=8, accumulate=4), replay=False) == 625


def test_every_row_is_drawn_before_any_comes_again() -> None:
    order = lora._order(900, 4000, Recipe(steps=240))
    counts = np.bincount(order[order < 900], minlength=900)
    assert counts.min() >= 2
    assert counts.max() - counts.min() <= 1


def test_ten_thousand_rows_are_all_drawn_over_a_few_nights() -> None:
    """What had no place counts as new the next night."""
    values = presets.recipe_values(LearnSettings(), rows=10_000, replay=True)
    assert 9000 < Recipe(**values).draws(replay=True) < 10_000


def test_a_preset_fills_what_is_left_at_its_default() -> None:
    base = LearnSettings(base="HuggingFaceTB/SmolVLM2-256M-Video-Instruct", rate=0.01)
    values = presets.recipe_values(base, rows=100, replay=False, fits=500)
    assert (values["rate"], values["batch"], values["accumulate"], values["variations"]) == (0.01, 8, 4, 8)
    assert values["views_most"] == 500
    assert presets.chosen(replace(base, base="/models/my-own")) is None
    assert presets.chosen(replace(base, base="x", preset="smolvlm2-500m")) == presets.PRESETS["smolvlm2-500m"]
    names = set(presets.effective(LearnSettings())) | {item.name for item in fields(Tuning)}
    assert all(set(preset.values) <= names for preset in presets.PRESETS.values())
    assert presets.recipe_values(LearnSettings(), rows=25, replay=True) == {
        name: getattr(Recipe(), name) for name in presets.recipe_values(LearnSettings(), rows=25, replay=True)
    }, "the starter's recipe is the default one"


def test_a_deadline_ends_a_training_and_says_so() -> None:
    clock, said = ManualClock(), list[str]()
    deadline = Deadline(60.0, clock, said.append)
    state, control = SimpleNamespace(global_step=3, max_steps=10), SimpleNamespace(should_training_stop=False)
    deadline.on_train_begin(None, state, control)
    clock.sleep(59.0)
    deadline.on_step_end(None, state, control)
    assert not control.should_training_stop
    clock.sleep(2.0)
    deadline.on_step_end(None, state, control)
    assert control.should_training_stop
    assert said == ["learn.hours_most is over: the training ends at step 3"]


def test_what_is_left_is_said_once_it_is_worth_it() -> None:
    now = [0.0]
    eta = Eta(100, clock=lambda: now[0])
    assert eta.after(0) == ""
    eta.begin(20)
    now[0] = 60.0
    assert eta.after(40) == ", about 3 min left"
    assert eta.after(100) == ""
    now[0] = 6000.0
    assert eta.after(40) == ", about 5 h 0 min left"


def rows(count: int, walk_of: int) -> list[SampleRow]:
    return [replace(ROW, row_id=f"s{n}#1", sample_id=f"s{n:06d}", walk_id=f"w{n // walk_of}") for n in range(count)]


@pytest.mark.parametrize("walk_of", [5, 1000])
def test_what_is_held_back_stays_so_whatever_comes(walk_of: int) -> None:
    many = rows(1000, walk_of)
    teach, held = validation.split(many, 0.1)
    assert 0 < len(held) <= validation.HELD_MOST
    more_teach, more_held = validation.split([*many, *rows(1100, walk_of)[1000:]], 0.1)
    assert not {row.row_id for row in more_held} & {row.row_id for row in teach}
    assert not {row.row_id for row in held} & {row.row_id for row in more_teach}
    if walk_of == 5:
        assert not {row.walk_id for row in held} & {row.walk_id for row in teach}, "whole walks"
    assert validation.split(many[:49], 0.1) == (many[:49], [])
    assert validation.split(many, 0.0) == (many, [])


def test_slot_f1_counts_what_is_said_and_what_is_missed() -> None:
    assert validation.slot_f1(["Stop, curb ahead."], ["Stop, curb ahead."]) == 1.0
    assert 0 < validation.slot_f1(["Stop, pole ahead."], ["Stop, curb ahead."]) < 1.0
    assert validation.slot_f1(["nonsense"], ["Stop, curb ahead."]) == 0.0
    assert validation.slot_f1([""], [""]) == 1.0


def test_the_best_epoch_is_kept_and_the_training_stops_early(base: Path, tmp_path: Path) -> None:
    """Held back are the same pictures with other words: the better it learns, the worse it does on them."""
    of, said = checkpoints.load(base), list[str]()
    given = examples(8, of)
    contrary = [replace(one, text=given[(at + 1) % 8].text) for at, one in enumerate(given)]
    recipe = replace(RECIPE, steps=60, patience=2, connector_rate=2e-2)
    trained = lora.train(of, given, [], recipe, tmp_path / "night", held=contrary, progress=said.append)
    losses = [found["eval_loss"] for found in trained.validation]
    assert trained.steps < 60
    assert len(losses) - 1 - losses.index(min(losses)) == 2
    assert any("stops early" in line for line in said)
    step = trained.validation[losses.index(min(losses))]["step"]
    assert f"the weights of step {step:.0f} are kept: they did best" in said


@pytest.mark.parametrize(
    "changes",
    [{"dora": True}, {"rslora": True, "dropout": 0.1}, {"connector": "lora"}, {"connector": "frozen"},
     {"gradient_checkpointing": True, "accumulate": 2}, {"precision": "bf16"}],
    ids=lambda changes: "-".join(changes),
)  # fmt: skip
def test_every_way_to_adapt_learns_and_merges(base: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    of = checkpoints.load(base)
    before = {name: weight.clone() for name, weight in of.model.state_dict().items()}
    given = examples(8, of)
    trained = lora.train(of, given, [], replace(RECIPE, **changes), tmp_path / "night")  # type: ignore[arg-type]
    assert trained.loss_last < trained.loss_first
    after = of.model.state_dict()
    assert after.keys() == before.keys()
    connector = next(name for name in before if "modality_projection" in name)
    moved = not torch.equal(before[connector], after[connector])
    assert moved == (changes.get("connector") != "frozen")


def test_on_an_accelerator_no_tensor_is_left_on_the_wrong_device(base: Path) -> None:
    """In a process of its own: an accelerator that was registered once is there for every test after it."""
    command = [sys.executable, "-m", "tests.server.learn.accelerator", str(base)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["losses"] == found["grads"] == found["features"] == ["pretend:0"]
    assert found["refused"] == ["answers", "features"], "the check can fail"


def test_a_gpu_that_is_not_there_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert devices.chosen("auto") == devices.chosen("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"learn\.device is cuda, and PyTorch finds no GPU"):
        devices.chosen("cuda")
    assert not devices.bf16(devices.CPU, "auto")
    assert devices.bf16(devices.CPU, "bf16")
