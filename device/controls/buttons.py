"""What the wearer presses: terminal keys, or a script for a replay. Pins and input devices are in their own modules.

All are polled by the capture loop, and never block it.
"""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from device.controls.actions import ButtonAction, Press
from shared.errors import ConfigError

KEYS = {
    " ": ButtonAction.FLAG,
    "c": ButtonAction.HOLD,
    "r": ButtonAction.REPEAT,
    "m": ButtonAction.MUTE,
    "+": ButtonAction.LOUDER,
    "-": ButtonAction.QUIETER,
    "s": ButtonAction.SEES,
    "a": ButtonAction.AHEAD,
    "h": ButtonAction.STATUS,
    "p": ButtonAction.PAUSE,
    "f": ButtonAction.FORGET,
    "d": ButtonAction.DISCARD,
    "n": ButtonAction.PROFILE,
    "e": ButtonAction.HELP,
    "u": ButtonAction.SETUP,
    "q": ButtonAction.QUIT,
}
SCRIPTED = tuple(action for action in ButtonAction if action is not ButtonAction.RELEASE)
"""Actions of a script: a "hold" there brings its own release."""
KEYS_HELP = (
    "space flag · c correction on/off · d discard it · r repeat · m mute · + - volume · s what it sees"
    " · a what is ahead · h how are you · p pause recording · f forget five minutes · n next profile"
    " · e ask for help · u set-up · q quit"
)


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
