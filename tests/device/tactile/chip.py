"""A DRV2605 as its data sheet has it: registers, the number of the chip, and what GO plays."""

from __future__ import annotations

from device.tactile import drv2605


class Chip:
    """On a bus that may be pulled out. `plugged` False: it does not answer."""

    def __init__(self, number: int = 7) -> None:
        self.registers = bytearray(0x23)
        self.registers[drv2605.STATUS] = number << 5
        self.registers[drv2605.MODE] = 0x40  # standby, as after power-on
        self.played: list[tuple[int, ...]] = []
        self.plugged = True
        self.opened = 0

    def connect(self, device: str) -> Chip:
        self._answer()
        self.opened += 1
        return self

    def write(self, data: bytes) -> None:
        self._answer()
        register, values = data[0], data[1:]
        for offset, value in enumerate(values):  # it counts up by itself
            self.registers[register + offset] = value
        if register == drv2605.GO and values[0] & 1 and self.registers[drv2605.MODE] == 0:
            start = drv2605.SEQUENCE
            entries = self.registers[start : start + drv2605.ENTRIES]
            self.played.append(tuple(entries[: entries.index(0)] if 0 in entries else entries))

    def read(self, register: int) -> int:
        self._answer()
        return self.registers[register]

    def close(self) -> None:
        pass

    @property
    def is_playing(self) -> bool:
        return bool(self.registers[drv2605.GO] & 1)

    def _answer(self) -> None:
        if not self.plugged:
            raise OSError(121, "Remote I/O error")
