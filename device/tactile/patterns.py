"""What is felt: a pattern of two parameters, which motor and how urgent. More than that nobody tells apart on a walk.

    urgent   felt as             of what
    1        three strong, fast  a warning: what to stop for
    2        one, softer         an obstacle or a turn, or where to check
    3        two slow ones       news about the device itself; on all motors

Landmarks are not felt: a belt that buzzes at every door is soon taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat

from shared.policy import GUIDANCE
from shared.sides import Side

WARNING, OBSTACLE, NEWS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Buzz:
    """One vibration."""

    side: Side
    """LEFT or RIGHT motor; AHEAD = both."""
    tier: int
    """WARNING, OBSTACLE or NEWS."""


@dataclass(frozen=True, slots=True)
class Pulses:
    """A buzz in time: `count` times `on_s` at `strength` 0..1, with `off_s` between."""

    count: int
    on_s: float
    off_s: float
    strength: float

    @property
    def lasts_s(self) -> float:
        return self.count * self.on_s + (self.count - 1) * self.off_s

    def levels(self, step_s: float) -> list[float]:
        """Strength in each step of `step_s`, with a last one of 0."""
        on, off = round(self.on_s / step_s), round(self.off_s / step_s)
        one = chain(repeat(self.strength, on), repeat(0.0, off))
        steps = list(one) * self.count
        return [*steps[: len(steps) - off], 0.0]


# A coin motor takes 50 to 100 ms to turn: shorter pulses are not felt.
_PULSES = {WARNING: Pulses(3, 0.15, 0.07, 1.0), OBSTACLE: Pulses(1, 0.2, 0.0, 0.7), NEWS: Pulses(2, 0.4, 0.3, 0.8)}


def pulses_of(tier: int, strength: float = 1.0) -> Pulses:
    """strength: what the wearer has set, 0.1 to 1. A warning is never weaker than half."""
    pulses = _PULSES[tier]
    least = 0.5 if tier == WARNING else 0.0
    return Pulses(pulses.count, pulses.on_s, pulses.off_s, max(least, pulses.strength * strength))


def buzz_of(*, tier: int, why: str, side: Side | None) -> Buzz | None:
    """What is felt of an utterance; None = nothing. tier, why, side: as shared.guidance has them."""
    if tier == 1:
        return Buzz(side or Side.AHEAD, WARNING)
    if why in GUIDANCE or why == "repeat":
        return None if side is None or tier > OBSTACLE else Buzz(side, OBSTACLE)
    return Buzz(Side.AHEAD, NEWS)
