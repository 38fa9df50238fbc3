"""What boards measure of their own supply: a Raspberry Pi's firmware and the PMIC of a Pi 5, a Jetson's INA3221.
None of these knows a battery.

sources: raspberrypi.com/documentation/computers/os.html (get_throttled, pmic_read_adc); Documentation/hwmon/ina3221.rst
of Linux
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from device.board import SYS, Ask, firmware, run
from device.health.power.reading import PowerReading

ASK_PMIC = ("vcgencmd", "pmic_read_adc")
_RAIL = re.compile(r"(\w+)_([AV]) +(?:current|volt)\(\d+\)=(-?\d+(?:\.\d+)?)[AV]")
_INPUT = "EXT5V"
_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
"""A Jetson's channel of all that it takes; where there is none (AGX), the channels are its parts."""


@dataclass(frozen=True, slots=True)
class RaspberryPi:
    """Under-voltage on every model; volts and watts on a Pi 5."""

    sys: Path = SYS
    ask: Ask = run
    name: str = "raspberry-pi"

    def read(self) -> PowerReading:
        """Raises: OSError where this is no Raspberry Pi."""
        bits = firmware(self.sys, self.ask)
        volts, watts = read_pmic(self.ask(ASK_PMIC))
        if bits.low_voltage is None and volts is None:
            raise FileNotFoundError("There is no firmware of a Raspberry Pi to ask.")
        return PowerReading(
            volts=volts, watts=watts, low_voltage=bits.low_voltage, low_voltage_before=bits.low_voltage_before
        )


def read_pmic(said: str) -> tuple[float | None, float | None]:
    """(volts that come in, watts of all rails together), each None where it is not said.

    said: what `vcgencmd pmic_read_adc` prints, a rail a line: "     EXT5V_V volt(24)=5.08530000V"
    """
    figures = {(name, unit): float(value) for name, unit, value in _RAIL.findall(said)}
    rails = [name for name, unit in figures if unit == "A" and (name, "V") in figures]
    watts = sum(figures[name, "A"] * figures[name, "V"] for name in rails)
    return figures.get((_INPUT, "V")), watts if rails else None


@dataclass(frozen=True, slots=True)
class Jetson:
    """Watts of the whole board, and the volts it is fed."""

    sys: Path = SYS
    name: str = "jetson"

    def read(self) -> PowerReading:
        """Raises: OSError where there is no INA3221."""
        channels = [channel for folder in self._monitors() for channel in _channels(folder)]
        if not channels:
            raise FileNotFoundError("There is no INA3221 of a Jetson.")
        counted = _counted(channels)
        volts = max((channel.volts for channel in counted), default=None)
        return PowerReading(volts=volts, watts=sum(channel.volts * channel.amperes for channel in counted))

    def _monitors(self) -> list[Path]:
        return sorted(self.sys.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*"))


@dataclass(frozen=True, slots=True)
class _Channel:
    label: str
    volts: float
    amperes: float


def _counted(channels: list[_Channel]) -> list[_Channel]:
    """The one of the whole board, or all that are connected."""
    whole = [channel for channel in channels if channel.label in _WHOLE_BOARD]
    return whole or [channel for channel in channels if channel.label not in ("", "NC")]


def _channels(folder: Path) -> list[_Channel]:
    """The channels of one chip that are in use. Millivolts and milliamperes."""
    found = []
    for number in (1, 2, 3):
        try:
            label = (folder / f"in{number}_label").read_text().strip()
            volts = int((folder / f"in{number}_input").read_text()) / 1000
            amperes = int((folder / f"curr{number}_input").read_text()) / 1000
        except (OSError, ValueError):
            continue  # a channel that is switched off has no figures
        found.append(_Channel(label, volts, amperes))
    return found
