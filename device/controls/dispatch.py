"""What a press does: the one place that knows. Pressed on the capture loop, which it never holds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from device.controls.actions import ButtonAction, Buttons, Press
from device.guidance.loop import Guidance
from device.moments.collector import Moments
from device.moments.pausing import PauseEvent
from device.moments.recording import Recording
from device.voice.voice import VOLUME_STEP, Voice
from shared import policy

STATUS_ABOUT = "how it is"
_ABOUT_A_MOMENT = frozenset({ButtonAction.FLAG, ButtonAction.HOLD, ButtonAction.RELEASE})


@dataclass(frozen=True, slots=True)
class PressPorts:
    """What is asked and told. walking: without a walk there is nothing to flag or correct."""

    walking: Callable[[], bool]
    stop: Callable[[], None]
    how_are_you: Callable[[], str]
    """What to answer to that."""
    next_profile: Callable[[], None]
    ask_for_help: Callable[[], None]


class Presses:
    """Hands on what was pressed."""

    def __init__(
        self,
        buttons: Sequence[Buttons],
        guidance: Guidance,
        voice: Voice,
        recording: tuple[Moments, Recording],
        ports: PressPorts,
    ) -> None:
        self._buttons = buttons
        self._guidance = guidance
        self._voice = voice
        self._moments, self._recording = recording
        self._ports = ports
        self._does = self._table()
        self.first: Callable[[Press], bool] = lambda press: False
        """Is given each press, and says whether it took it: the set-up while it is open."""

    def poll(self, now_s: float) -> None:
        """Deal with everything that was pressed up to walk time `now_s`."""
        for buttons in self._buttons:
            for press in buttons.poll(now_s):
                if not self.first(press):
                    self.pressed(press)

    def pressed(self, press: Press) -> None:
        """Do what a press asks for."""
        if press.action in _ABOUT_A_MOMENT and not self._may_keep(press.action):
            return
        self._does[press.action](press)

    def _may_keep(self, action: ButtonAction) -> bool:
        if self._ports.walking() and not self._recording.paused:
            return True
        self._voice.earcon("refused")
        if self._recording.paused and action is not ButtonAction.RELEASE:
            self._recording.refuse()
        return False

    def _table(self) -> Mapping[ButtonAction, Callable[[Press], object]]:
        guidance, moments, voice = self._guidance, self._moments, self._voice
        return {
            ButtonAction.FLAG: lambda press: moments.flag(press.t_s),
            ButtonAction.HOLD: lambda press: moments.begin_correction(press.t_s, guidance.model_version),
            ButtonAction.RELEASE: lambda press: moments.end_correction(press.t_s),
            ButtonAction.REPEAT: lambda _: guidance.post(policy.RepeatAsked()),
            ButtonAction.MUTE: lambda _: guidance.post(policy.MuteToggled()),
            ButtonAction.LOUDER: lambda _: voice.change_volume(VOLUME_STEP),
            ButtonAction.QUIETER: lambda _: voice.change_volume(-VOLUME_STEP),
            ButtonAction.SEES: lambda _: guidance.tell_sight(),
            ButtonAction.AHEAD: lambda _: guidance.post(policy.AheadAsked()),
            ButtonAction.STATUS: lambda _: guidance.tell(self._ports.how_are_you(), about=STATUS_ABOUT),
            ButtonAction.PAUSE: lambda press: self._recording.happened(PauseEvent.PRESSED, press.t_s),
            ButtonAction.SWITCH_ON: lambda press: self._recording.happened(PauseEvent.SWITCH_ON, press.t_s),
            ButtonAction.SWITCH_OFF: lambda press: self._recording.happened(PauseEvent.SWITCH_OFF, press.t_s),
            ButtonAction.ZONE_ENTERED: lambda press: self._recording.happened(PauseEvent.ZONE_ENTERED, press.t_s),
            ButtonAction.ZONE_LEFT: lambda press: self._recording.happened(PauseEvent.ZONE_LEFT, press.t_s),
            ButtonAction.FORGET: lambda press: moments.forget(press.t_s),
            ButtonAction.DISCARD: lambda press: moments.discard_correction(press.t_s),
            ButtonAction.PROFILE: lambda _: self._ports.next_profile(),
            ButtonAction.HELP: lambda _: self._ports.ask_for_help(),
            ButtonAction.SETUP: lambda _: voice.earcon("refused"),  # of a replay, which has no set-up
            ButtonAction.QUIT: lambda _: self._ports.stop(),
        }
