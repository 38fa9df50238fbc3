"""What somebody wants to be told of and when, as the forms of two pages send it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from server.telling.people import PersonTold
from server.telling.step import NewsKind


class ChoicesForm(BaseModel):
    """What of, and when not."""

    kinds: list[NewsKind] = Field([], max_length=len(NewsKind))
    quiet: str = Field("", max_length=11)
    zone: str = Field("UTC", max_length=60)
    cool_down_h: float = Field(12.0, ge=0.1, le=720)
    wake: Literal["yes", "no"] = "no"
    """Whether a call for help comes in quiet hours; a box that is not ticked sends nothing."""

    def told(self, urls: tuple[str, ...] = (), wearers: tuple[str, ...] = ()) -> PersonTold:
        """As it is kept."""
        kinds, zone = tuple(map(str, self.kinds)), self.zone.strip() or "UTC"
        return PersonTold(
            urls, kinds, self.quiet.strip(), zone, self.cool_down_h, wearers, help_in_quiet=self.wake == "yes"
        )


class PersonForm(ChoicesForm):
    """A person of telling.toml."""

    name: str = Field(max_length=32)
    urls: str = Field(max_length=4000)
    wearers: str = Field("", max_length=2000)
    wake: Literal["yes", "no"] = "yes"
