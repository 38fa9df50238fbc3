"""What a press does: the one place that knows. Pressed on the capture loop, which it never holds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from device.controls.buttons import Buttons, Press
from device.guidance.loop import Guidance
from device.moments.collector import Moments
from device.voice import Voice
from device.voice.voice import VOLUME_STEP
from shared import policy


class Presses:
    """Hands on what was pressed. `walking`: without a walk there is nothing to flag or correct."""

    def __init__(
        self,
        buttons: Sequence[Buttons],
        guidance: Guidance,
        moments: Moments,
        voice: Voice,
        *,
        walking: Callable[[], bool],
        stop: Callable[[], None],
    ) -> None:
        self._buttons = buttons
        self._guidance = guidance
        self._moments = moments
        self._voice = voice
        self._walking = walking
        self._stop = stop

    def poll(self, now_s: float) -> None:
        """Deal with everything that was pressed up to walk time `now_s`."""
        for buttons in self._buttons:
            for press in buttons.poll(now_s):
                self._pressed(press)

    def _pressed(self, press: Press) -> None:
        if press.action == "repeat":
            self._guidance.post(policy.RepeatAsked())
        elif press.action == "mute":
            self._guidance.post(policy.MuteToggled())
        elif press.action in ("louder", "quieter"):
            self._voice.change_volume(VOLUME_STEP if press.action == "louder" else -VOLUME_STEP)
        elif press.action == "quit":
            self._stop()
        elif not self._walking():
            self._voice.earcon("refused")
        elif press.action == "flag":
            self._moments.flag(press.t_s)
        elif press.action == "hold":
            self._moments.begin_correction(press.t_s, self._guidance.model_version)
        elif press.action == "release":
            self._moments.end_correction(press.t_s)
