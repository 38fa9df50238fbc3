"""The bars that a release is held to, and that the gate takes its floors from. Plain numbers, without imports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that a release is held to."""

    name: str
    path: tuple[str, ...]
    """Where the figure stands in the summary."""
    least: float | None = None
    most: float | None = None
    of_perfect: bool = False
    """Held as a share of what a perfect model reaches through the same policy."""


TIER1_RECALL = 0.9
TIER2_OF_PERFECT = 0.7
FALSE_ALARMS_A_MINUTE = 1.0
FALSE_CLEAR = 0.02
GRAMMAR = 1.0
REPEATS = 0
CALIBRATION_ERROR = 0.05

BARS = (
    Bar("tier-1 event recall", ("recall", "1", "recall", "share"), least=TIER1_RECALL),
    Bar("tier-2 event recall, of perfect", ("recall", "2", "recall", "share"), least=TIER2_OF_PERFECT, of_perfect=True),
    Bar("false alarms a minute", ("false_alarms", "rate", "per_minute"), most=FALSE_ALARMS_A_MINUTE),
    Bar("false-clear rate", ("false_clear", "model", "share"), most=FALSE_CLEAR),
    Bar("filtered grammar rate", ("grammar", "filtered", "share"), least=GRAMMAR),
    Bar("repeats within 10 s", ("speech", "repeats"), most=REPEATS),
    Bar("calibration error (ECE)", ("calibration", "ece"), most=CALIBRATION_ERROR),
)
