"""What a press may ask for, and the contract of everything that can be pressed.

    flag      keep this moment
    hold      a correction begins: say what should have been said …
    release   … until here
    repeat    say the last guidance again
    mute      voice off or on
    louder    the voice a step louder
    quieter   the voice a step quieter
    sees      say what the model sees and does not see
    ahead     say what the newest look shows
    status    say how the device is: battery, network, what waits
    pause     recording off or on
    forget    what was recorded in the last five minutes is erased, here and on the server
    discard   the last correction is erased, here and on the server
    profile   put on the next profile
    help      ask for help: caregivers are told
    setup     open the set-up, or close it: a code before the camera changes server or network
    quit      end the walk

and of things that have a position:

    switch_on, switch_off        a switch pauses recording while it is on
    zone_entered, zone_left      so does a place
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ButtonAction(StrEnum):
    """What a press asks for."""

    FLAG = "flag"
    HOLD = "hold"
    RELEASE = "release"
    REPEAT = "repeat"
    MUTE = "mute"
    LOUDER = "louder"
    QUIETER = "quieter"
    SEES = "sees"
    AHEAD = "ahead"
    STATUS = "status"
    PAUSE = "pause"
    FORGET = "forget"
    DISCARD = "discard"
    SWITCH_ON = "switch_on"
    SWITCH_OFF = "switch_off"
    ZONE_ENTERED = "zone_entered"
    ZONE_LEFT = "zone_left"
    PROFILE = "profile"
    HELP = "help"
    SETUP = "setup"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Press:
    """One press."""

    action: ButtonAction
    t_s: float
    """Walk time at which the button went down (for release: up)."""


class Buttons(Protocol):
    """Something to press."""

    def open(self) -> None:
        """Raises: ConfigError."""
        ...

    def poll(self, now_s: float) -> list[Press]:
        """Presses up to walk time `now_s` that were not given out yet, in order. Raises: InputGone."""
        ...

    def close(self) -> None:
        """Let go. May be called again; may be opened again after that."""
        ...
