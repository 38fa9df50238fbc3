"""One motor: the contract, and the motors of a belt or two straps by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from device.tactile.patterns import Buzz, Pulses, pulses_of
from shared.errors import MediaError
from shared.sides import Side


class Motor(Protocol):
    """Something that vibrates. One thread uses it."""

    def open(self) -> None:
        """May be tried again after it failed. Raises: MediaError where there is no such motor."""
        ...

    def buzz(self, pulses: Pulses) -> None:
        """Begin, and return at once; the motor ends by itself. What it does now ends. Raises: MediaError."""
        ...

    def still(self) -> None:
        """End what it does. Raises: MediaError."""
        ...

    def close(self) -> None:
        """Still, and let go. May be called again."""
        ...


class Motors:
    """By side. What is for a side that has no motor, or one that does not work, is felt on all that do."""

    def __init__(self, by_side: Mapping[Side, Motor], *, strength: float = 1.0) -> None:
        """strength: what the wearer has set, 0.1 to 1"""
        self._by_side = by_side
        self._strength = strength
        self._working: dict[Side, Motor] = {}

    @property
    def any_works(self) -> bool:
        """A vibration is felt somewhere."""
        return bool(self._working)

    def open(self) -> None:
        """Open those that are not. Raises: MediaError about the first that cannot be, once all were tried. One that
        works goes on with what it does: the other may be away all day."""
        why: MediaError | None = None
        for side, motor in self._by_side.items():
            if side in self._working:
                continue
            try:
                motor.open()
            except MediaError as error:
                why = why or error
            else:
                self._working[side] = motor
        if why is not None:
            raise why

    def buzz(self, buzz: Buzz) -> None:
        """Raises: MediaError about the first that does not work any more, once all were driven."""
        pulses = pulses_of(buzz.tier, self._strength)
        own = self._working.get(buzz.side)
        why: MediaError | None = None
        for side, motor in sorted(self._working.items(), key=lambda pair: pair[1] is not own):
            try:
                if own is None or motor is own:
                    motor.buzz(pulses)
                else:
                    motor.still()
            except MediaError as error:
                why = why or error
                del self._working[side]
        if why is not None:
            raise why

    def close(self) -> None:
        self._working = {}
        for motor in self._by_side.values():
            motor.close()
