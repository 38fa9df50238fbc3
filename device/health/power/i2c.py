"""An I2C bus of Linux: registers are read by ioctl on /dev/i2c-N, so that no library is needed on the board.

A read is one transfer of two messages, the register's number and the bytes, with a repeated start between them.
source: Documentation/i2c/dev-interface.rst and include/uapi/linux/i2c-dev.h of Linux
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

I2C_SLAVE = 0x0703
I2C_RDWR = 0x0707
I2C_M_RD = 0x0001


class Registers(Protocol):
    """Chips with registers, at addresses."""

    def read(self, address: int, register: int, count: int) -> bytes:
        """Raises: OSError where nothing answers there."""


class I2cMessage(ctypes.Structure):
    """struct i2c_msg"""

    _fields_ = (
        ("addr", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("len", ctypes.c_uint16),
        ("buf", ctypes.POINTER(ctypes.c_uint8)),
    )


class Transfer(ctypes.Structure):
    """struct i2c_rdwr_ioctl_data"""

    _fields_ = (("msgs", ctypes.POINTER(I2cMessage)), ("nmsgs", ctypes.c_uint32))


@dataclass(frozen=True, slots=True)
class I2cBus:
    """One bus; opened for each read, so that a board that is taken off and put on again needs no care."""

    number: int
    folder: Path = Path("/dev")

    def read(self, address: int, register: int, count: int) -> bytes:
        """count bytes from a register on.

        raises: OSError where there is no such bus (FileNotFoundError), nothing answers (EREMOTEIO, ENXIO), or a
        kernel driver has the chip (EBUSY): the kernel then knows its battery.
        """
        descriptor = os.open(self.folder / f"i2c-{self.number}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, I2C_SLAVE, address)
            first, answer = (ctypes.c_uint8 * 1)(register), (ctypes.c_uint8 * count)()
            messages = (I2cMessage * 2)(
                I2cMessage(address, 0, 1, ctypes.cast(first, ctypes.POINTER(ctypes.c_uint8))),
                I2cMessage(address, I2C_M_RD, count, ctypes.cast(answer, ctypes.POINTER(ctypes.c_uint8))),
            )
            fcntl.ioctl(descriptor, I2C_RDWR, Transfer(messages, 2))
            return bytes(answer)
        finally:
            os.close(descriptor)
