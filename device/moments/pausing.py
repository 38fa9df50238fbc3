"""Whether anything is recorded: off and on by hand, by a switch whose position is the state, or by a place. Pure.

    by hand      a press turns it off, the next one on again
    a switch     off while it is on, whatever a press says
    a place      off from when it is entered until it is left; a press turns it on before

What one of them turned off stays off until nothing turns it off any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

PAUSED = "Recording paused."
RESUMED = "Recording is on."
STILL_PAUSED = "Recording stays paused by the switch."
STARTS_PAUSED = "Recording is still paused."
NOT_WHILE_PAUSED = "Not kept, recording is paused."
NOT_OVER_A_RESTART = "Paused until the next start only."
PAUSE_TEXTS = (PAUSED, RESUMED, STILL_PAUSED, STARTS_PAUSED, NOT_WHILE_PAUSED, NOT_OVER_A_RESTART)
ABOUT = "recording"


class PauseEvent(StrEnum):
    """What happened."""

    PRESSED = "pressed"
    SWITCH_ON = "switch on"
    SWITCH_OFF = "switch off"
    ZONE_ENTERED = "zone entered"
    ZONE_LEFT = "zone left"


@dataclass(frozen=True, slots=True)
class Pausing:
    """What turns recording off now."""

    by_hand: bool = False
    by_switch: bool = False
    by_place: bool = False

    @property
    def paused(self) -> bool:
        return self.by_hand or self.by_switch or self.by_place


def step(state: Pausing, event: PauseEvent) -> tuple[Pausing, str | None]:
    """(state, what to say or None)."""
    after = _after(state, event)
    if after.paused != state.paused:
        return after, PAUSED if after.paused else RESUMED
    return after, STILL_PAUSED if event is PauseEvent.PRESSED else None


def _after(state: Pausing, event: PauseEvent) -> Pausing:
    match event:
        case PauseEvent.PRESSED:
            # On means on: neither an earlier press nor the place holds it back. The switch does.
            off = not state.paused
            return Pausing(by_hand=off, by_switch=state.by_switch)
        case PauseEvent.SWITCH_ON | PauseEvent.SWITCH_OFF:
            return Pausing(state.by_hand, event is PauseEvent.SWITCH_ON, state.by_place)
        case PauseEvent.ZONE_ENTERED | PauseEvent.ZONE_LEFT:
            return Pausing(state.by_hand, state.by_switch, event is PauseEvent.ZONE_ENTERED)
        case _:
            assert_never(event)
