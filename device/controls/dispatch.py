"""What a press does: the one place that knows. Pressed on the capture loop, which it never holds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from device.controls.buttons import ButtonAction, Buttons, Press
from device.guidance.loop import Guidance
from device.moments.collector import Moments
from device.voice.voice import VOLUME_STEP, Voice
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
        self.first: Callable[[Press], bool] = lambda press: False
        """Is given each press, and says whether it took it: the set-up while it is open."""

    def poll(self, now_s: float) -> None:
        """Deal with everything that was pressed up to walk time `now_s`."""
        for buttons in self._buttons:
            for press in buttons.poll(now_s):
                if not self.first(press):
                    self._pressed(press)

    def _pressed(self, press: Press) -> None:
        match press.action:
            case ButtonAction.REPEAT:
                self._guidance.post(policy.RepeatAsked())
            case ButtonAction.MUTE:
                self._guidance.post(policy.MuteToggled())
            case ButtonAction.LOUDER:
                self._voice.change_volume(VOLUME_STEP)
            case ButtonAction.QUIETER:
                self._voice.change_volume(-VOLUME_STEP)
            case ButtonAction.SEES:
                self._guidance.tell_sight()
            case ButtonAction.QUIT:
                self._stop()
            case ButtonAction.SETUP:
                self._voice.earcon("refused")  # of a replay, which has no set-up
            case ButtonAction.FLAG | ButtonAction.HOLD | ButtonAction.RELEASE if not self._walking():
                self._voice.earcon("refused")
            case ButtonAction.FLAG:
                self._moments.flag(press.t_s)
            case ButtonAction.HOLD:
                self._moments.begin_correction(press.t_s, self._guidance.model_version)
            case ButtonAction.RELEASE:
                self._moments.end_correction(press.t_s)
            case _:
                assert_never(press.action)
