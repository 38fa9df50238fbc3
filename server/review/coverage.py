"""What was recorded, by where and when, against a plan of what a dataset should hold. Pure but for `plan_of`.

A moment counts where a person confirmed that field; what is only guessed is counted beside it and fills no target.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.labelling.conditions import CHOICES, FIELDS, INDOORS, PERSON
from shared.errors import Refused

SHIPPED = Path(__file__).with_name("recording_plan.toml")
NEXT_MOST = 8
_GRID = ("environment", "lighting")
_SAID = (*FIELDS, *(f"{field}_from" for field in FIELDS))
_Kinds = Sequence[tuple[Mapping[str, str], int]]
"""What is said of a moment → of how many."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One choice, or several together."""

    where: tuple[tuple[str, str], ...]
    """(field, choice) of each."""
    want: int
    """0 = the plan does not ask for it."""
    confirmed: int
    guessed: int
    """Moments that are in it only if guesses are right."""

    @property
    def missing(self) -> int:
        """Confirmed moments that the plan asks for and that are not there."""
        return max(0, self.want - self.confirmed)

    @property
    def name(self) -> str:
        """In words."""
        return ", ".join(choice for _, choice in self.where)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What there is."""

    moments: int
    unknown: Mapping[str, int]
    """Field → moments of which nobody has said it, not even as a guess."""
    cells: tuple[Cell, ...]
    """Every choice, and what the plan asks for together."""
    grid: Mapping[str, Mapping[str, int]]
    """Environment → lighting → moments, confirmed or guessed."""


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """How many moments of what: ((field, choice), ...) → number."""

    want: Mapping[tuple[tuple[str, str], ...], int]


def plan_of(path: Path = SHIPPED) -> RecordingPlan:
    """Raises: Refused naming what in the file is no plan; OSError."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
        want: dict[tuple[tuple[str, str], ...], int] = {
            ((field, choice),): _number(n) for field in FIELDS for choice, n in value.pop(field, {}).items()
        }
        for entry in value.pop("together", []):
            number = _number(entry.pop("want"))
            want[tuple((field, entry.pop(field)) for field in FIELDS if field in entry)] = number
            value |= entry  # what is left is no field
        if value:
            raise ValueError(f"{next(iter(value))!r} is no field of a moment")
        _check(want)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        hint = "; ".join(f"{name}: {', '.join(choices)}" for name, choices in CHOICES.items())
        raise Refused(f"{path} is no recording plan: {why}.", hint=hint) from None
    return RecordingPlan(want)


def _check(want: Iterable[tuple[tuple[str, str], ...]]) -> None:
    for field, choice in (pair for where in want for pair in where):
        if choice not in CHOICES[field]:
            raise ValueError(f"{choice!r} is no {field}")


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r:.40} is no number of moments")
    return value


def covered(moments: Iterable[Mapping[str, str]], plan: RecordingPlan) -> Coverage:
    """Count moments. Each: field → choice, and `{field}_from`; what is missing or "" nobody has said."""
    counted = Counter(tuple(moment.get(name, "") for name in _SAID) for moment in moments)
    kinds = [(dict(zip(_SAID, said, strict=True)), n) for said, n in counted.items()]  # a few hundred different ones
    alone = [((field, choice),) for field in FIELDS for choice in CHOICES[field]]
    asked = [*alone, *(where for where in plan.want if len(where) > 1)]
    cells = tuple(_cell(where, kinds, plan.want.get(where, 0)) for where in asked)
    return Coverage(counted.total(), _unknown(kinds), cells, _grid(kinds))


def _unknown(kinds: _Kinds) -> dict[str, int]:
    unknown = {field: sum(n for kind, n in kinds if not kind[field]) for field in FIELDS}
    # Indoors there is no weather.
    unknown["weather"] -= sum(n for kind, n in kinds if not kind["weather"] and kind["environment"] in INDOORS)
    return unknown


def _grid(kinds: _Kinds) -> dict[str, dict[str, int]]:
    row, column = _GRID
    found = {name: dict.fromkeys(CHOICES[column], 0) for name in CHOICES[row]}
    for kind, n in kinds:
        if kind[row] in found and kind[column] in CHOICES[column]:
            found[kind[row]][kind[column]] += n
    return found


def _cell(where: tuple[tuple[str, str], ...], kinds: _Kinds, want: int) -> Cell:
    inside = [(kind, n) for kind, n in kinds if all(kind[field] == choice for field, choice in where)]
    sure = sum(n for kind, n in inside if all(kind[f"{field}_from"] == PERSON for field, _ in where))
    return Cell(where, want, sure, sum(n for _, n in inside) - sure)


def next_up(coverage: Coverage) -> list[str]:
    """What to record or confirm next, in sentences, the emptiest first."""
    short = sorted((cell for cell in coverage.cells if cell.missing), key=lambda c: (c.confirmed / c.want, -c.missing))
    sentences = [_sentence(cell) for cell in short[:NEXT_MOST]]
    if len(short) > NEXT_MOST:
        sentences.append(f"{len(short) - NEXT_MOST} more are not full yet.")
    return sentences or ["The plan is full."]


def _sentence(cell: Cell) -> str:
    missing = f"{cell.missing} more of {cell.name} ({cell.confirmed} of {cell.want} are there)"
    if cell.guessed:
        likely = min(cell.guessed, cell.missing)
        return f"Confirm {likely} that look like {cell.name}, then record what is missing: {missing}."
    return f"Record {missing}."


def to_dict(coverage: Coverage) -> dict[str, Any]:
    """As JSON values."""
    cells = [
        {**dict(cell.where), "want": cell.want, "confirmed": cell.confirmed, "guessed": cell.guessed}
        | {"missing": cell.missing}
        for cell in coverage.cells
    ]
    parts = {"moments": coverage.moments, "unknown": dict(coverage.unknown), "cells": cells}
    return {**parts, "grid": {name: dict(lights) for name, lights in coverage.grid.items()}, "next": next_up(coverage)}
