"""A training step without what no loss looks at has the loss and the gradients of the whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from server.learn import lora
from server.learn.recipe import Recipe
from server.model import answer_pass
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.model.guide import IGNORE, Batch, Guide
from tests.server.learn.parts import save_field_checkpoint

LONGEST = (5, 3, 0, 1, 5)
"""Tokens of each row's answer; of one nothing is known to be said."""


def adapted(folder: Path, *, frames: int = 1, tied: bool = False, **recipe: Any) -> Checkpoint:
    base = checkpoints.load(save_field_checkpoint(folder / "hub", tied=tied))
    base.frames = frames
    lora.adapt(base, Recipe(rank=4, alpha=12, **recipe))
    torch.manual_seed(5)
    for name, weight in base.model.named_parameters():
        if "lora_B" in name:  # zeros at first, which would hide whether they are used
            torch.nn.init.normal_(weight, std=0.1)
    return base


def batch(of: Checkpoint, longest: tuple[int, ...] = LONGEST) -> Batch:
    torch.manual_seed(6)
    answers = torch.randint(5, 400, (len(longest), max(longest)))
    for row, said in enumerate(longest):
        answers[row, said:] = IGNORE
    shape = len(longest), of.patches, int(of.model.config.vision_config.hidden_size)
    found: Batch = {"answers": answers, "features": torch.randn(shape)}
    if of.frames == 2:
        found["previous"] = torch.randn(shape)
    return found


def learnt(of: Checkpoint, given: Batch, *, brief: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss, gradient of each weight that is taught)"""
    guide = Guide(of, brief=brief)
    guide.zero_grad()
    loss = guide(given)["loss"]
    torch.autograd.backward(loss)
    return loss.detach(), {n: p.grad.clone() for n, p in guide.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "made",
    [{}, {"frames": 2}, {"tied": True}, {"dora": True}, {"rslora": True, "connector": "lora"}],
    ids=["plain", "two pictures", "tied", "dora", "rslora"],
)
def test_loss_and_gradients_are_those_of_the_whole_pass(tmp_path: Path, made: dict[str, Any]) -> None:
    base = adapted(tmp_path, **made)
    given = batch(base)
    assert answer_pass.fits(base.model.model.text_model, given["features"])
    whole, of_whole = learnt(base, given, brief=False)
    brief, of_brief = learnt(base, given, brief=True)
    assert brief == pytest.approx(float(whole), rel=1e-5)
    assert of_brief.keys() == of_whole.keys()
    assert any("lora_A" in name for name in of_whole)
    for name, gradient in of_whole.items():
        assert torch.allclose(of_brief[name], gradient, atol=1e-5 * float(gradient.abs().max()), rtol=1e-3), name


def test_a_batch_in_which_nothing_is_said_has_no_language_loss(tmp_path: Path) -> None:
    base = adapted(tmp_path)
    given = batch(base, (0, 0, 1))
    given["answers"][2] = IGNORE
    assert float(Guide(base, brief=True)(given)["language_loss"]) == 0.0


def test_it_computes_less(tmp_path: Path) -> None:
    base, spent = adapted(tmp_path), dict[bool, int]()
    for brief in (False, True):
        with FlopCounterMode(display=False) as counter:
            learnt(base, batch(base), brief=brief)
        spent[brief] = counter.get_total_flops()
    assert spent[True] < 0.7 * spent[False]


def test_a_decoder_of_another_type_takes_its_own_pass(tmp_path: Path) -> None:
    base = adapted(tmp_path)
    text_model = base.model.model.text_model
    features = batch(base)["features"]
    assert not answer_pass.fits(text_model, features.to(torch.bfloat16))
    assert not answer_pass.fits(base.model.model.vision_model, features)
    with torch.autocast("cpu", torch.bfloat16):
        assert not answer_pass.fits(text_model, features)
