"""Buttons and switches on the board's pins, through gpiozero."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from device.controls.actions import ButtonAction, Press
from device.controls.press import Edge
from device.controls.pressed import KeyEvent
from shared.errors import ConfigError

BOUNCE_S = 0.05
FLASH_S = 0.5
INSTALL_GPIO = "On a Pi: sudo apt install python3-gpiozero python3-lgpio."
_PINS_IN_USE: set[str | int] = set()
_OPENING = threading.Lock()
"""One pin at a time: they are tried again on threads of their own, and Python's warnings are everyone's."""
logger = logging.getLogger(__name__)


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


def open_pin(pin: str | int, setting: str, *, kind: str = "Button", **options: Any) -> Any:
    """A gpiozero device. May be tried again after it failed. kind: its class; options: as the class takes them.

    raises: ConfigError where there is no gpiozero, or no such pin
    """
    give_lgpio_a_folder()
    try:
        import gpiozero
    except ImportError:
        raise ConfigError(
            f"The {kind.lower()} on a pin needs gpiozero, which is not installed.", hint=INSTALL_GPIO
        ) from None
    with _OPENING, warnings.catch_warnings(record=True) as told:  # of the libraries that it tries: at each try
        warnings.simplefilter("always")
        try:
            opened = getattr(gpiozero, kind)(pin, **options)
        except Exception as error:  # noqa: BLE001 - pin factories raise RuntimeError, lgpio.error and others
            if not _PINS_IN_USE:  # gpiozero keeps the library that it fell back to, also where that one cannot work
                gpiozero.Device.pin_factory = None
            why = "; ".join([str(error).rstrip(".!"), *_reasons(told)])
            raise ConfigError(
                f"The {kind.lower()} on pin {pin} cannot be used: {why}.",
                hint=f"Check {setting}, and that this is a Pi.",
            ) from None
        _PINS_IN_USE.add(pin)
    if told:
        logger.warning("The %s on pin %s: %s", kind.lower(), pin, "; ".join(_reasons(told)))
    return opened


def _reasons(told: Iterable[warnings.WarningMessage]) -> list[str]:
    """Each once, in one line."""
    return list(dict.fromkeys(" ".join(str(one.message).split()).rstrip(".") for one in told))


def close_pin(pin: str | int, opened: Any) -> None:
    """Let go of what `open_pin` gave; None is nothing."""
    if opened is not None:
        opened.close()
        _PINS_IN_USE.discard(pin)


class PinKey:
    """A push button to ground as a source of keys; its key is "". clock_s: monotonic."""

    def __init__(self, pin: str | int, clock_s: Callable[[], float], *, setting: str = "buttons.pin") -> None:
        self._pin = pin
        self._clock_s = clock_s
        self._setting = setting
        self._button: Any = None
        self._events: queue.SimpleQueue[KeyEvent] = queue.SimpleQueue()

    def open(self) -> None:
        """Raises: ConfigError."""
        self._button = open_pin(self._pin, self._setting, bounce_time=BOUNCE_S)
        self._button.when_pressed = lambda: self._came(down=True)
        self._button.when_released = lambda: self._came(down=False)

    def read(self) -> list[KeyEvent]:
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        return events

    def close(self) -> None:
        button, self._button = self._button, None
        close_pin(self._pin, button)

    def _came(self, *, down: bool) -> None:
        self._events.put(KeyEvent("", Edge(down), self._clock_s()))


class PinSwitch:
    """A switch to ground whose position is the state: on at the start counts as put on then."""

    def __init__(self, pin: str | int, *, setting: str = "buttons.pause_switch") -> None:
        self._pin = pin
        self._setting = setting
        self._button: Any = None
        self._on = False
        self._seen = False

    def open(self) -> None:
        """Raises: ConfigError."""
        self._button = open_pin(self._pin, self._setting)
        self._seen = bool(self._button.is_pressed)

    def poll(self, now_s: float) -> list[Press]:
        """A position counts once it was seen twice in a row: contacts bounce, for less than two turns of the loop."""
        seen = bool(self._button.is_pressed)
        steady, self._seen = seen == self._seen, seen
        if not steady or seen == self._on:
            return []
        self._on = seen
        return [Press(ButtonAction.SWITCH_ON if seen else ButtonAction.SWITCH_OFF, now_s)]

    def close(self) -> None:
        button, self._button = self._button, None
        close_pin(self._pin, button)


class PinLight:
    """A light on a pin, opened and tried again as buttons are; there is nothing to press on it."""

    def __init__(self, pin: str | int, *, setting: str = "privacy.kept_light") -> None:
        self._pin = pin
        self._setting = setting
        self._light: Any = None

    def open(self) -> None:
        """Raises: ConfigError."""
        self._light = open_pin(self._pin, self._setting, kind="LED")

    def poll(self, now_s: float) -> list[Press]:
        return []

    def flash(self) -> None:
        """On for FLASH_S; returns at once. Without a light nothing happens. Any thread."""
        light = self._light
        if light is not None:
            light.blink(on_time=FLASH_S, off_time=0.0, n=1)

    def close(self) -> None:
        light, self._light = self._light, None
        close_pin(self._pin, light)
