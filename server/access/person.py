"""Who asks, as every route reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from server.consent.terms import Consents


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
    """Whose moments they may see (server.consent.terms.wearer_of); None = all wearers'."""
    consents: Consents | None = field(default=None, compare=False)
    """What wearers agree to at this request; None = nobody is asked for it: an admin, a command, a test."""


ALONE = Person("caregiver", Role.ADMIN)
"""Whoever sits at the machine itself, while there are no accounts."""
