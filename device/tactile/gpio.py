"""A motor on a pin of the board, through a transistor, by pulse-width modulation: gpiozero times the pulses."""

from __future__ import annotations

from typing import Any

from device.controls.pins import INSTALL_GPIO, give_lgpio_a_folder
from device.tactile.patterns import Pulses
from shared.errors import MediaError

STEP_S = 0.01
HINT = "Check tactile.left and tactile.right, and that this is a Pi."


class PinMotor:
    """As Motor. pin: as gpiozero names it, such as GPIO12"""

    def __init__(self, pin: str) -> None:
        self._pin = pin
        self._device: Any = None

    def open(self) -> None:
        self.close()
        give_lgpio_a_folder()
        try:
            import gpiozero
        except ImportError:
            raise MediaError("A motor on a pin needs gpiozero, which is not installed.", hint=INSTALL_GPIO) from None
        try:
            self._device = gpiozero.PWMOutputDevice(self._pin)
            self._device.source_delay = STEP_S
        except Exception as error:  # noqa: BLE001 - pin factories raise RuntimeError, lgpio.error and others
            self._device = None
            raise MediaError(f"The motor on pin {self._pin} cannot be used: {error}.", hint=HINT) from None

    def buzz(self, pulses: Pulses) -> None:
        self._drive(pulses.strength, pulses.levels(STEP_S))

    def still(self) -> None:
        self._drive(0.0, None)

    def _drive(self, now: float, steps: list[float] | None) -> None:
        """now: at once; the steps come from a thread that has to be started."""
        if self._device is None:
            raise MediaError(f"The motor on pin {self._pin} is not open.", hint=HINT)
        try:
            self._device.source = None
            self._device.value = now
            self._device.source = steps
        except Exception as error:  # noqa: BLE001 - as above
            raise MediaError(f"The motor on pin {self._pin} cannot be driven: {error}.", hint=HINT) from None

    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.source = None
            device.close()
