"""Tells the sentinel and systemd, ten times a second, how far the walk has come.

Its thread reads figures and copies them into shared memory: it waits for no disk and no network. So a card
that stalls does not look like an agent that hangs. What stops this thread, stops the agent: SIGSTOP, or code that holds
the interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from device.guidance.loop import NO_CAMERA, SEVERAL_CAMERAS
from device.sentinel.board import AgentPhase, AgentRecord, Board, started
from shared.background import Background
from shared.clock import Clock
from shared.notify import ALIVE, READY, notify
from shared.policy import kinds

EVERY_S = 0.1
ALIVE_EVERY_S = 1.0
LEAD_S = 0.5  # of an utterance, beside its words: earcon and pauses
_BLIND_TEXTS = (kinds.PAUSED_NO_PICTURE, kinds.CAMERA_FROZEN, kinds.CAMERA_BLOCKED, NO_CAMERA, SEVERAL_CAMERAS)
STOP_TEXTS = frozenset((kinds.PAUSED, *_BLIND_TEXTS))
"""The agent says itself that it sees nothing."""


class SpokenTimes:
    """When the agent spoke, for the sentinel: two voices at once are none. One thread writes at a time; any reads."""

    def __init__(self, clock: Clock, words_per_minute: int) -> None:
        self._clock = clock
        self._word_s = 60 / words_per_minute
        self.told_s = self.back_s = self.until_s = 0.0

    def said(self, text: str, words: str | None = None) -> None:
        """An utterance was begun. words: in the wearer's language, where that is another"""
        now_s = self._clock.monotonic_s()
        self.until_s = now_s + LEAD_S + self._word_s * len((words or text).split())
        if text in STOP_TEXTS:
            self.told_s = now_s
        if text == kinds.RESUMED:
            self.back_s = now_s


@dataclass(frozen=True, slots=True)
class FeedPorts:
    """What the feed asks of the rest. None of these waits for anything."""

    progress: Callable[[], object]
    """Changes whenever the walk makes progress: that is what keeps the watchdog from restarting the agent."""
    live_s: Callable[[], float]
    """When a new, live picture was last looked at; 0 = never."""
    sees: Callable[[], bool]
    """A model is shown pictures that show something."""
    voice_works: Callable[[], bool]
    look_every_s: Callable[[], float]
    """How far apart looks are that come as they should."""
    back: Callable[[], None]
    """Say that guidance is back: the sentinel has said that it stopped."""
    ready: Callable[[], bool]
    """It guides, or has said why it does not yet and goes on trying."""


class ProgressFeed:
    """`start` it first and `close` it last. board: None = nobody watches but systemd."""

    def __init__(self, ports: FeedPorts, spoken: SpokenTimes, board: Board | None, *, clock: Clock) -> None:
        self._ports = ports
        self._spoken = spoken
        self._board = board
        self._clock = clock
        self._began_s = self._voice_s = clock.monotonic_s()
        self._started = started(os.getpid()) or 0
        self._progress: object = None
        self._alive_s = float("-inf")
        self._ready = self._ending = self._restarting = self._asked = False
        self._rounds = Background.every(EVERY_S, self.tick, name="progress feed", at_once=True)

    def start(self) -> None:
        self.tick()  # the board is the agent's before a sentinel reads it
        self._rounds.start()

    def end(self) -> None:
        """The walk ends because somebody wants it to. Any thread, also a signal handler."""
        self._ending = True

    def restart(self) -> None:
        """The walk ends, and another agent of this process begins: no end that anybody need be told of."""
        self._began_s = self._clock.monotonic_s()
        self._restarting = True

    def close(self) -> None:
        self._rounds.close()
        self.tick()

    def tick(self) -> None:
        now_s = self._clock.monotonic_s()
        progress = self._ports.progress()
        if not self._ready and self._ports.ready():
            self._ready = True
            notify(READY)  # from now on the watchdog waits for progress
        if self._ready and progress != self._progress and now_s - self._alive_s >= ALIVE_EVERY_S:
            self._progress, self._alive_s = progress, now_s
            notify(ALIVE)
        if self._board is not None:
            self._tell(self._board, now_s)

    def _tell(self, board: Board, now_s: float) -> None:
        live_s, spoken = self._ports.live_s(), self._spoken
        if self._ports.voice_works():
            self._voice_s = now_s
        guides = live_s >= self._began_s and not self._restarting
        phase = AgentPhase.GUIDING if guides else AgentPhase.STARTING
        board.write_agent(
            AgentRecord(
                pid=os.getpid(),
                started=self._started,
                phase=AgentPhase.ENDED if self._ending else phase,
                began_s=self._began_s,
                beat_s=now_s,
                live_s=live_s,
                look_every_s=self._ports.look_every_s(),
                voice_s=self._voice_s,
                told_s=spoken.told_s,
                back_s=spoken.back_s,
                speaking_until_s=spoken.until_s,
                sees=self._ports.sees(),
            )
        )
        sentinel = board.sentinel()
        asks = sentinel is not None and sentinel.asks_back
        if asks and not self._asked:
            self._ports.back()
        self._asked = asks
