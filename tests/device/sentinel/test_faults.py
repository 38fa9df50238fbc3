"""Each way in which an agent can fall silent, in real processes: what comes out of the sound system, and when.

One walk serves all of them; whoever killed it starts the next.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.sentinel.board import started
from device.sentinel.watch import Saying
from tests.device.sentinel.walk import Walk, walking
from tests.device.voice.speech import needs_espeak
from tests.pulse import PulseChild, until

pytestmark = needs_espeak
PROMISED_S = 3.0
MEMORY_KB = 25_000
BUSY_S = 5.0


@pytest.fixture(scope="module")
def shared_walk(pulse_daemon: PulseChild, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with walking(tmp_path_factory.mktemp("walk"), pulse_daemon) as walk:
        yield walk


@pytest.fixture
def walk(shared_walk: Walk) -> Walk:
    shared_walk.begin()
    return shared_walk


def test_the_sentinel_is_small(walk: Walk) -> None:
    status = Path(f"/proc/{walk.sentinel_pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < MEMORY_KB


def test_an_agent_that_is_stopped_is_reported_and_says_itself_that_it_is_back(walk: Walk) -> None:
    fault_s = walk.now_s
    walk.send(signal.SIGSTOP)
    assert walk.heard_after_s(fault_s, Saying.STOPPED) <= PROMISED_S, walk.said()
    walk.send(signal.SIGCONT)
    until(lambda: bool(told(walk)), "the agent to say that it is back")
    assert walk.heard(fault_s, Saying.BACK) == []  # one voice says it


def told(walk: Walk) -> bool:
    agent = walk.board.agent()
    return agent is not None and agent.back_s > agent.beat_s - 5


def test_code_that_holds_the_interpreters_lock_is_a_hang(walk: Walk) -> None:
    fault_s = walk.now_s
    walk.order("gil 5")
    assert walk.heard_after_s(fault_s, Saying.STOPPED) <= PROMISED_S, walk.said()


def test_a_camera_that_hangs_is_told_by_the_agent_itself(walk: Walk) -> None:
    fault_s = walk.now_s
    walk.order("camera")
    assert walk.loud_after_s(fault_s) <= PROMISED_S, walk.said()
    assert walk.heard(fault_s, Saying.STOPPED) == []


def test_a_busy_machine_is_no_alarm(walk: Walk) -> None:
    began_s = walk.now_s
    with busy(2 * (os.cpu_count() or 1)):
        until(lambda: walk.now_s >= began_s + BUSY_S, "some seconds of the walk", timeout_s=60)
    assert walk.heard(began_s, Saying.STOPPED) == []


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that compute all the time."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def test_a_sentinel_that_dies_is_started_again(walk: Walk) -> None:
    before = walk.sentinel_pid
    os.kill(before, signal.SIGKILL)
    until(lambda: walk.sentinel_pid != before, "another sentinel")


def test_a_killed_agent_is_reported_and_nobody_starts_it_again(walk: Walk) -> None:
    fault_s = walk.now_s
    walk.send(signal.SIGKILL)
    assert walk.heard_after_s(fault_s, Saying.STOPPED) <= PROMISED_S, walk.said()
    assert 3.0 <= walk.heard_after_s(fault_s, Saying.FAILED) <= 7.0


def test_an_end_on_purpose_is_said_once_and_ends_the_sentinel(walk: Walk) -> None:
    sentinel, fault_s = walk.sentinel_pid, walk.now_s
    walk.send(signal.SIGTERM)
    assert walk.heard_after_s(fault_s, Saying.ENDED) <= PROMISED_S, walk.said()
    until(lambda: started(sentinel) is None, "the end of the sentinel")
    assert len(walk.heard(fault_s, Saying.ENDED)) == 1
    assert walk.heard(fault_s, Saying.STOPPED) == []
