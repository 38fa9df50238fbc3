"""A DRV2605 haptic driver on I2C. The chip plays a sequence from its own memory, so that a motor never runs on after
the agent has died.

    0x00 status: bits 7..5 say which chip     0x01 mode: 0 = on, started by GO     0x03 library: 1 = coin motors (ERM)
    0x04.. up to eight entries: 1..123 an effect, 0x80 + n a pause of n × 10 ms, 0 the end
    0x0c GO: 1 = play, 0 = stop

All chips have the address 0x5a: two motors need two buses, or a multiplexer, whose channels Linux shows as buses.

source: Texas Instruments, DRV2605 data sheet (SLOS825) and DRV2605L (SLOS854)
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from device.health.power.i2c import I2C_SLAVE
from device.tactile.patterns import Pulses
from shared.errors import MediaError

ADDRESS = 0x5A
STATUS, MODE, LIBRARY, SEQUENCE, GO = 0x00, 0x01, 0x03, 0x04, 0x0C
WITH_EFFECTS = (3, 7)
"""Numbers of the chips that have the effects: DRV2605 and DRV2605L. A DRV2604 has none."""
COIN_MOTORS = 1
BUZZ_FULL, BUZZ_STEPS = 47, 5  # effects 47 to 51: a buzz at 100, 80, 60, 40 and 20 %
BUZZ_S = 0.2  # about as long as one of them lasts
ENTRIES = 8
HINT = "Check the wires and tactile.left and tactile.right, and that I2C is on: sudo raspi-config nonint do_i2c 0."


class Bus(Protocol):
    """Bytes to and from the chip."""

    def write(self, data: bytes) -> None:
        """A register, and what goes into it and the following ones. Raises: OSError."""
        ...

    def read(self, register: int) -> int:
        """Raises: OSError."""
        ...

    def close(self) -> None: ...


class LinuxBus:
    """One chip on /dev/i2c-N. Raises: OSError."""

    def __init__(self, device: str, address: int = ADDRESS) -> None:
        self._fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(self._fd, I2C_SLAVE, address)
        except OSError:
            os.close(self._fd)
            raise

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def read(self, register: int) -> int:
        os.write(self._fd, bytes([register]))
        return os.read(self._fd, 1)[0]

    def close(self) -> None:
        os.close(self._fd)


class Drv2605:
    """As Motor. device: /dev/i2c-N"""

    def __init__(self, device: str, *, connect: Callable[[str], Bus] | None = None) -> None:
        self._device = device
        self._connect = connect or LinuxBus
        self._bus: Bus | None = None

    def open(self) -> None:
        self.close()
        try:
            self._bus = bus = self._connect(self._device)
            chip = bus.read(STATUS) >> 5
            if chip in WITH_EFFECTS:
                bus.write(bytes([MODE, 0]))
                bus.write(bytes([LIBRARY, COIN_MOTORS]))
        except (OSError, IndexError) as error:
            self._lost()
            raise MediaError(f"The motor on {self._device} cannot be used: {error}.", hint=HINT) from None
        if chip not in WITH_EFFECTS:
            self._lost()
            raise MediaError(f"On {self._device} there is another chip (number {chip}), no DRV2605.", hint=HINT)

    def buzz(self, pulses: Pulses) -> None:
        self._write([GO, 0], [SEQUENCE, *sequence(pulses)], [GO, 1])

    def still(self) -> None:
        self._write([GO, 0])

    def close(self) -> None:
        if self._bus is not None:
            with suppress(OSError):
                self._bus.write(bytes([GO, 0]))
            self._lost()

    def _write(self, *writes: list[int]) -> None:
        if self._bus is None:
            raise MediaError(f"The motor on {self._device} is not open.", hint=HINT)
        try:
            for data in writes:
                self._bus.write(bytes(data))
        except OSError as error:
            self._lost()
            raise MediaError(f"The motor on {self._device} does not answer: {error}.", hint=HINT) from None

    def _lost(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            with suppress(OSError):
                bus.close()


def sequence(pulses: Pulses) -> list[int]:
    """Entries for the chip's memory: effects as long as a pulse, pauses between, and 0 where there is room for it."""
    weaker = min(BUZZ_STEPS - 1, round((1 - pulses.strength) * BUZZ_STEPS))
    one = [BUZZ_FULL + weaker] * max(1, round(pulses.on_s / BUZZ_S))
    pause = [0x80 + min(0x7F, round(pulses.off_s * 100))] if pulses.off_s else []
    entries = (one + pause) * pulses.count
    entries = entries[: len(entries) - len(pause)][:ENTRIES]
    return entries if len(entries) == ENTRIES else [*entries, 0]
