"""Values of a recipe that fit a base or a task, by name: what is left at its default takes them.

    learn.preset = "auto"  →  by the base's name  →  name of a preset  →  values by the name of a setting
    finetune --preset NAME →  server.learn.tuning

The starter's were measured here (docs/learning.md). The others' follow published recipes: adapters at 1e-4 to 2e-4 and
the connector at a quarter to a fifth of that (ms-swift's scripts for vision models), with fewer views of each picture,
for their features are 16 times larger. `qved-stage3` has the figures of the QVED recipe for Mobile-VideoGPT: stage 3
only, over a checkpoint that is whole. source: docs/seeds.md, "Exercise feedback"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from server.learn.recipe import Recipe, Schedule
from server.learn.settings import LearnSettings


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
_SMOLVLM = {"rate": 2e-4, "connector_rate": 5e-5, "batch": 8, "accumulate": 4, "variations": 8, "teach_steps": 48}
PRESETS: Mapping[str, Preset] = {
    "starter": Preset("starter", "Apache-2.0"),
    "smolvlm2-256m": Preset("smolvlm2-256m", "Apache-2.0", _SMOLVLM),
    "smolvlm2-500m": Preset("smolvlm2-500m", "Apache-2.0", {**_SMOLVLM, "rate": 1e-4, "connector_rate": 2e-5}),
    "qved-stage3": Preset("mobile-videogpt", "none stated", _QVED),
}


def chosen(settings: LearnSettings) -> Preset | None:
    """The preset that the settings name, or that fits their base; None where none fits."""
    if settings.preset != "auto":
        return PRESETS[settings.preset]
    name = settings.base.lower()
    return next((preset for preset in PRESETS.values() if preset.part in name), None)


def effective(settings: LearnSettings) -> dict[str, Any]:
    """Every setting, those left at their defaults as the preset has them; a night has no use for a preset's others."""
    preset, plain = chosen(settings), LearnSettings()
    given = {item.name: getattr(settings, item.name) for item in fields(settings)}
    values = {} if preset is None else preset.values
    return given | {
        name: value for name, value in values.items() if name in given and given[name] == getattr(plain, name)
    }


def recipe_values(settings: LearnSettings, *, rows: int, replay: bool, fits: int | None = None) -> dict[str, Any]:
    """The fields of a Recipe for so many rows.

    replay: whether what the base knew is replayed; fits: features that the cache has room for, None = no bound
    """
    values = effective(settings)
    names = {item.name for item in fields(Recipe)}
    given = {name: value for name, value in values.items() if name in names}
    schedule = Schedule(values["epochs"], least=values["steps"], most=max(values["steps"], values["steps_most"]))
    given["steps"] = schedule.steps(rows, Recipe(**given), replay=replay)
    if fits is not None:
        given["views_most"] = max(1, fits - (values["replay"] if replay else 0))
    return given
