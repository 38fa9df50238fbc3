"""A training step on an accelerator that is not there: `python -m tests.server.learn.accelerator CHECKPOINT`.

PyTorch's own hook for backends (privateuseone) under the name "pretend", with fake tensors: they have a device and no
data, and refuse to compute with tensors of another device, as a GPU does. Prints one JSON object: the devices found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from server.learn import lora
from server.learn.recipe import Recipe
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide

NAME = "pretend"


def moved(module: nn.Module, *, learns: bool = True) -> None:
    """All of its weights and buffers as fakes on the accelerator. learns: weights are parameters; fakes of these cannot
    be moved by `Module.to`, buffers can"""
    for part in module.modules():
        for name, weight in [*part._parameters.items(), *part._buffers.items()]:
            if weight is None:
                continue
            there = torch.empty(weight.shape, dtype=weight.dtype, device=NAME)
            if learns and name in part._parameters:
                part._parameters[name] = nn.Parameter(there, requires_grad=weight.requires_grad)
            else:
                part._parameters.pop(name, None)
                part._buffers[name] = there


def batch(of: Checkpoint, device: str) -> dict[str, Tensor]:
    width = int(of.model.config.vision_config.hidden_size)
    return {
        "features": torch.zeros(2, of.patches, width, device=device),
        "answers": torch.ones(2, 5, dtype=torch.long, device=device),
        "patch_labels": torch.zeros(2, of.patches, dtype=torch.long, device=device),
        "hazards": torch.zeros(2, len(of.objects), len(of.sides), device=device),
    }


def names(tensors: Iterable[Tensor | None]) -> list[str]:
    return sorted({str(tensor.device) for tensor in tensors if tensor is not None})


def refused(guide: Guide, of: Checkpoint, name: str, known: dict[str, Tensor]) -> bool:
    """Whether one tensor on the CPU is noticed."""
    mixed: Any = {**batch(of, NAME), **known, name: batch(of, "cpu")[name]}
    try:
        guide(mixed)
    except RuntimeError as error:
        return "device" in str(error)
    return False


def main(folder: Path) -> None:
    _setup_privateuseone_for_python_backend(NAME)
    of = checkpoints.load(folder)
    lora.adapt(of, Recipe(rank=4))
    guide = Guide(of)
    found: dict[str, list[str]] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved(guide)
        known = {"hazard_weights": torch.ones(2, len(of.objects), len(of.sides), device=NAME)}
        given: Any = {**batch(of, NAME), **known}
        losses = guide(given)
        losses["loss"].backward()
        found["losses"] = names(losses.values())
        found["grads"] = names(weight.grad for weight in guide.parameters())
        size = of.preprocessing.size_px
        found["features"] = names([guide.features(torch.zeros(2, 3, size, size, device=NAME))])
        found["refused"] = [name for name in ("answers", "features") if refused(guide, of, name, known)]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
