"""Who asks, as every route reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person may do: each may do what the one before it may."""

    WEARER = "wearer"
    """Sees and reviews their own moments."""
    CAREGIVER = "caregiver"
    """Sees and reviews the moments of wearers who agreed to it."""
    ADMIN = "admin"
    """Runs the server."""

    def covers(self, least: Role) -> bool:
        """Whether this role may do what `least` may."""
        return _ORDER.index(self) >= _ORDER.index(least)


_ORDER = tuple(Role)


@dataclass(frozen=True, slots=True)
class Person:
    """Who is logged in."""

    name: str
    """Written down with what they decide."""
    role: Role = Role.CAREGIVER
    wearers: frozenset[str] | None = None
    """The `speaker_id`s whose moments they may see; None = all wearers'."""


ALONE = Person("caregiver", Role.ADMIN)
"""Whoever sits at the machine itself, while there are no accounts."""
