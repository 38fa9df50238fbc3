"""A sentinel as a service: a real process that hears of an agent by the board alone, and asks systemd about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from device.sentinel.board import AgentPhase, AgentRecord, Board, started
from device.sentinel.watch import Saying
from shared.clock import SystemClock
from tests.device.sentinel import ears
from tests.paths import ROOT
from tests.pulse import RATE_HZ, PulseChild, until

CLOCK = SystemClock()
SYSTEMCTL = (
    '#!/bin/sh\necho "ActiveState=$(cat "$(dirname "$0")/state")"\necho "ExecMainPID=$(cat "$(dirname "$0")/pid")"\n'
)
"""Stands for the program that asks systemd; what it answers lies beside it."""


@dataclass
class Service:
    folder: Path
    process: subprocess.Popen[bytes]

    def systemd_says(self, state: str, pid: int) -> None:
        for name, text in (("state", state), ("pid", str(pid))):
            (self.folder / f"{name}.new").write_text(text)
            (self.folder / f"{name}.new").rename(self.folder / name)


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    (folder / "systemctl").write_text(SYSTEMCTL)
    (folder / "systemctl").chmod(0o755)
    command = [sys.executable, "-m", "device.sentinel", "--board", str(folder / "board"), "--speech", str(folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{folder}:{os.environ['PATH']}"}
    with subprocess.Popen([*command, "--unit", "waycue-device.service"], env=env) as process:
        made = Service(folder, process)
        made.systemd_says("active", 0)
        try:
            yield made
        finally:
            process.terminate()


@contextmanager
def agent(board: Board) -> Iterator[subprocess.Popen[bytes]]:
    """A process, and its record on the board."""
    with subprocess.Popen(["sleep", "60"]) as process:
        until(lambda: started(process.pid) is not None, "a process")
        tell(board, process.pid)
        try:
            yield process
        finally:
            process.kill()


def tell(board: Board, pid: int) -> None:
    now_s = CLOCK.monotonic_s()
    since = started(pid) or 0
    board.write_agent(AgentRecord(pid, since, AgentPhase.GUIDING, now_s, now_s, live_s=now_s, voice_s=now_s))


def test_systemd_that_gives_up_is_heard_and_a_new_agent_too(pulse: PulseChild, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    with pulse.record() as sound, service(tmp_path) as made:
        with agent(board) as process:
            until(lambda: board.sentinel() is not None, "the sentinel")
            tell(board, process.pid)
            made.systemd_says("failed", process.pid)
        until(lambda: bool(ears.heard(sound(), RATE_HZ, Saying.STOPPED)), "guidance stopped")
        until(lambda: bool(ears.heard(sound(), RATE_HZ, Saying.FAILED)), "guidance has failed")
        with agent(board) as process:

            def back() -> bool:
                tell(board, process.pid)  # it looks, and says nothing itself
                return bool(ears.heard(sound(), RATE_HZ, Saying.BACK))

            until(back, "guidance is back")
    assert made.process.returncode == 0


def test_settings_that_cannot_be_read_are_heard_although_no_agent_ever_wrote(pulse: PulseChild, tmp_path: Path) -> None:
    with pulse.record() as sound, service(tmp_path) as made:
        made.systemd_says("failed", 4711)
        until(lambda: bool(ears.heard(sound(), RATE_HZ, Saying.FAILED)), "guidance has failed")


def test_what_it_says_of_an_end_is_heard_to_its_own_end_where_both_are_stopped(
    pulse: PulseChild, tmp_path: Path
) -> None:
    board = Board(tmp_path / "board")
    with pulse.record() as sound, service(tmp_path) as made, agent(board) as process:
        until(lambda: board.sentinel() is not None, "the sentinel")
        record = board.agent()
        assert record is not None
        board.write_agent(replace(record, phase=AgentPhase.ENDED))
        process.kill()
        made.process.terminate()
        assert made.process.wait(60) == 0
        until(lambda: len(ears.heard(sound(), RATE_HZ, Saying.ENDED)) == 2, "the pattern, twice")
