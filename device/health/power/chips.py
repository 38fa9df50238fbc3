"""Chips of UPS HATs on an I2C bus. Each is asked first whether it is what its address suggests, and nothing is written
to any of them.

MAX17040, 17041, 17043, 17044, 17048, 17049   fuel gauges at 0x36: Geekworm X728 and X12xx, SupTronics, many others
INA219                                         a current sensor; on Waveshare's UPS HATs at 0x41 (three cells in a
                                               row), 0x42 (two) or 0x43 (one)
PiSugar 3                                      its controller, at 0x57

sources: data sheets MAX17040/MAX17041 (19-5210), MAX17048/MAX17049 (19-6171), INA219 (SBOS448); PiSugar's own
"PiSugar 3 I2C Datasheet"
"""

from __future__ import annotations

from dataclasses import dataclass

from device.health.power.i2c import Registers
from device.health.power.reading import PowerReading

CELL_V = (2.4, 4.6)
"""What a lithium cell may have: outside, it is no cell, or the chip is another one."""

MAX1704X_ADDRESS = 0x36
_VCELL, _SOC, _VERSION, _CRATE = 0x02, 0x04, 0x08, 0x16
_VCELL_V = 78.125e-6  # the MAX17040's 12 bits of 1.25 mV stand in the upper bits of the same 16
_SOC_PERCENT = 1 / 256
_CRATE_PERCENT_PER_H = 0.208
_STILL_PERCENT_PER_H = 1.0  # of the rate that the gauge finds: less may be its own noise

INA219_CELLS = {0x41: 3, 0x42: 2, 0x43: 1}
_SHUNT, _BUS, _CONFIG = 0x01, 0x02, 0x00
_BUS_V, _SHUNT_V = 4e-3, 10e-6
_SHUNT_STILL_V = 50e-6  # 5 mA through 0.01 Ω: less flows neither way
_NOT_MEASURING = (0, 4)  # its modes power-down and ADC off
DISCHARGE_CURVE = (
    (3.10, 0.0), (3.35, 5.0), (3.45, 10.0), (3.57, 20.0), (3.65, 30.0), (3.71, 40.0), (3.77, 50.0), (3.83, 60.0),
    (3.90, 70.0), (3.97, 80.0), (4.05, 90.0), (4.15, 100.0),
)  # fmt: skip
"""Volts of one cell, and percent left: a lithium-ion cell at 25 °C that is emptied in five hours. Good to about 10 %;
Waveshare's own straight line from 3.0 to 4.2 V says 50 % where 17 % are left."""

PISUGAR3_ADDRESS = 0x57
_PISUGAR3 = 3  # in its first register
_PISUGAR_STATUS, _PISUGAR_VOLTS, _PISUGAR_PERCENT = 0x02, 0x22, 0x2A
_PISUGAR_FED = 0x80


class OtherChip(OSError):
    """Something answers at the address, and it is not this chip."""


@dataclass(frozen=True, slots=True)
class FuelGauge:
    """MAX17040 and its relatives. Only those from the MAX17048 on tell how fast the charge changes."""

    bus: Registers
    name: str = "max1704x"

    def read(self) -> PowerReading:
        """Raises: OSError."""
        volts = self._word(_VCELL) * _VCELL_V
        percent = self._word(_SOC) * _SOC_PERCENT
        if not CELL_V[0] <= volts <= CELL_V[1] or percent > 130:
            raise OtherChip(f"What answers at {MAX1704X_ADDRESS:#x} is no fuel gauge with a cell ({volts:.2f} V).")
        charging = minutes = None
        if self._word(_VERSION) & 0xFFF0 == 0x0010:
            raw = self._word(_CRATE)
            rate = (raw - 0x10000 if raw & 0x8000 else raw) * _CRATE_PERCENT_PER_H
            charging = rate > _STILL_PERCENT_PER_H if abs(rate) > _STILL_PERCENT_PER_H else None
            minutes = 60 * percent / -rate if charging is False else None
        return PowerReading(min(100.0, percent), charging, volts, minutes_left=minutes)

    def _word(self, register: int) -> int:
        return int.from_bytes(self.bus.read(MAX1704X_ADDRESS, register, 2), "big")


@dataclass(frozen=True, slots=True)
class ShuntMonitor:
    """INA219 between the cells and the board: the sign of the current tells whether they are charged, their voltage how
    full they are. The current itself is not told: boards differ in their shunt by a factor of ten."""

    bus: Registers
    address: int
    name: str = "ina219"

    def read(self) -> PowerReading:
        """Raises: OSError."""
        if self._word(_CONFIG) & 0x7 in _NOT_MEASURING:
            raise OtherChip(f"What answers at {self.address:#x} does not measure.")
        volts, cells = (self._word(_BUS) >> 3) * _BUS_V, INA219_CELLS[self.address]
        if not CELL_V[0] <= volts / cells <= CELL_V[1]:
            raise OtherChip(f"What answers at {self.address:#x} has {volts:.2f} V: not {cells} cells.")
        raw = self._word(_SHUNT)
        shunt_v = (raw - 0x10000 if raw & 0x8000 else raw) * _SHUNT_V
        charging = shunt_v > 0 if abs(shunt_v) >= _SHUNT_STILL_V else None
        return PowerReading(percent_of_cell(volts / cells), charging, volts)

    def _word(self, register: int) -> int:
        return int.from_bytes(self.bus.read(self.address, register, 2), "big")


@dataclass(frozen=True, slots=True)
class PiSugar3:
    """Its own controller tells volts, percent, and whether it is fed from outside."""

    bus: Registers
    name: str = "pisugar3"

    def read(self) -> PowerReading:
        """Raises: OSError."""
        if self._byte(0x00) != _PISUGAR3:
            raise OtherChip(f"What answers at {PISUGAR3_ADDRESS:#x} is no PiSugar 3.")
        volts = (self._byte(_PISUGAR_VOLTS) << 8 | self._byte(_PISUGAR_VOLTS + 1)) / 1000
        percent = self._byte(_PISUGAR_PERCENT)
        if not CELL_V[0] <= volts <= CELL_V[1] or percent > 100:
            raise OtherChip(f"What answers at {PISUGAR3_ADDRESS:#x} says {volts:.2f} V, {percent} %.")
        return PowerReading(float(percent), bool(self._byte(_PISUGAR_STATUS) & _PISUGAR_FED), volts)

    def _byte(self, register: int) -> int:
        return self.bus.read(PISUGAR3_ADDRESS, register, 1)[0]


def percent_of_cell(volts: float) -> float:
    """Percent left in one cell, from its voltage under load."""
    low = DISCHARGE_CURVE[0]
    for high in DISCHARGE_CURVE:
        if volts <= high[0]:
            share = 0.0 if high is low else (volts - low[0]) / (high[0] - low[0])
            return max(0.0, low[1] + share * (high[1] - low[1]))
        low = high
    return 100.0
