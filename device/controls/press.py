"""What a key's ups and downs mean: short, long and double presses. Pure, and the same for every kind of button.

    down ─ up                        short: at once, or once no second press came within `double_s`
    down ─ ─ ─ ─ up                  long when it has been down for `hold_s`, and the end of it when it is up
    down ─ up ─ down                 double: at the second down; its up means nothing

A key that is reported as down twice is down (autorepeat); an up without a down is nothing. Where events were lost, a
long press ends, and one that nobody knows the length of is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class PressKind(StrEnum):
    """What was pressed."""

    SHORT = "short"
    LONG = "long"
    LONG_ENDED = "long ended"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True)
class PressTiming:
    """How presses are told apart."""

    hold_s: float = 0.6
    double_s: float = 0.4
    """The longest time between the end of a first and the beginning of a second press."""
    doubles: bool = False
    """Whether a double press means anything; where not, a short one need not wait for a second."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The key went down or up."""

    down: bool


@dataclass(frozen=True, slots=True)
class EventsLost:
    """Whether the key went down or up meanwhile is not known; it counts as up."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A press. t_s: when it began; of LONG_ENDED, when the key was up."""

    kind: PressKind
    t_s: float


@dataclass(frozen=True, slots=True)
class PressState:
    """What is known of one key."""

    down_s: float | None = None
    """Since when it is down; None = it is up."""
    long: bool = False
    spent: bool = False
    """What it was pressed for has been given out."""
    first_s: float | None = None
    """When a short press began that may become a double one."""
    first_up_s: float = 0.0


Step = tuple[PressState, tuple[Recognised, ...]]


def step(state: PressState, event: Edge | EventsLost | None, now_s: float, timing: PressTiming) -> Step:
    """One event, or that time passed (None). now_s: when it happened, on a clock that does not go back."""
    state, due = _passed(state, now_s, timing)
    if event is None:
        return state, due
    if isinstance(event, EventsLost):
        return _lost(state, now_s, due)
    state, more = _down(state, now_s) if event.down else _up(state, now_s, timing)
    return state, due + more


def _passed(state: PressState, now_s: float, timing: PressTiming) -> Step:
    if state.down_s is not None and not (state.long or state.spent) and now_s - state.down_s >= timing.hold_s:
        return replace(state, long=True), (Recognised(PressKind.LONG, state.down_s),)
    if state.first_s is not None and now_s - state.first_up_s >= timing.double_s:
        return replace(state, first_s=None), (Recognised(PressKind.SHORT, state.first_s),)
    return state, ()


def _down(state: PressState, now_s: float) -> Step:
    if state.down_s is not None:
        return state, ()
    if state.first_s is not None:
        return PressState(down_s=now_s, spent=True), (Recognised(PressKind.DOUBLE, state.first_s),)
    return PressState(down_s=now_s), ()


def _up(state: PressState, now_s: float, timing: PressTiming) -> Step:
    if state.down_s is None:
        return state, ()
    if state.long:
        return PressState(), (Recognised(PressKind.LONG_ENDED, now_s),)
    if state.spent:
        return PressState(), ()
    if timing.doubles:
        return PressState(first_s=state.down_s, first_up_s=now_s), ()
    return PressState(), (Recognised(PressKind.SHORT, state.down_s),)


def _lost(state: PressState, now_s: float, due: tuple[Recognised, ...]) -> Step:
    if state.long:
        due += (Recognised(PressKind.LONG_ENDED, now_s),)
    elif state.first_s is not None:
        due += (Recognised(PressKind.SHORT, state.first_s),)
    return PressState(), due
