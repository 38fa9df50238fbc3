"""What of an agent is watched, and by whom."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from device.agent.parts import AgentPorts, Parts, RunOptions
from device.agent.state import AgentState
from device.agent.watching import settings
from device.capture.live import LiveSource
from device.capture.source import PartHealth
from device.capture.worker_process import Plan
from device.health import sentinel_keeper
from shared.clock import ManualClock, SystemClock
from tests.device.agent import stage
from tests.device.capture import children


class Repairing(LiveSource):
    """A camera that is being started again, or is not."""

    def __init__(self) -> None:
        super().__init__(Plan("camera", "picture", f"{children.__name__}:never_starts", {}))
        self.well = self.given_up = False

    @property
    def health(self) -> tuple[PartHealth, ...]:
        return (PartHealth("camera", "picture", self.well, 1, "", self.given_up),)


@contextmanager
def parts(folder: Path, **overrides: object) -> Iterator[Parts]:
    chosen = stage.config(folder, stage.film(folder, 1.0), **overrides)
    made = Parts(chosen, RunOptions(), AgentPorts(SystemClock()), threading.Event())
    try:
        yield made
    finally:
        made.models.close()
        made.outbox.close()


@pytest.mark.parametrize(
    ("overrides", "on"),
    [
        ({}, False),
        ({"capture__pace": "real", "voice__speech": "speakers"}, False),
        ({"capture__pace": "real", "voice__speech": "speakers", "sentinel__when": "always"}, True),
        ({"capture__pace": "real", "voice__speech": "speakers", "capture__source": "camera:0"}, True),
        ({"capture__pace": "real", "capture__source": "camera:0"}, False),
        (
            {
                "capture__pace": "real",
                "voice__speech": "speakers",
                "capture__source": "camera:0",
                "sentinel__when": "never",
            },
            False,
        ),
    ],
    ids=["fast replay", "replay", "replay, asked for", "camera", "camera that nobody hears", "switched off"],
)
def test_a_sentinel_watches_what_a_wearer_walks_with(tmp_path: Path, overrides: dict[str, object], on: bool) -> None:
    with parts(tmp_path, **overrides) as made:
        assert settings(made).on == on


def test_a_camera_that_is_started_again_does_not_let_the_watchdog_end_the_agent(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        made.clock = clock = ManualClock(100.0)
        made.walking, made.source = True, (camera := Repairing())
        state = AgentState(made)
        first, clock.now_s = state.progress(), 101.0
        assert state.progress() == first, "the loop that waits for it stands still"
        made.rounds += 1
        assert state.progress() != first
        camera.well = True
        first, clock.now_s = state.progress(), 102.0
        assert state.progress() == first  # no look, no progress
        camera.well, camera.given_up = False, True
        first, made.rounds = state.progress(), made.rounds + 1
        assert state.progress() == first  # nothing but a restart brings it back


def test_a_voice_that_hangs_lets_the_watchdog_end_the_agent_unless_guidance_is_felt(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        made.clock = clock = ManualClock(100.0)
        state = AgentState(made)
        made.speakers = SimpleNamespace(hangs=True)  # type: ignore[assignment]
        first, clock.now_s = state.progress(), 101.0
        assert state.progress() == first
        made.tactile = SimpleNamespace(trouble="")  # type: ignore[assignment]
        first, clock.now_s = state.progress(), 102.0
        assert state.progress() != first


def test_the_boards_of_two_agents_lie_apart_and_belong_to_their_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    one, other = (sentinel_keeper.board_folder(tmp_path / name) for name in ("a", "b"))
    assert one != other
    assert one == sentinel_keeper.board_folder(tmp_path / "a")
    assert one.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    assert sentinel_keeper.board_folder(tmp_path / "a") == tmp_path / "run"


def test_a_folder_that_is_a_link_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"waycue-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        sentinel_keeper.board_folder(tmp_path / "state")


def test_a_walk_whose_sentinel_has_no_memory_to_be_told_in_says_that_nobody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "taken"))
    chosen = stage.config(
        tmp_path,
        stage.film(tmp_path, 8.0),
        capture__pace="real",
        voice__speech="speakers",
        voice__output="no such output",
        sentinel__when="always",
    )
    stage.agent(chosen, stage.StoryModel(stage.nothing), tmp_path).run()
    announced = [entry["text"] for entry in stage.result(tmp_path).report["announced"]]
    assert announced.count("Watch is off.") == 1
