"""The feed of the watchdog and of the sentinel: what it tells, and that nothing slow is on its way."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device.health.feed import FeedPorts, ProgressFeed, SpokenTimes
from device.sentinel.board import AgentPhase, Board, SentinelRecord, started
from shared import policy
from shared.clock import ManualClock


@dataclass
class Figures:
    """An agent's figures as a test sets them."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(50.0))
    progress: object = 1
    live_s: float = 0.0
    voice: bool = True
    sees: bool = True
    look_every_s: float = 0.25
    backs: int = 0
    ready: bool = False

    def back(self) -> None:
        self.backs += 1

    def feed(self, board: Board | None, spoken: SpokenTimes | None = None) -> ProgressFeed:
        ports = FeedPorts(
            lambda: self.progress,
            lambda: self.live_s,
            lambda: self.sees,
            lambda: self.voice,
            lambda: self.look_every_s,
            self.back,
            lambda: self.ready,
        )
        spoken = spoken or SpokenTimes(self.clock, 180)
        return ProgressFeed(ports, spoken, board, clock=self.clock)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "board")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def received(systemd: socket.socket) -> int:
    count = 0
    while True:
        try:
            assert systemd.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            return count
        count += 1


def test_the_watchdog_is_fed_by_progress_alone_and_once_a_second(systemd: socket.socket) -> None:
    figures = Figures()
    feed = figures.feed(None)
    feed.tick()
    assert received(systemd) == 0  # not ready yet
    figures.ready = True
    feed.tick()
    assert systemd.recv(100) == b"READY=1"
    assert received(systemd) == 1
    for progress in range(30):
        figures.progress, figures.clock.now_s = progress, 50.0 + progress / 10
        feed.tick()
    assert received(systemd) == 2
    for tick in range(100):
        figures.clock.now_s = 53.0 + tick / 10
        feed.tick()
    assert received(systemd) <= 1  # what changed since the last word


@pytest.mark.usefixtures("systemd")
def test_a_supervisor_that_reads_nothing_does_not_hold_the_feed_up() -> None:
    figures, done = Figures(), threading.Event()
    feed = figures.feed(None)
    figures.ready = True

    def many() -> None:
        for progress in range(2000):
            figures.progress, figures.clock.now_s = progress, 50.0 + progress
            feed.tick()
        done.set()

    threading.Thread(target=many, daemon=True).start()
    assert done.wait(20)


def test_an_agent_that_has_not_looked_yet_is_starting_and_then_guides(board: Board) -> None:
    figures = Figures()
    feed = figures.feed(board)
    feed.tick()
    record = board.agent()
    assert record is not None
    assert (record.phase, record.pid, record.started) == (AgentPhase.STARTING, os.getpid(), started(os.getpid()))
    figures.live_s = figures.clock.now_s = 51.0
    feed.tick()
    record = board.agent()
    assert record is not None
    assert (record.phase, record.live_s, record.beat_s) == (AgentPhase.GUIDING, 51.0, 51.0)


def test_a_voice_that_cannot_be_heard_is_told_by_its_age(board: Board) -> None:
    figures = Figures()
    feed = figures.feed(board)
    feed.tick()
    figures.voice, figures.clock.now_s = False, 53.0
    feed.tick()
    record = board.agent()
    assert record is not None
    assert (record.voice_s, record.beat_s) == (50.0, 53.0)


def test_an_end_on_purpose_is_on_the_board_also_after_the_feed_was_closed(board: Board) -> None:
    feed = Figures().feed(board)
    feed.start()
    feed.end()
    feed.close()
    record = board.agent()
    assert record is not None
    assert record.phase == AgentPhase.ENDED


def test_an_agent_that_looks_and_sees_nothing_tells_so(board: Board) -> None:
    figures = Figures(sees=False)
    feed = figures.feed(board)
    feed.tick()
    record = board.agent()
    assert record is not None
    assert not record.sees


def test_what_the_agent_says_of_itself_is_told(board: Board) -> None:
    figures = Figures()
    spoken = SpokenTimes(figures.clock, 180)
    feed = figures.feed(board, spoken)
    for at_s, text in ((51.0, policy.PAUSED), (52.0, policy.RESUMED), (53.0, "Stop, curb ahead.")):
        figures.clock.now_s = at_s
        spoken.said(text)
    feed.tick()
    record = board.agent()
    assert record is not None
    assert (record.told_s, record.back_s) == (51.0, 52.0)
    assert 54.0 < record.speaking_until_s < 55.0


def test_the_sentinel_asks_once_and_the_agent_says_once_that_it_is_back(board: Board) -> None:
    figures = Figures()
    feed = figures.feed(board)
    for asks_back in (False, True, True, True, False, True):
        board.write_sentinel(SentinelRecord(1, True, asks_back, 50.0))
        feed.tick()
    assert figures.backs == 2


def test_an_agent_that_makes_room_for_the_next_one_of_its_process_has_not_ended(board: Board) -> None:
    figures = Figures(live_s=60.0)
    feed = figures.feed(board)
    figures.clock.now_s = 61.0
    feed.tick()
    assert phase_on(board) == AgentPhase.GUIDING
    feed.restart()
    figures.live_s = 62.0  # the last look of the old one
    feed.tick()
    assert phase_on(board) == AgentPhase.STARTING
    feed.close()
    assert phase_on(board) == AgentPhase.STARTING


def phase_on(board: Board) -> AgentPhase:
    record = board.agent()
    assert record is not None
    return record.phase


def test_the_sentinel_is_told_how_far_apart_looks_are_on_this_board(board: Board) -> None:
    figures = Figures()
    feed = figures.feed(board)
    for look_every_s in (0.25, 2.5):
        figures.look_every_s = look_every_s
        feed.tick()
        record = board.agent()
        assert record is not None
        assert record.look_every_s == look_every_s
