"""Batteries that the kernel knows: the power_supply class. UPS HATs with a kernel driver, PiJuice and AXP209 boards,
USB power banks that tell.

source: Documentation/ABI/testing/sysfs-class-power of Linux. All figures in µV, µA, µW, µAh, µWh and seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from device.health.power.reading import PowerReading

CLASS = Path("/sys/class/power_supply")
NAME = "power-supply"
_MICRO = 1e-6
_OUTSIDE = ("Mains", "USB", "USB_PD", "USB_C", "USB_DCP", "Wireless", "UPS")


@dataclass(frozen=True, slots=True)
class KernelSupply:
    """All of this device's batteries together."""

    folder: Path = CLASS
    name: str = NAME

    def read(self) -> PowerReading:
        """Raises: OSError where there is no battery that tells its charge."""
        batteries = [folder for folder in self._supplies("Battery") if percent_of(folder) is not None]
        if not batteries:
            raise FileNotFoundError(f"{self.folder} has no battery that tells its charge.")
        powers, seconds = _known(batteries, watts_of), _known(batteries, seconds_left)
        charging = self._charging(batteries)
        return PowerReading(
            percent=mean(_known(batteries, percent_of)),
            charging=charging,
            volts=_scaled(batteries[0], "voltage_now"),
            watts=sum(powers) if powers else None,
            minutes_left=sum(seconds) / 60 if seconds and not charging else None,
        )

    def _supplies(self, *kinds: str) -> list[Path]:
        """Those of a kind that feed this device. A mouse's or a headset's battery has the scope "Device"."""
        found = [folder for folder in sorted(self.folder.glob("*")) if _text(folder, "type") in kinds]
        return [folder for folder in found if _text(folder, "scope") != "Device"]

    def _charging(self, batteries: list[Path]) -> bool | None:
        """Full and "Not charging" are said with power from outside, too."""
        states = {_text(folder, "status") for folder in batteries}
        if states & {"Charging", "Full"}:
            return True
        if "Discharging" in states:
            return False
        online = [_text(folder, "online") for folder in self._supplies(*_OUTSIDE)]
        known = [text for text in online if text is not None]
        return any(text != "0" for text in known) if known else None


def percent_of(battery: Path) -> float | None:
    """Its charge, 0 to 100: as it says, or what is in it of what can be in it."""
    said = _number(battery, "capacity")
    if said is None:
        pairs = (("energy_now", "energy_full"), ("charge_now", "charge_full"))
        for now, full in pairs:
            have, most = _number(battery, now), _number(battery, full)
            if have is not None and most:
                said = 100 * have / most
                break
    return None if said is None or not -0.5 <= said <= 130 else min(100.0, max(0.0, said))


def watts_of(battery: Path) -> float | None:
    """Its sign differs from driver to driver: without it."""
    watts = _scaled(battery, "power_now")
    if watts is None:
        volts, amperes = _scaled(battery, "voltage_now"), _scaled(battery, "current_now")
        watts = None if volts is None or amperes is None else volts * amperes
    return None if watts is None else abs(watts)


def seconds_left(battery: Path) -> float | None:
    """As its driver estimates it. Some say 0 or 65,535 min for "not known"."""
    for name in ("time_to_empty_avg", "time_to_empty_now"):
        seconds = _number(battery, name)
        if seconds is not None and 0 < seconds < 65_535 * 60:
            return seconds
    return None


def _known(batteries: list[Path], figure: Callable[[Path], float | None]) -> list[float]:
    """A figure of those that tell it."""
    return [value for value in map(figure, batteries) if value is not None]


def _scaled(folder: Path, name: str) -> float | None:
    value = _number(folder, name)
    return None if value is None else value * _MICRO


def _number(folder: Path, name: str) -> float | None:
    try:
        return float(int(_text(folder, name) or ""))
    except ValueError:
        return None


def _text(folder: Path, name: str) -> str | None:
    """A battery that is just taken out answers ENODEV: then it says nothing."""
    try:
        return (folder / name).read_text(errors="replace").strip()
    except OSError:
        return None
