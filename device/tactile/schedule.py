"""Which vibration goes first: a pure step, for a loop that drives the motors.

Promises:

1. A warning starts at once: it ends whatever else is felt, and never waits for another vibration.
2. Guidance is of now: an obstacle that comes while a warning is felt is dropped, not kept for later. A warning on the
   other side takes over; the same one again changes nothing.
3. News about the device waits for its turn, once. It is not about the way, so it may.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from device.tactile.patterns import NEWS, Buzz, pulses_of


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """What is felt, and until when (monotonic)."""

    felt: Buzz | None = None
    until_s: float = 0.0
    news: Buzz | None = None
    """Waits for its turn."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Something is to be felt."""

    buzz: Buzz


@dataclass(frozen=True, slots=True)
class Waited:
    """Nothing was asked for meanwhile."""


@dataclass(frozen=True, slots=True)
class Start:
    """Drive the motors; what they do now ends."""

    buzz: Buzz


Step = tuple[ScheduleState, tuple[Start, ...]]


def step(state: ScheduleState, event: Asked | Waited, now_s: float) -> Step:
    """now_s: monotonic"""
    if state.felt is not None and now_s >= state.until_s:
        state = replace(state, felt=None)
    if isinstance(event, Waited):
        return (state, ()) if state.felt is not None or state.news is None else _start(state, state.news, now_s)
    felt = state.felt
    if felt is None:
        return _start(state, event.buzz, now_s)
    if _takes_over(event.buzz, felt):
        cut = replace(state, news=felt) if felt.tier == NEWS else state  # news that is cut off is felt again
        return _start(cut, event.buzz, now_s)
    return (replace(state, news=event.buzz), ()) if event.buzz.tier == NEWS != felt.tier else (state, ())


def _takes_over(buzz: Buzz, felt: Buzz) -> bool:
    return buzz.tier < felt.tier or (buzz.tier == felt.tier < NEWS and buzz.side != felt.side)


def next_s(state: ScheduleState) -> float | None:
    """When time itself may start something; None = never."""
    return None if state.news is None else state.until_s


def _start(state: ScheduleState, buzz: Buzz, now_s: float) -> Step:
    news = None if buzz.tier == NEWS else state.news
    return ScheduleState(buzz, now_s + pulses_of(buzz.tier).lasts_s, news), (Start(buzz),)
