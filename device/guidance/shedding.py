"""What a hot or slow board gives up, and in which order: clips, then the decoder's wording, then looks. Pure.

    step(state, load, now_s, rules) -> (state, text)     state.level, looks_per_s and first_look say what follows

Warnings are never given up: they come from the look itself, and go out with the table's words. Heat is followed at
once; slowness one level at a time, so that the next is given up only where the one before did not help, unless a look
takes so long that one level cannot help. What was given up comes back after half a minute of calm, one level at a time,
and later each time that this was too soon.

A board whose looks take longer than a second warns at the first look that shows something to stop for: the second of
two would come a metre or two later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from device.guidance.look_times import LATE_S

SLOWER = "Guidance is slower."
FULL_SPEED = "Guidance is at full speed."
SHED_TEXTS = (SLOWER, FULL_SPEED)
ABOUT_SPEED = "speed"

COOLER_C = 5.0
UP_S = 3.0
DOWN_S = 30.0
MOST_DOWN_S = 900.0
TOO_SOON_S = 60.0
CALM = 0.7  # of what a level begins at: below it, the board could do without
SHARES = (1.0, 1.5, 2.0)  # of the time between two looks that a look takes, from which on each level is due
HOPELESS = 2.0  # of the length of a look at which all is given up: at once, then
NOTICED_S = 0.5  # a look that is shorter is not called slow, whatever the settings want
FIRST_LOOK_S, NOT_FIRST_LOOK_S = 1.0, 0.7
LEAST_LOOKS_PER_S = 1.0


class Shed(IntEnum):
    """What is given up: this, and all before it."""

    NOTHING = 0
    CLIPS = 1
    WORDING = 2
    LOOKS = 3


@dataclass(frozen=True, slots=True)
class BoardLoad:
    """None = not known."""

    heat_c: float | None = None
    slowed: bool | None = None
    """The firmware slows the processor down for heat."""
    look_s: float | None = None
    """How long a look takes: the middle one of the last few."""


@dataclass(frozen=True, slots=True)
class ShedRules:
    hot_c: float = 75.0
    too_hot_c: float = 82.0
    looks_per_s: float = 4.0
    """As the settings want it."""

    @property
    def heat_c(self) -> tuple[float, float, float]:
        """From which heat on each level is due."""
        return self.hot_c, (self.hot_c + self.too_hot_c) / 2, self.too_hot_c

    @property
    def look_s(self) -> tuple[float, float, float]:
        """From which length of a look on each level is due."""
        clips, wording, looks = (share / self.looks_per_s for share in SHARES)
        return clips, wording, max(looks, NOTICED_S)


@dataclass(frozen=True, slots=True)
class ShedState:
    """Start with ShedState.of(rules)."""

    looks_per_s: float
    """How often to look now."""
    by_heat: Shed = Shed.NOTHING
    by_slowness: Shed = Shed.NOTHING
    first_look: bool = False
    """Something to stop for is warned of at the first look."""
    slow_since_s: float | None = None
    calm_since_s: float | None = None
    down_s: float = DOWN_S
    """How long it must be calm before a level is taken back."""
    taken_back_s: float = float("-inf")
    told: bool = False
    """SLOWER was the last word."""

    @classmethod
    def of(cls, rules: ShedRules) -> ShedState:
        return cls(rules.looks_per_s)

    @property
    def level(self) -> Shed:
        return max(self.by_heat, self.by_slowness)


def step(state: ShedState, load: BoardLoad, now_s: float, rules: ShedRules) -> tuple[ShedState, str | None]:
    """(the state from now on, what to say of it or None)"""
    state = replace(state, by_heat=_by_heat(state.by_heat, load, rules))
    if load.look_s is not None:
        state = _by_slowness(state, load.look_s, now_s, rules)
    fewer = state.by_heat == Shed.LOOKS
    looks_per_s = max(min(LEAST_LOOKS_PER_S, rules.looks_per_s), rules.looks_per_s / 2) if fewer else rules.looks_per_s
    state = replace(state, looks_per_s=looks_per_s, first_look=_first_look(state, load.look_s))
    slower, late = state.level == Shed.LOOKS, (load.look_s or 0.0) >= LATE_S
    if slower == state.told or late:  # late looks are announced as a pause
        return state, None
    return replace(state, told=slower), SLOWER if slower else FULL_SPEED


def _by_heat(before: Shed, load: BoardLoad, rules: ShedRules) -> Shed:
    least = Shed.WORDING if load.slowed else Shed.NOTHING
    if load.heat_c is None:
        return least
    due = Shed(sum(load.heat_c >= heat_c for heat_c in rules.heat_c))
    kept = Shed(sum(load.heat_c >= heat_c - COOLER_C for heat_c in rules.heat_c))
    return max(least, due, min(before, kept))


def _by_slowness(state: ShedState, look_s: float, now_s: float, rules: ShedRules) -> ShedState:
    level = state.by_slowness
    if level < Shed.LOOKS and look_s >= rules.look_s[level]:
        hopeless = look_s >= HOPELESS * rules.look_s[-1]
        return _up(replace(state, calm_since_s=None), now_s, Shed.LOOKS if hopeless else Shed(level + 1))
    if level > Shed.NOTHING and look_s < CALM * rules.look_s[level - 1]:
        return _down(replace(state, slow_since_s=None), now_s)
    return replace(state, slow_since_s=None, calm_since_s=None)


def _up(state: ShedState, now_s: float, level: Shed) -> ShedState:
    since_s = now_s if state.slow_since_s is None else state.slow_since_s
    if now_s - since_s < UP_S:
        return replace(state, slow_since_s=since_s)
    too_soon = now_s - state.taken_back_s < TOO_SOON_S
    down_s = min(2 * state.down_s, MOST_DOWN_S) if too_soon else state.down_s
    return replace(state, by_slowness=level, slow_since_s=None, down_s=down_s)


def _down(state: ShedState, now_s: float) -> ShedState:
    since_s = now_s if state.calm_since_s is None else state.calm_since_s
    if now_s - since_s < state.down_s:
        return replace(state, calm_since_s=since_s)
    level = Shed(state.by_slowness - 1)
    down_s = DOWN_S if level == Shed.NOTHING and now_s - state.taken_back_s > MOST_DOWN_S else state.down_s
    return replace(state, by_slowness=level, calm_since_s=None, down_s=down_s, taken_back_s=now_s)


def _first_look(state: ShedState, look_s: float | None) -> bool:
    if look_s is None:
        return state.first_look
    return look_s >= (NOT_FIRST_LOOK_S if state.first_look else FIRST_LOOK_S)
