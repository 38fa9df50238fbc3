"""Keys that go down and up, wherever they are, as presses: each key with its own recogniser and its own meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from device.controls.actions import ButtonAction, Press
from device.controls.bindings import Binding, Meaning
from device.controls.press import Edge, EventsLost, PressState, step
from shared.errors import Unreachable


class InputGone(Unreachable):
    """What is pressed is not there any more: it may come again."""


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """Something about a key. key: "" where there is only one, or for all keys where events were lost."""

    key: str
    event: Edge | EventsLost
    at_s: float
    """Monotonic."""


class KeySource(Protocol):
    """Where keys are."""

    def open(self) -> None:
        """Raises: ConfigError where it cannot be used now."""
        ...

    def read(self) -> list[KeyEvent]:
        """What came since the last time; never waits. Raises: InputGone."""
        ...

    def close(self) -> None:
        """Let go. May be called again."""
        ...


class PressedKeys:
    """Buttons made of keys. bindings: key → what its presses do. clock_s: monotonic, as the source's stamps.
    switch: a key that is no key but a switch, whose position is the state; "" = none."""

    def __init__(
        self,
        source: KeySource,
        bindings: Mapping[str, Binding],
        clock_s: Callable[[], float],
        *,
        hold_s: float,
        double_s: float,
        switch: str = "",
    ) -> None:
        self._source = source
        self._switch = switch
        self._clock_s = clock_s
        self._timings = {key: one.timing(hold_s=hold_s, double_s=double_s) for key, one in bindings.items()}
        self._meanings = {key: Meaning(one) for key, one in bindings.items()}
        self._states = {key: PressState() for key in bindings}

    def open(self) -> None:
        """May be tried again after it failed. Raises: ConfigError."""
        self._source.open()

    def poll(self, now_s: float) -> list[Press]:
        """Raises: InputGone, once what was pressed before has been given out."""
        gone: InputGone | None = None
        try:
            events = self._source.read()
        except InputGone as error:
            events, gone = [KeyEvent("", EventsLost(), self._clock_s())], error
        found = [press for event in events for press in (*self._switched(event), *self._pressed(event))]
        clock_s = self._clock_s()
        found += [press for key in self._states for press in self._stepped(key, None, clock_s)]
        if gone is not None and not found:
            raise gone
        # The recogniser's times are the machine's; a press is about a time of the walk.
        return [Press(press.action, max(0.0, now_s - (clock_s - press.t_s))) for press in found]

    def _pressed(self, event: KeyEvent) -> list[Press]:
        """Where events were lost, that is so of every key."""
        keys = list(self._states) if isinstance(event.event, EventsLost) else [event.key]
        own = [key for key in keys if key in self._states]
        return [press for key in own for press in self._stepped(key, event.event, event.at_s)]

    def close(self) -> None:
        self._source.close()
        self._states = {key: PressState() for key in self._states}

    def _switched(self, event: KeyEvent) -> list[Press]:
        """The position stays what it was while the device is away."""
        if not self._switch or event.key != self._switch or not isinstance(event.event, Edge):
            return []
        return [Press(ButtonAction.SWITCH_ON if event.event.down else ButtonAction.SWITCH_OFF, event.at_s)]

    def _stepped(self, key: str, event: Edge | EventsLost | None, at_s: float) -> list[Press]:
        self._states[key], recognised = step(self._states[key], event, at_s, self._timings[key])
        return [press for one in recognised for press in self._meanings[key].of(one)]
