"""`make soak` can be stopped at any time, and leaves nothing running and nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.broker.child import find_mosquitto
from tests.paths import ROOT

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed (apt install mosquitto)"),
]
END_S = 90.0
POLL_S = 0.1


def _marked(mark: str) -> set[int]:
    """Process ids of all that inherited a mark in their environment."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes():
                found.add(int(place.name))
        except OSError:
            continue  # it ended, or is a stranger's
    return found


def _until(condition: Callable[[], bool], what: str) -> None:
    ticking = threading.Event()
    for _ in range(int(END_S / POLL_S)):
        if condition():
            return
        ticking.wait(POLL_S)
    raise AssertionError(f"It never came to this: {what}.")


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    mark = f"waycue-soak-test-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.soak", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "MARK": mark},
        start_new_session=True,
    )
    yield process
    for left in _marked(mark):
        os.kill(left, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_stopped_in_the_middle_it_leaves_no_process_and_no_report(
    soak: subprocess.Popen[str], how: signal.Signals, tmp_path: Path
) -> None:
    mark = f"waycue-soak-test-{os.getpid()}"
    assert soak.stdout is not None
    while "durable steps" not in soak.stdout.readline():
        assert soak.poll() is None
    _until(lambda: len(_marked(mark)) > 4, "brokers, servers, devices and a fuzzer are running")
    soak.send_signal(how)
    said, _ = soak.communicate(timeout=END_S)
    assert soak.returncode == 130, said
    assert "interrupted" in said
    _until(lambda: not _marked(mark), "all that it started has ended")
    assert not (tmp_path / "out" / "report.json").exists()
