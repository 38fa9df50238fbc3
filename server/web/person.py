"""Who asks: the person behind a request, as every route reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import HTTPConnection


class Role(StrEnum):
    """What a person may do: each may do what the one before it may."""

    WEARER = "wearer"
    """Sees and reviews their own moments."""
    CAREGIVER = "caregiver"
    """Sees and reviews the moments of wearers who agreed to it."""
    ADMIN = "admin"
    """Runs the server."""


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


def of(connection: HTTPConnection) -> Person:
    """The person behind a request: middleware puts them into its state. Pure."""
    return getattr(connection.state, "person", ALONE)
