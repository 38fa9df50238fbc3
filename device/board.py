"""What the board says of itself: how hot it is, and what its firmware reports about heat and voltage.

Heat comes from the kernel's thermal zones. A Raspberry Pi's firmware reports eight bits: four for now, and the same
four for since it was last asked for them. The kernel's raspberrypi-hwmon driver asks every 2 s and clears them, so that
"since the start" is only as long as that where it is loaded.
source: raspberrypi.com/documentation/computers/os.html#get_throttled; drivers/hwmon/raspberrypi-hwmon.c
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ASK_S = 3.0
THERMAL = Path("/sys/class/thermal")
SYS = Path("/sys")
# Zones of the boards that are worn. A PC's may be at 95 °C in good health, and a Jetson's PMIC zone says 100 for ever.
BOARD_ZONE = re.compile(r"(cpu|gpu|soc\d*|tj|thermal-fan-est)[-_]?therm(al)?|thermal-fan-est", re.IGNORECASE)
SLOWED_BITS = 0b1100  # slowed down now, soft temperature limit now
LOW_VOLTAGE_BIT = 1 << 0
LOW_VOLTAGE_BEFORE_BIT = 1 << 16
ASK_THROTTLED = ("vcgencmd", "get_throttled")
FIRMWARE_FILE = "devices/platform/soc/soc:firmware/get_throttled"
"""Of older kernels of Raspberry Pi OS: the same bits, in hexadecimal, without a program to run."""
VOLTAGE_MONITOR = "rpi_volt"

logger = logging.getLogger(__name__)

Ask = Callable[[tuple[str, ...]], str]
"""Runs a command and returns what it prints; "" where it cannot."""


@dataclass(frozen=True, slots=True)
class FirmwareBits:
    """What a Raspberry Pi's firmware reports; None = it does not say."""

    slowed: bool | None = None
    """It slows the processor down for heat."""
    low_voltage: bool | None = None
    """Less than 4.63 V come in now."""
    low_voltage_before: bool | None = None
    """So it was at some time since the firmware was last asked."""


def run(command: tuple[str, ...]) -> str:
    """What a command prints; "" where it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S + 1.0, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def heat_c(thermal: Path) -> float | None:
    """The hottest of the board's own zones, °C; None = it has none."""
    zones_c = []
    for zone in thermal.glob("thermal_zone*"):
        try:
            if BOARD_ZONE.fullmatch((zone / "type").read_text().strip()):
                zones_c.append(int((zone / "temp").read_text()) / 1000)
        except (OSError, ValueError):
            continue  # a zone of a part that sleeps answers EAGAIN
    return max((heat for heat in zones_c if -40 < heat < 150), default=None)


def read_bits(said: str, before: str = "throttled=0x") -> FirmwareBits:
    """said: what vcgencmd prints ("throttled=0x50005"); the older kernels' file has nothing before the number."""
    match = re.fullmatch(before + r"([0-9a-fA-F]{1,8})", said.strip())
    if match is None:
        return FirmwareBits()
    bits = int(match[1], 16)
    return FirmwareBits(bool(bits & SLOWED_BITS), bool(bits & LOW_VOLTAGE_BIT), bool(bits & LOW_VOLTAGE_BEFORE_BIT))


def firmware(sys: Path, ask: Ask) -> FirmwareBits:
    """The firmware's bits, from the kernel's file where there is one, else from vcgencmd; under-voltage also from the
    kernel's voltage monitor, which needs neither. Raises nothing."""
    try:
        bits = read_bits((sys / FIRMWARE_FILE).read_text(), "")
    except OSError:
        bits = FirmwareBits()
    if bits.slowed is None:
        bits = read_bits(ask(ASK_THROTTLED))
    alarm = voltage_alarm(sys)
    if alarm is None:
        return bits
    return FirmwareBits(bits.slowed, alarm or bool(bits.low_voltage), alarm or bool(bits.low_voltage_before))


def voltage_alarm(sys: Path) -> bool | None:
    """Whether the kernel's monitor saw too little voltage within the last 2 s; None = there is no such monitor."""
    for folder in sorted((sys / "class/hwmon").glob("hwmon*")):
        try:
            if (folder / "name").read_text().strip() == VOLTAGE_MONITOR:
                return (folder / "in0_lcrit_alarm").read_text().strip() == "1"
        except OSError:
            continue
    return None
