"""What the wearer presses: terminal keys, a button on the Pi's pins, or a script for a replay.

    flag      keep this moment
    hold      a correction begins: say what should have been said …
    release   … until here
    repeat    say the last guidance again
    mute      voice off or on
    louder    the voice a step louder
    quieter   the voice a step quieter
    sees      say what the model sees and does not see
    setup     open the set-up, or close it: a code before the camera changes server or network
    quit      end the walk

All are polled by the capture loop, and never block it.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import select
import shutil
import sys
import tempfile
import termios
import tty
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TextIO

from shared.errors import ConfigError


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
    SETUP = "setup"
    QUIT = "quit"


KEYS = {
    " ": ButtonAction.FLAG,
    "c": ButtonAction.HOLD,
    "r": ButtonAction.REPEAT,
    "m": ButtonAction.MUTE,
    "+": ButtonAction.LOUDER,
    "-": ButtonAction.QUIETER,
    "s": ButtonAction.SEES,
    "u": ButtonAction.SETUP,
    "q": ButtonAction.QUIT,
}
SCRIPTED = tuple(action for action in ButtonAction if action is not ButtonAction.RELEASE)
"""Actions of a script: a "hold" there brings its own release."""
KEYS_HELP = "space flag · c correction on/off · r repeat · m mute · + - volume · s what it sees · u set-up · q quit"
BOUNCE_S = 0.05
INSTALL_GPIO = "On a Pi: sudo apt install python3-gpiozero python3-lgpio."


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
        """Presses up to walk time `now_s` that were not given out yet, in order."""
        ...

    def close(self) -> None:
        """Let go. May be called again."""
        ...


class Script:
    """Presses by walk time, from a file of JSON lines such as {"t_s": 4.0, "action": "hold", "until_s": 6.5}."""

    def __init__(self, presses: Iterable[Press]) -> None:
        self._presses = sorted(presses, key=lambda press: press.t_s)

    @classmethod
    def load(cls, path: Path) -> Script:
        """Raises: ConfigError naming the line."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The presses in {path} cannot be read: {error}.") from None
        return cls(
            [press for number, line in enumerate(lines, 1) if line.strip() for press in _read(path, number, line)]
        )

    def open(self) -> None:
        """Nothing to do."""

    def poll(self, now_s: float) -> list[Press]:
        due = [press for press in self._presses if press.t_s <= now_s]
        self._presses = self._presses[len(due) :]
        return due

    def close(self) -> None:
        self._presses = []


def _read(path: Path, number: int, line: str) -> list[Press]:
    where = f"{path}, line {number}"
    try:
        value: Any = json.loads(line)
        name, t_s = value["action"], float(value["t_s"])
        until_s = float(value["until_s"]) if name == ButtonAction.HOLD else t_s
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{where}: {error!r}.",
            hint='Write {"t_s": 4.0, "action": "flag"} or {"t_s": 4.0, "action": "hold", "until_s": 6.5}.',
        ) from None
    if name not in SCRIPTED or not 0 <= t_s <= until_s < float("inf"):
        raise ConfigError(f"{where}: {line.strip()[:80]} is no press.", hint=f"Actions are {', '.join(SCRIPTED)}.")
    press = Press(ButtonAction(name), t_s)
    return [press, Press(ButtonAction.RELEASE, until_s)] if press.action is ButtonAction.HOLD else [press]


class Keys:
    """Keys of a terminal, without Enter. Where standard input is no terminal there are none."""

    def __init__(self, walk_now: Callable[[], float], *, stream: TextIO | None = None) -> None:
        self._walk_now = walk_now
        self._stream = sys.stdin if stream is None else stream
        self._saved: list[Any] | None = None
        self._holding = False

    @property
    def active(self) -> bool:
        return self._saved is not None

    def open(self) -> None:
        if self._stream.closed or not self._stream.isatty() or not self._in_foreground():
            return
        try:
            self._saved = termios.tcgetattr(self._stream)
            tty.setcbreak(self._stream)  # Ctrl-C still interrupts
        except (termios.error, OSError):  # a terminal without settings: there are no keys
            self._saved = None

    def poll(self, now_s: float) -> list[Press]:
        presses = []
        while self._saved is not None and (typed := self._typed()) is not None:
            presses += [Press(self._toggled(KEYS[key]), now_s) for key in typed.lower() if key in KEYS]
        return presses

    def _typed(self) -> str | None:
        """What was typed since the last time; None = nothing. A closed terminal ends the keys, not the walk."""
        try:
            if not select.select([self._stream], [], [], 0)[0]:
                return None
            typed = os.read(self._stream.fileno(), 64)
        except (OSError, ValueError):
            typed = b""
        if not typed:
            self.close()
        return typed.decode(errors="ignore")

    def close(self) -> None:
        if self._saved is not None:
            saved, self._saved = self._saved, None
            try:
                termios.tcsetattr(self._stream, termios.TCSADRAIN, saved)
            except (termios.error, OSError, ValueError):  # the terminal is gone: nothing to restore
                pass

    def _in_foreground(self) -> bool:
        """A job started with & would be stopped by the terminal if it touched its settings."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except OSError:  # not the terminal of this session: nobody can stop us over it
            return True

    def _toggled(self, action: ButtonAction) -> ButtonAction:
        if action is not ButtonAction.HOLD:
            return action
        self._holding = not self._holding
        return ButtonAction.HOLD if self._holding else ButtonAction.RELEASE


_PINS_IN_USE: set[str | int] = set()


def _forget_factory(gpiozero: Any) -> None:
    """gpiozero keeps the library that it fell back to, also where that one cannot work: let it choose again."""
    if not _PINS_IN_USE:
        gpiozero.Device.pin_factory = None


@cache
def give_lgpio_a_folder() -> None:
    """lgpio makes a pipe in its working directory, which a service may not write to: give it one, unless LG_WD does."""
    if "LG_WD" in os.environ:
        return
    own = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if not own:
        own = tempfile.mkdtemp(prefix="waycue-gpio-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
    os.environ["LG_WD"] = own


class PinButton:
    """A push button on a GPIO pin, through gpiozero: one action for a short press, another for a longer one.

    A "hold" that began is released when the button is; other actions are over at once.
    """

    def __init__(
        self,
        pin: str | int,
        walk_now: Callable[[], float],
        *,
        hold_s: float = 0.6,
        short: ButtonAction = ButtonAction.FLAG,
        long: ButtonAction = ButtonAction.HOLD,
    ) -> None:
        self._short, self._longer = short, long
        self._pin = pin
        self._walk_now = walk_now
        self._hold_s = hold_s
        self._button: Any = None
        self._down_s = 0.0
        self._held = False
        self._presses: queue.SimpleQueue[Press] = queue.SimpleQueue()

    def open(self) -> None:
        """May be tried again after it failed. Raises: ConfigError where there is no gpiozero, or no such pin."""
        give_lgpio_a_folder()
        try:
            import gpiozero
        except ImportError:
            raise ConfigError(
                "The button on a pin needs gpiozero, which is not installed.", hint=INSTALL_GPIO
            ) from None
        try:
            self._button = gpiozero.Button(self._pin, hold_time=self._hold_s, bounce_time=BOUNCE_S)
        except Exception as error:  # noqa: BLE001 - pin factories raise RuntimeError, lgpio.error and others
            _forget_factory(gpiozero)
            raise ConfigError(
                f"The button on pin {self._pin} cannot be used: {error}.",
                hint="Check buttons.pin, and that this is a Pi.",
            ) from None
        _PINS_IN_USE.add(self._pin)
        self._button.when_pressed = self._pressed
        self._button.when_held = self._long
        self._button.when_released = self._released

    def poll(self, now_s: float) -> list[Press]:
        presses = []
        while not self._presses.empty():
            presses.append(self._presses.get())
        return presses

    def close(self) -> None:
        if self._button is not None:
            self._button.close()
            self._button = None
            _PINS_IN_USE.discard(self._pin)

    def _pressed(self) -> None:
        self._down_s, self._held = self._walk_now(), False

    def _long(self) -> None:
        self._held = True
        self._presses.put(Press(self._longer, self._down_s))

    def _released(self) -> None:
        if not self._held:
            self._presses.put(Press(self._short, self._down_s))
        elif self._longer is ButtonAction.HOLD:
            self._presses.put(Press(ButtonAction.RELEASE, self._walk_now()))
