"""What a registered version sees, class by class, and how well that was measured.

Figures are those of the version's own evaluation on this server, on moments that taught nobody: of a night, its
held-out moments; of the starter, drawn frames. A version that nobody evaluated has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server.releases.registry import CHAMPION, PREVIOUS, RegisteredModel, Registry
from shared import bundle, model_card, vocabulary
from shared.errors import BundleError

State = Literal["does not see", "not known", "sees"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A share with its 95 % interval (Wilson)."""

    share: float
    low: float
    high: float
    hits: int
    count: int


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One object of the vocabulary."""

    object: str
    tier: int
    state: State
    recall: Measured | None = None
    """Of the moments that are about it: those at which it was named. None = not measured."""
    precision: Measured | None = None
    """Of the moments at which it was named: those that are about it."""


@dataclass(frozen=True, slots=True)
class ModelSheet:
    """One version."""

    version: str
    role: str
    """champion | previous | "" """
    use: str
    """intended_use of its manifest."""
    base: str
    spoken: tuple[str, ...]
    """What wearers hear of it."""
    judged_on: int
    """Moments of its evaluation; 0 = none."""
    rows: tuple[ClassRow, ...]
    """The worst first."""
    trouble: str = ""
    """Why its manifest cannot be read."""


def sheets(registry: Registry) -> list[ModelSheet]:
    """Of every version, the champion first, then the newest."""
    roles = {registry.alias(name): name for name in (PREVIOUS, CHAMPION)}
    made = [sheet_of(model, roles.get(model.version, "")) for model in reversed(registry.list())]
    return sorted(made, key=lambda sheet: sheet.role != CHAMPION)


def sheet_of(model: RegisteredModel, role: str) -> ModelSheet:
    """Of one version; what cannot be read of it is told, not raised."""
    try:
        manifest = bundle.read_manifest(model.bundle_folder)
    except BundleError as error:
        return ModelSheet(model.version, role, "", model.base, (), 0, (), trouble=str(error))
    card, figures = model_card.card_of(manifest.model), _table(model.evaluation.get("evaluation"))
    rows = rows_of(card, _table(figures.get("objects")))
    frames = figures.get("frames")
    judged_on = frames if isinstance(frames, int) else 0
    spoken = model_card.spoken(card)
    return ModelSheet(model.version, role, manifest.intended_use, manifest.base, spoken, judged_on, rows)


def rows_of(card: model_card.SightCard, figures: Mapping[str, Any]) -> tuple[ClassRow, ...]:
    """Every object, the worst first: not seen, not known, not measured, then by recall; the more urgent first.

    figures: object → recall and precision (server.evaluation.answers.summary)
    """
    states: dict[str, State] = {
        **dict.fromkeys(card.unseen, "does not see"),
        **dict.fromkeys(card.unknown, "not known"),
        **dict.fromkeys(card.sees, "sees"),
    }
    objects = vocabulary.load().objects
    rows = [_row(name, objects[name].tier, state, _table(figures.get(name))) for name, state in states.items()]
    return tuple(sorted(rows, key=_goodness))


def _row(name: str, tier: int, state: State, figures: Mapping[str, Any]) -> ClassRow:
    return ClassRow(name, tier, state, _measured(figures.get("recall")), _measured(figures.get("precision")))


def _goodness(row: ClassRow) -> tuple[float, int]:
    if row.state == "sees" and row.recall is not None:
        return 1.0 + row.recall.share, row.tier
    return {"does not see": 0.0, "not known": 0.25, "sees": 0.5}[row.state], row.tier


def _measured(value: Any) -> Measured | None:
    """None where nothing was counted, or it is not as `evaluate` writes it."""
    given = _table(value)
    numbers = [given.get(name) for name in ("share", "low", "high", "hits", "count")]
    plain = [float(number) for number in numbers if isinstance(number, int | float) and math.isfinite(number)]
    if len(plain) < len(numbers) or not plain[-1]:
        return None
    share, low, high, hits, count = plain
    return Measured(share, low, high, int(hits), int(count))


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
