"""Values of a recipe that fit a base or a task, by name: what is left at its default takes them.

    name of a preset  →  values by the name of a setting  →  server.learn.tuning, and the night's recipe

`qved-stage3` has the figures of the QVED recipe for Mobile-VideoGPT: stage 3 only, over a checkpoint that is whole.
source: docs/seeds.md, "Exercise feedback"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """What differs from the defaults."""

    part: str
    """Of the names of bases that it fits, in lower case."""
    licence: str
    """Of such a base, as its publisher states it."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By the name of a setting."""


_QVED = {
    "epochs": 8.0,
    "rate": 1e-4,
    "connector_rate": 2e-5,
    "rank": 64,
    "alpha": 128,
    "batch": 8,
    "accumulate": 2,
    "max_length": 2048,
    "top_k": 4,
    "precision": "bf16",
    "gradient_checkpointing": True,
}
PRESETS: Mapping[str, Preset] = {"qved-stage3": Preset("mobile-videogpt", "none stated", _QVED)}
