"""Where a night computes, and how precisely: the CPU, or a GPU in bfloat16 and back again.

Weights stay in float32 everywhere and only products are made in bfloat16 (autocast): what goes to the GPU and comes
back is the same to the bit. Export, parity and the golden chunks run on the CPU, so all of a model comes back after
training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from server.learn.recipe import DeviceName, Precision
from server.model.checkpoint import Checkpoint
from shared.errors import ConfigError

CPU = torch.device("cpu")


def chosen(name: DeviceName) -> torch.device:
    """The device that a setting names; auto: the GPU where there is one. Raises: ConfigError where there is none."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError(
            "learn.device is cuda, and PyTorch finds no GPU here.",
            hint='Write learn.device = "auto", or install a PyTorch with CUDA and its driver.',
        )
    return torch.device("cuda") if there and name != "cpu" else CPU


def bf16(device: torch.device, precision: Precision) -> bool:
    """Whether products are made in bfloat16. Raises: ConfigError where they cannot be."""
    if device.type == "cpu":
        return precision == "bf16"
    able = device.type != "cuda" or torch.cuda.is_bf16_supported()
    if precision == "bf16" and not able:
        raise ConfigError(
            "learn.precision is bf16, which this GPU does not compute in.", hint='Write learn.precision = "float32".'
        )
    return able and precision != "float32"


def lower(device: torch.device) -> AbstractContextManager[Any]:
    """Frozen networks compute in bfloat16 on a GPU that can; on the CPU in float32, where bfloat16 is slower."""
    if device.type == "cpu" or not bf16(device, "auto"):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def on(module: nn.Module, device: torch.device) -> Iterator[None]:
    """The module is on the device meanwhile, and afterwards on the CPU."""
    module.to(device)
    try:
        yield
    finally:
        module.to(CPU)


def bring_home(base: Checkpoint, *others: nn.Module) -> None:
    """All of a model back to the CPU, and the GPU's memory free for others. others: what wraps it"""
    eyes = [] if base.eyes is None else [base.eyes.ground, base.eyes.familiar, base.eyes.embeddings]
    for module in (base.model, base.head, base.ear, *eyes, *others):
        if module is not None:
            module.to(CPU)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
