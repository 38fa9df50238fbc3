"""Where and when a moment was recorded, as the page asks it: four choices, of which a guess is shown as a guess."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from server.dataset import surroundings
from server.dataset.sample_row import SampleRow
from server.labelling import conditions

MAX_CHOICE = 60


@dataclass(frozen=True, slots=True)
class WhereChoice:
    """One of the four fields."""

    name: str
    choices: tuple[str, ...]
    said: str
    """What a person said, "" = nobody has."""
    guess: str
    """What was guessed where nobody has said it, "" = nothing."""


class WhereForm(BaseModel):
    """The four fields, "" = not said."""

    model_config = ConfigDict(extra="forbid")

    environment: str = Field("", max_length=MAX_CHOICE)
    lighting: str = Field("", max_length=MAX_CHOICE)
    weather: str = Field("", max_length=MAX_CHOICE)
    scenario: str = Field("", max_length=MAX_CHOICE)
    within: str = Field("", max_length=1000)
    """The search that the person came from."""

    @property
    def values(self) -> dict[str, str]:
        """Field → choice."""
        return {name: getattr(self, name) for name in conditions.FIELDS}


def choices_of(row: SampleRow) -> tuple[WhereChoice, ...]:
    """What the page asks. Pure."""
    fields = surroundings.fields_of(row)
    said = conditions.said(fields)
    return tuple(
        WhereChoice(name, choices, said.get(name, ""), "" if name in said else fields[name])
        for name, choices in conditions.CHOICES.items()
    )


def told(choices: tuple[WhereChoice, ...]) -> str:
    """What is known, in words: what a person said, then what is only guessed. Pure."""
    said = ", ".join(item.said for item in choices if item.said)
    guessed = ", ".join(item.guess for item in choices if item.guess)
    return "; ".join(filter(None, (said or "not said yet", guessed and f"looks like {guessed}")))
