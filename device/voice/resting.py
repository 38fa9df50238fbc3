"""Outputs that did not work, and how long each is left alone while another does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FIRST_S, MOST_S = 30.0, 1920.0
"""How long it rests: doubled each time it fails again, for each try of one that takes no sound is 2 s of silence."""
WORKS_S = 10.0  # after so long an output has proved that it works


@dataclass(frozen=True, slots=True)
class OutputRest:
    """Of one output. Times are monotonic."""

    lasts_s: float
    until_s: float


Rests = Mapping[str, OutputRest]
"""By the output's name."""


def failed(rests: Rests, name: str, now_s: float) -> Rests:
    """It could not be opened, or takes no sound."""
    before = rests.get(name)
    lasts_s = FIRST_S if before is None else min(MOST_S, 2 * before.lasts_s)
    return {**rests, name: OutputRest(lasts_s, now_s + lasts_s)}


def worked(rests: Rests, name: str) -> Rests:
    """It played for WORKS_S."""
    return {other: rest for other, rest in rests.items() if other != name}


def of(rests: Rests, listed: Iterable[str]) -> Rests:
    """One that left the list begins anew when it comes back."""
    return {name: rests[name] for name in listed if name in rests}


def is_resting(rests: Rests, name: str, now_s: float) -> bool:
    rest = rests.get(name)
    return rest is not None and now_s < rest.until_s


def any_due(rests: Rests, since_s: float, now_s: float) -> bool:
    """Whether one may be tried again that could not at `since_s`."""
    return any(since_s < rest.until_s <= now_s for rest in rests.values())
