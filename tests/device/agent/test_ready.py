"""systemd is told "ready" when the agent guides, or when it has said why it does not and goes on trying."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.agent.stage import Running, StoryModel, agent, nothing
from tests.device.agent.test_startup import live, said
from tests.device.capture import films
from tests.pulse import until


class Supervisor:
    """What systemd hears, in order."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.heard: list[str] = []

    def hears(self, line: str) -> bool:
        try:
            while True:
                self.heard += self._listening.recv(4096).decode().splitlines()
        except BlockingIOError:
            return any(heard.startswith(line) for heard in self.heard)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield Supervisor(listening)


def test_with_a_camera_it_is_ready_once_a_picture_was_looked_at(tmp_path: Path, systemd: Supervisor) -> None:
    camera = films.make(tmp_path / "camera.mp4", seconds=60.0, fps=10.0, size=(160, 120), sound=False)
    made = agent(live(tmp_path, f"camera:{camera}"), StoryModel(nothing), tmp_path)
    assert made.parts.guidance.live_s == 0.0
    with Running(made):
        until(lambda: systemd.hears("READY=1"), "ready")
        assert made.parts.guidance.live_s > 0.0
        until(lambda: systemd.hears("STATUS=guiding, model test-1"), "the line for systemctl status")
        until(lambda: systemd.hears("WATCHDOG=1"), "the watchdog's food")
    assert systemd.hears("STOPPING=1")
    assert systemd.heard.index("READY=1") < systemd.heard.index("WATCHDOG=1")


def test_without_a_camera_it_is_ready_once_that_was_said(tmp_path: Path, systemd: Supervisor) -> None:
    with Running(agent(live(tmp_path, "camera:97"), StoryModel(nothing), tmp_path)):
        until(lambda: systemd.hears("READY=1"), "ready")
        until(lambda: "No camera." in said(tmp_path), "the announcement")
        until(lambda: systemd.hears("STATUS="), "the line for systemctl status")


def test_without_a_walk_it_is_ready_when_it_runs(tmp_path: Path, systemd: Supervisor) -> None:
    with Running(agent(live(tmp_path, "none"), None, tmp_path)):
        until(lambda: systemd.hears("READY=1"), "ready")
