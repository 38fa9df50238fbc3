"""Carries out the set-up: feeds the dialogue with what happens, and does what it asks for.

One thread decides. What reads a picture, a few a second and only while the dialogue wants them, and what waits for a
network has a thread of its own each time, so that the dialogue can go on speaking: a noisy picture may take OpenCV a
second on an x86 core. While the set-up is off the one thread sleeps, and there are no others.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from device.capture.source import VideoFrame
from device.controls.actions import ButtonAction, Press
from device.health import sight_told
from device.identity import enrol
from device.setup import dialogue, network
from device.setup.find import find_servers
from device.setup.kinds import (
    Done,
    Enrol,
    Enrolled,
    EnrolTrouble,
    FindServers,
    Join,
    JoinTrouble,
    LetIn,
    NotJoined,
    NotLetIn,
    Pressed,
    Restart,
    Say,
    ServersFound,
    SetupAction,
    SetupEvent,
    SetupPhase,
    SetupPress,
    SetupState,
    SpeechBegan,
    TimePassed,
    Watched,
)
from device.setup.reader import CodeReader, event_of
from shared import atomic
from shared.background import Background
from shared.clock import Clock
from shared.errors import ConfigError, Refused, Transient, Unreachable, WaycueError
from shared.floor import ClockFloor

logger = logging.getLogger(__name__)

FRESH = "first_use.json"
"""In the state folder, from the enrolment by a code until the tutorial was heard."""
ROUND_S = 0.1
READ_EVERY_S = 0.4
WATCH_EVERY_S = 1.0
MEANINGS = {
    ButtonAction.SETUP: SetupPress.BEGIN,
    ButtonAction.REPEAT: SetupPress.AGAIN,
    ButtonAction.FLAG: SetupPress.SHORT,
    ButtonAction.HOLD: SetupPress.LONG,
    ButtonAction.MUTE: SetupPress.LONG,
}
"""Of the buttons, here."""


@dataclass(frozen=True, slots=True)
class SetupPorts:
    """What the set-up needs of the agent around it."""

    say: Callable[[Say], None]
    watched: Callable[[], Watched]
    restart: Callable[[], None]
    """End this agent, for one with the new identity."""
    clock: Clock
    words_per_minute: int
    find: Callable[[], tuple[str, ...]] = find_servers


@dataclass(frozen=True, slots=True)
class Owner:
    """Who the device is so far."""

    state_dir: Path
    floor: ClockFloor
    enrolled: Enrolled | None
    fixed_name: str = ""
    """device.name of the settings: a code for another one cannot be used."""


class Setup:
    """`start` it, hand it pictures and presses, `close` it. looks: open from the start."""

    def __init__(self, owner: Owner, ports: SetupPorts, *, looks: bool) -> None:
        self._owner, self._ports, self._looks = owner, ports, looks
        self._state = SetupState(enrolled=owner.enrolled)
        self._events: queue.SimpleQueue[SetupEvent | None] = queue.SimpleQueue()
        self._picture: VideoFrame | None = None
        self._read_s = self._watched_s = float("-inf")
        self._reader: CodeReader | None = None
        self._reading: Background | None = None
        self._fresh = (owner.state_dir / FRESH).exists()
        self._swallows_release = False
        self._dialogue = Background(self._run, name="set-up", restart_s=1.0, wake=lambda: self._events.put(None))

    @property
    def begins(self) -> bool:
        """It has the first word at this start."""
        return self._looks or (self._fresh and self._owner.enrolled is not None)

    def start(self) -> None:
        now_s = self._ports.clock.monotonic_s()
        self._state, actions = dialogue.begin(
            now_s, enrolled=self._owner.enrolled, fresh=self._fresh, looks=self._looks
        )
        for action in actions:
            self._carry_out(action)
        self._dialogue.start()

    def close(self) -> None:
        """What waits for a network is left behind: it ends by itself, and changes nothing here any more."""
        self._dialogue.close()

    # --- called from other threads ---

    def offer(self, frame: VideoFrame) -> None:
        """A new picture; it is kept only while codes are looked for."""
        if self._state.reads:
            self._picture = frame

    def pressed(self, press: Press) -> bool:
        """Whether the press was for the set-up, and for nobody else."""
        if press.action is ButtonAction.RELEASE:
            swallowed, self._swallows_release = self._swallows_release, False
            return swallowed
        meant = MEANINGS.get(press.action)
        if meant is None or not dialogue.takes(self._state, meant):
            return False
        self._swallows_release = press.action is ButtonAction.HOLD
        self._events.put(Pressed(meant))
        return True

    def said(self, text: str) -> None:
        """An utterance was begun, of ours or of others."""
        if self._state.phase in (SetupPhase.LEAVING, SetupPhase.TUTORIAL):
            lasts_s = 0.8 + 60 / self._ports.words_per_minute * len(text.split())
            self._events.put(SpeechBegan(text, lasts_s))

    # --- the loop ---

    def _run(self) -> None:
        while not self._dialogue.stopping.is_set():
            idle = self._state.phase is SetupPhase.OFF
            try:
                event = self._events.get(timeout=None if idle else ROUND_S)
            except queue.Empty:
                event = None
            self._look()
            for happened in (event, self._watches(), TimePassed()):
                if happened is not None:
                    self._step(happened)

    def _step(self, event: SetupEvent) -> None:
        before = self._state.phase
        self._state, actions = dialogue.step(self._state, event, self._ports.clock.monotonic_s())
        if self._state.phase is not before:
            logger.info("Set-up: %s", self._state.phase)
            self._picture = None
        for action in actions:
            self._carry_out(action)

    def _look(self) -> None:
        """Read the newest picture, one at a time."""
        now_s, frame = self._ports.clock.monotonic_s(), self._picture
        busy = self._reading is not None and self._reading.is_alive
        if frame is None or busy or not self._state.reads or now_s - self._read_s < READ_EVERY_S:
            return
        self._picture, self._read_s = None, now_s
        reader = self._reader = self._reader or CodeReader()
        self._reading = self._errand(lambda: event_of(reader.read(frame.image)))

    def _watches(self) -> Watched | None:
        now_s = self._ports.clock.monotonic_s()
        if self._state.phase is not SetupPhase.FETCHING or now_s - self._watched_s < WATCH_EVERY_S:
            return None
        self._watched_s = now_s
        return self._ports.watched()

    def _carry_out(self, action: SetupAction) -> None:
        match action:
            case Say():
                self._ports.say(action)
            case Join(wanted):
                self._errand(lambda: network.join(wanted), NotJoined(JoinTrouble.FAILED))
            case FindServers():
                self._errand(lambda: ServersFound(self._ports.find()), ServersFound(()))
            case Enrol():
                self._errand(lambda: self._enrol(action), NotLetIn(EnrolTrouble.UNREACHABLE))
            case Restart():
                self._ports.restart()
            case Done():
                self._fresh = False
                self._forget_fresh()
            case _:
                assert_never(action)

    def _forget_fresh(self) -> None:
        try:
            (self._owner.state_dir / FRESH).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The introduction comes again at the next start: %s", error)

    def _errand(self, run: Callable[[], SetupEvent | None], failed: SetupEvent | None = None) -> Background:
        """On a thread of its own; its answer is an event. failed: the answer where it raises, which is logged."""

        def go() -> None:
            answer = failed
            try:
                answer = run()
            finally:
                if answer is not None:
                    self._events.put(answer)

        errand = Background(go, name="set-up errand")
        errand.start()
        return errand

    def _enrol(self, wanted: Enrol) -> LetIn | NotLetIn:
        """What is to be done after it is on disk before the code is used: a power cut in between loses nothing."""
        code, owner = wanted.code, self._owner
        if owner.fixed_name not in ("", code.device):
            logger.error("The code is for %s, but device.name is %r.", code.device, owner.fixed_name)
            return NotLetIn(EnrolTrouble.OTHER_NAME)
        invitation = enrol.Invitation(wanted.server, code.code, code.device)
        if owner.enrolled is None or owner.enrolled.device != code.device:
            self._remember_fresh()
        try:
            enrol.enrol(owner.state_dir, invitation, floor=owner.floor, clock=self._ports.clock)
        except (WaycueError, OSError) as error:
            logger.error("%s was not let in: %s", code.device, error)
            if owner.enrolled is not None and not self._fresh:  # it stays whose it was
                self._forget_fresh()
            return NotLetIn(_trouble(error))
        return LetIn()

    def _remember_fresh(self) -> None:
        """Somebody else may wear it from now on: what it is and what its model sees is explained."""
        try:
            sight_told.forget(self._owner.state_dir)
            atomic.write_json(self._owner.state_dir / FRESH, {"enrolled_at_utc": self._ports.clock.utc_s()})
        except OSError as error:  # that it is let in counts
            logger.warning("There will be no introduction: %s", error)


def _trouble(error: Exception) -> EnrolTrouble:
    if isinstance(error, Unreachable):
        return EnrolTrouble.UNREACHABLE
    if isinstance(error, (Refused, ConfigError)):
        return EnrolTrouble.REFUSED
    return EnrolTrouble.BUSY if isinstance(error, Transient) else EnrolTrouble.STORAGE
