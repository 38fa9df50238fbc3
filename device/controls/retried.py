"""A button on a pin that may not be usable yet: opened again and again, and announced once.

A pin that is taken, a missing library or a broken wire must not end the thing that protects: without its button the
agent guides all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from device.controls.actions import Buttons, Press
from shared.background import Background

logger = logging.getLogger(__name__)

FAILED = "Button failed."
BACK = "Button is working."
SECOND_FAILED = "Second button failed."
SECOND_BACK = "Second button is working."
TEXTS = ((FAILED, BACK), (SECOND_FAILED, SECOND_BACK))
"""Of the first and the second button on a pin."""
ANOTHER = ("Another button failed.", "Another button is working.")
BUTTON_TEXTS = tuple(text for pair in (*TEXTS, ANOTHER) for text in pair)
JOIN_S = 2.0


class RetriedButtons:
    """texts: one of TEXTS. announce(text, about): a change of state."""

    def __init__(self, buttons: Buttons, texts: tuple[str, str], announce: Callable[[str, str], None]) -> None:
        self._buttons, self._announce = buttons, announce
        self._failed, self._back = texts
        self._ready = False
        self._why = ""
        self._tries = Background.until(self._tried_again, name="button tries")

    def open(self) -> None:
        """Raises nothing."""
        if not self._tried():
            self._announce(self._failed, self._failed)
            self._tries.start()

    def poll(self, now_s: float) -> list[Press]:
        return self._buttons.poll(now_s) if self._ready else []

    def close(self) -> None:
        if self._tries.close(JOIN_S):
            self._buttons.close()

    def _tried(self) -> bool:
        try:
            self._buttons.open()
        except Exception as error:  # noqa: BLE001 - gpiozero and the libraries under it raise many kinds
            if str(error) != self._why:
                logger.error("%s", error)
            self._why = str(error)
            return False
        self._ready = True
        return True

    def _tried_again(self) -> bool:
        if not self._tried():
            return False
        self._announce(self._back, self._failed)
        return True
