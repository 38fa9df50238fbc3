"""A button that may not be usable yet, or goes and comes again: opened again and again, and announced once.

A pin that is taken, a missing library, a broken wire or a remote that is switched off must not end the thing that
protects: without its button the agent guides all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from device.controls.actions import Buttons, Press
from device.controls.pressed import InputGone
from shared.background import Background

logger = logging.getLogger(__name__)

FAILED = "Button failed."
BACK = "Button is working."
SECOND_FAILED = "Second button failed."
SECOND_BACK = "Second button is working."
TEXTS = ((FAILED, BACK), (SECOND_FAILED, SECOND_BACK))
"""Of the first and the second button on a pin."""
ANOTHER_FAILED = "Another button failed."
ANOTHER_BACK = "Another button is working."
REMOTE_FAILED = "Remote is away."
REMOTE_BACK = "Remote is working."
SWITCH_FAILED = "Switch failed."
SWITCH_BACK = "Switch is working."
LIGHT_FAILED = "Light failed."
LIGHT_BACK = "Light is working."
ANOTHER, REMOTE, SWITCH = (ANOTHER_FAILED, ANOTHER_BACK), (REMOTE_FAILED, REMOTE_BACK), (SWITCH_FAILED, SWITCH_BACK)
LIGHT = LIGHT_FAILED, LIGHT_BACK
"""Of more buttons on pins, of an input device, of a switch and a light on a pin."""
BUTTON_TEXTS = tuple(text for pair in (*TEXTS, ANOTHER, REMOTE, SWITCH, LIGHT) for text in pair)
JOIN_S = 2.0
FIRST_S, MOST_S = 2.0, 60.0
COMES_BACK_S = 8.0  # a headset that was out of reach is wanted soon after it is back
MISSED_TRIES = 2  # a Bluetooth remote sleeps and wakes: only one that is still away after these is news


class RetriedButtons:
    """texts: what is said when it is away and when it is back. announce(text, about): a change of state.
    first_s, most_s: the first and the longest time between two tries."""

    def __init__(
        self,
        buttons: Buttons,
        texts: tuple[str, str],
        announce: Callable[[str, str], None],
        *,
        first_s: float = FIRST_S,
        most_s: float = MOST_S,
    ) -> None:
        self._buttons, self._announce = buttons, announce
        self._failed, self._back = texts
        self._first_s, self._most_s = first_s, most_s
        self._ready = False
        self._told = False
        self._missed = 0
        self._why = ""
        self._tries = self._new_tries()

    def _new_tries(self) -> Background:
        return Background.until(self._tried_again, name="button tries", first_s=self._first_s, most_s=self._most_s)

    def open(self) -> None:
        """Raises nothing."""
        if not self._tried():
            self._tell_failed()
            self._tries.start()

    def poll(self, now_s: float) -> list[Press]:
        if not self._ready:
            return []
        try:
            return self._buttons.poll(now_s)
        except InputGone as error:
            self._gone(error)
        except Exception as error:  # a pin of which the library lost hold must not end the walk
            logger.exception("A button failed")
            self._gone(error)
        return []

    def close(self) -> None:
        if self._tries.close(JOIN_S):
            self._buttons.close()

    def _gone(self, error: Exception) -> None:
        logger.warning("%s", error)
        self._ready, self._missed = False, 0
        try:
            self._buttons.close()
        except Exception:
            logger.exception("A button that failed could not be let go of")
        self._tries = self._new_tries()
        self._tries.start()

    def _tell_failed(self) -> None:
        self._told = True
        self._announce(self._failed, self._failed)

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
            self._missed += 1
            if self._missed >= MISSED_TRIES and not self._told:
                self._tell_failed()
            return False
        if self._told:
            self._told = False
            self._announce(self._back, self._failed)
        return True
