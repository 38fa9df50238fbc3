"""One reading of the power, and the contract of what gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PowerReading:
    """None = the source does not say."""

    percent: float | None = None
    """Charge of the battery, 0 to 100."""
    charging: bool | None = None
    """Power comes in from outside."""
    volts: float | None = None
    """Of the battery, or of what the board is fed."""
    watts: float | None = None
    """Taken out of the battery, or by the board."""
    minutes_left: float | None = None
    """As the source itself estimates it."""
    low_voltage: bool | None = None
    """The board is fed less than it needs, now."""
    low_voltage_before: bool | None = None
    """So it was at some time since the source was last asked or started."""


class PowerSource(Protocol):
    """Something that measures. One thread asks; a call may take a few seconds."""

    @property
    def name(self) -> str:
        """As in the setting power.source."""

    def read(self) -> PowerReading:
        """Raises: OSError where it is not there (any more)."""


def merged(readings: Iterable[PowerReading]) -> PowerReading:
    """One reading of several sources: of each figure what the first says that says it."""
    said: dict[str, object] = {}
    for reading in readings:
        for item in fields(reading):
            value = getattr(reading, item.name)
            if value is not None:
                said.setdefault(item.name, value)
    return PowerReading(**said)  # type: ignore[arg-type]  # each from the field of its own name
