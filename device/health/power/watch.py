"""Asks for the power and the heat every few seconds, on a thread of its own: a bus or a firmware may take a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.board import ASK_S, SYS, Ask, firmware, heat_c, run
from device.health.power import news
from device.health.power.find import PowerSources
from device.health.power.news import PowerNews, PowerState
from device.health.power.reading import PowerReading
from shared.background import Background
from shared.clock import Clock

EVERY_S = 10.0
JOIN_S = 2 * ASK_S


@dataclass(frozen=True, slots=True)
class BoardHeat:
    """How the board is, apart from its power; None = it does not say."""

    heat_c: float | None = None
    slowed: bool | None = None
    """Its firmware slows it down for heat."""


class PowerWatch:
    """`start` it, `close` it. tell: called with each piece of news, on its thread."""

    def __init__(
        self, sources: PowerSources, tell: Callable[[PowerNews], None], *, clock: Clock, sys: Path = SYS, ask: Ask = run
    ) -> None:
        self.reading = PowerReading()
        """The newest."""
        self.heat = BoardHeat()
        self._state = PowerState()
        self._sources = sources
        self._tell = tell
        self._clock = clock
        self._sys = sys
        self._ask = ask
        self._rounds = Background.every(EVERY_S, self.look, name="power", at_once=True)

    @property
    def source(self) -> str:
        """Of the battery; "" = none tells."""
        return self._sources.battery

    @property
    def percent(self) -> float | None:
        """Charge of the battery, smoothed."""
        return self._state.percent

    @property
    def minutes_left(self) -> float | None:
        return self._state.minutes

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close(JOIN_S)

    def look(self) -> None:
        """One round."""
        now_s = self._clock.monotonic_s()
        self.heat = BoardHeat(heat_c(self._sys / "class/thermal"), firmware(self._sys, self._ask).slowed)
        self.reading = self._sources.read(now_s)
        self._state, told = news.step(self._state, self.reading, now_s)
        for piece in told:
            self._tell(piece)
