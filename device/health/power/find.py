"""Which sources of power this device has, and one reading of all of them.

The first battery that answers is kept: the kernel's, then chips on the I2C bus. What boards measure themselves comes
beside it. Nothing is asked on an I2C bus of a machine without a device tree: on a PC such a bus belongs to other parts.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from device.board import SYS, Ask, run
from device.health.power.boards import Jetson, RaspberryPi
from device.health.power.chips import INA219_CELLS, FuelGauge, PiSugar3, ShuntMonitor
from device.health.power.i2c import I2cBus, Registers
from device.health.power.reading import PowerReading, PowerSource, merged
from device.health.power.supply import KernelSupply

DEVICE_TREE = Path("/proc/device-tree")
FIND_EVERY_S = 60.0  # a bus that is switched on later, a HAT whose cell was put in

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PowerPlaces:
    """Where to look."""

    sys: Path = SYS
    device_tree: Path = DEVICE_TREE
    ask: Ask = run
    bus: Registers = field(default_factory=lambda: I2cBus(1))


def batteries(wanted: str, places: PowerPlaces) -> list[PowerSource]:
    """Those that may tell a charge, in the order in which they are tried. wanted: the setting power.source"""
    known: list[PowerSource] = [KernelSupply(places.sys / "class/power_supply")]
    known.append(FuelGauge(places.bus))
    known += [ShuntMonitor(places.bus, address) for address in INA219_CELLS]
    known.append(PiSugar3(places.bus))
    if wanted == "auto":
        return known if places.device_tree.exists() else known[:1]
    return [source for source in known if source.name == wanted]


class PowerSources:
    """`read` it now and then, on one thread."""

    def __init__(self, wanted: str, places: PowerPlaces | None = None) -> None:
        places = places or PowerPlaces()
        self._battery: PowerSource | None = None
        self._tried = batteries(wanted, places)
        boards: list[PowerSource] = [RaspberryPi(places.sys, places.ask), Jetson(places.sys)]
        self._boards = [] if wanted == "none" or not places.device_tree.exists() else boards
        self._find_s = float("-inf")

    @property
    def battery(self) -> str:
        """Name of the source that tells the charge; "" = there is none."""
        return "" if self._battery is None else self._battery.name

    def read(self, now_s: float) -> PowerReading:
        """One reading of all. Raises nothing: what does not answer says nothing."""
        battery = self._battery_reading(now_s)
        return merged((battery, *(_asked(board) or PowerReading() for board in self._boards)))

    def _battery_reading(self, now_s: float) -> PowerReading:
        if self._battery is not None:
            reading = _asked(self._battery)
            if reading is not None:
                return reading
            logger.warning("The battery (%s) does not answer any more; it is looked for again.", self._battery.name)
            self._battery, self._find_s = None, now_s
            return PowerReading()
        if now_s - self._find_s < FIND_EVERY_S:
            return PowerReading()
        self._find_s = now_s
        return self._found(self._tried)

    def _found(self, sources: Sequence[PowerSource]) -> PowerReading:
        for source in sources:
            reading = _asked(source)
            if reading is not None:
                logger.info("The battery is told by %s.", source.name)
                self._battery = source
                return reading
        return PowerReading()


def _asked(source: PowerSource) -> PowerReading | None:
    try:
        return source.read()
    except OSError as error:
        logger.debug("%s: %s", source.name, error)
        return None
