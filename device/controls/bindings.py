"""Which press of which button does what, as the settings say it: "flag, correct, discard" = short, long, double."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from device.controls.actions import ButtonAction, Press
from device.controls.press import PressKind, PressTiming, Recognised
from shared.errors import ConfigError

CORRECT = "correct"
ACTIONS: Mapping[str, ButtonAction] = MappingProxyType(
    {
        "flag": ButtonAction.FLAG,
        CORRECT: ButtonAction.HOLD,
        "repeat": ButtonAction.REPEAT,
        "mute": ButtonAction.MUTE,
        "louder": ButtonAction.LOUDER,
        "quieter": ButtonAction.QUIETER,
        "sees": ButtonAction.SEES,
        "ahead": ButtonAction.AHEAD,
        "status": ButtonAction.STATUS,
        "pause": ButtonAction.PAUSE,
        "forget": ButtonAction.FORGET,
        "discard": ButtonAction.DISCARD,
        "profile": ButtonAction.PROFILE,
        "help": ButtonAction.HELP,
        "setup": ButtonAction.SETUP,
    }
)
"""By their names in the settings. No press ends a walk."""
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Binding:
    """What the presses of one button do; None = nothing."""

    short: ButtonAction | None = None
    long: ButtonAction | None = None
    double: ButtonAction | None = None

    def timing(self, *, hold_s: float, double_s: float) -> PressTiming:
        return PressTiming(hold_s, double_s, doubles=self.double is not None)


def binding(text: str, where: str) -> Binding:
    """A button's presses from the settings. where: names the setting. Raises: ConfigError."""
    names = [name.strip() for name in text.split(",")]
    if len(names) > 3:
        raise ConfigError(f"{where} is {text!r}.", hint="Name at most three: a short, a long and a double press.")
    return Binding(*(_action(name, where) for name in names))


def _action(name: str, where: str) -> ButtonAction | None:
    if name in ("", NOTHING):
        return None
    if name in ACTIONS:
        return ACTIONS[name]
    close = difflib.get_close_matches(name, ACTIONS, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(ACTIONS)}, and {NOTHING} for nothing."
    raise ConfigError(f"{where}: {name!r:.40} is nothing that a press can do.", hint=hint)


def named(lines: Sequence[str], where: str) -> dict[str, Binding]:
    """Several buttons: "GPIO22: ahead, status" each. Gives name → binding. Raises: ConfigError."""
    found: dict[str, Binding] = {}
    for line in lines:
        name, colon, presses = line.partition(":")
        name = name.strip()
        if not colon or not name:
            raise ConfigError(f"{where}: {line!r:.60} names no button.", hint='Write "NAME: ahead, status".')
        if name in found:
            raise ConfigError(f"{where}: {name} is there twice.")
        found[name] = binding(presses, f"{where}: {name}")
    return found


@dataclass(slots=True)
class Meaning:
    """From recognised presses of one button to actions. A correction by a long press lasts as long as that; by another
    one it lasts to the next."""

    binding: Binding
    correcting: bool = False

    def of(self, press: Recognised) -> list[Press]:
        """What the press asks for."""
        if press.kind is PressKind.LONG_ENDED:
            held = self.binding.long is ButtonAction.HOLD
            return [Press(ButtonAction.RELEASE, press.t_s)] if held else []
        action = getattr(self.binding, press.kind.value)
        if action is ButtonAction.HOLD and press.kind is not PressKind.LONG:
            self.correcting = not self.correcting
            action = ButtonAction.HOLD if self.correcting else ButtonAction.RELEASE
        return [] if action is None else [Press(action, press.t_s)]
