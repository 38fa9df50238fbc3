"""Starts on which something is away: it is announced once and tried again; only settings end the agent."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import SAID_BEFOREHAND, Agent
from device.capture.live import LiveSource
from device.capture.worker_process import Plan
from device.config import Config
from device.controls.actions import ButtonAction, Press
from device.controls.retried import BUTTON_TEXTS, TEXTS, RetriedButtons
from device.guidance.loop import SEVERAL_CAMERAS
from device.health import sight_told
from shared import atomic, vocabulary
from shared.clock import SystemClock
from shared.errors import BundleError, ConfigError
from shared.guidance.events import LoadedModel
from shared.model_card import NOT_KNOWN
from tests.device.agent.stage import Running, StoryModel, agent, config, film, nothing, presses, result, run
from tests.device.agent.test_walk import curb_then_pole
from tests.device.capture import films
from tests.pulse import until


def live(folder: Path, source: str, **more: object) -> Config:
    return config(folder, folder, capture__source=source, capture__pace="real", capture__microphone="none", **more)


def said(folder: Path) -> list[str]:
    path = folder / "captions.jsonl"
    return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


# --- camera ---


def test_a_camera_that_comes_later_is_announced_once_waited_for_and_then_guides(tmp_path: Path) -> None:
    made = films.make(tmp_path / "made.mp4", seconds=60.0, fps=10.0, size=(160, 120), sound=False)
    camera = tmp_path / "camera.mp4"
    with Running(agent(live(tmp_path, f"camera:{camera}"), StoryModel(nothing), tmp_path)):
        until(lambda: "No camera." in said(tmp_path), "the announcement")
        assert "Guidance ready." not in said(tmp_path)
        made.rename(camera)
        until(lambda: "Guidance ready." in said(tmp_path), "guidance")
    texts = said(tmp_path)
    told = [text for text in texts if not text.startswith("Guidance paused")]
    assert told == ["No camera.", "Camera back.", "Guidance ready."]
    assert result(tmp_path).report["looks"] > 0


def test_while_the_camera_is_away_the_watchdog_is_fed_and_the_end_is_an_ordinary_one(tmp_path: Path) -> None:
    made = agent(live(tmp_path, "camera:97"), StoryModel(nothing), tmp_path)
    with Running(made):
        until(lambda: "No camera." in said(tmp_path), "the announcement")
        before = made._state.progress()
        until(lambda: made._state.progress() != before, "progress")
    assert said(tmp_path) == ["No camera."]
    assert result(tmp_path).report["looks"] == 0


def test_several_cameras_are_told_once_each_time_and_the_only_one_that_is_left_guides(tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.touch()
    plan = Plan("camera 0", "picture", "tests.device.capture.children:one_of_several", {"second": str(second)})
    ports = AgentPorts(SystemClock(), load=lambda _: StoryModel(nothing), source=LiveSource(plan))
    options = RunOptions(captions=tmp_path / "captions.jsonl", exit_at_end=True, linger_s=0.0)
    chosen = live(tmp_path, "camera:0", guidance__model="given-by-the-test")
    with Running(Agent(chosen, options, ports)):
        until(lambda: SEVERAL_CAMERAS in said(tmp_path), "the announcement")
        second.unlink()
        until(lambda: "Guidance ready." in said(tmp_path), "guidance")
        second.touch()
        until(lambda: said(tmp_path).count(SEVERAL_CAMERAS) == 2, "the other announcement")
    told = [text for text in said(tmp_path) if not text.startswith("Guidance paused")]
    assert told == [SEVERAL_CAMERAS, "Camera back.", "Guidance ready.", SEVERAL_CAMERAS]


# --- model ---


def test_a_model_that_cannot_be_read_is_announced_once_tried_again_and_then_guides(tmp_path: Path) -> None:
    camera = films.make(tmp_path / "camera.mp4", seconds=60.0, fps=10.0, size=(160, 120), sound=False)
    tries: list[Path] = []

    def load(folder: Path) -> LoadedModel:
        tries.append(folder)
        if len(tries) < 2:
            raise BundleError("weights.onnx is torn.")
        return StoryModel(nothing)

    chosen = live(tmp_path, f"camera:{camera}", guidance__model=str(tmp_path / "model"))
    made = agent(chosen, None, tmp_path)
    made.parts.models._load = load  # type: ignore[attr-defined]  # FixedModel: how a bundle is loaded
    with Running(made):
        until(lambda: "Guidance ready." in said(tmp_path), "guidance")
    assert said(tmp_path) == ["No model. Recording only.", "Guidance ready."]
    assert len(tries) == 2


@pytest.mark.parametrize("damage", ["no folder", "LFS pointer", "torn manifest", "foreign file", "no rights"])
def test_a_model_of_any_damage_ends_no_walk_and_is_told_in_words(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    camera = films.make(tmp_path / "camera.mp4", seconds=20.0, fps=10.0, size=(160, 120), sound=False)
    model = tmp_path / "model"
    if damage != "no folder":
        model.mkdir()
        texts = {
            "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n",
            "torn manifest": b'{"format": 1, "version": "m',
            "foreign file": os.urandom(4096),
        }
        if damage == "no rights":
            (model / "manifest.json").mkdir()
        else:
            (model / "manifest.json").write_bytes(texts[damage])
    chosen = live(tmp_path, f"camera:{camera}", guidance__model=str(model))
    with Running(agent(chosen, None, tmp_path)):
        until(lambda: "No model. Recording only." in said(tmp_path), "the announcement")
    assert said(tmp_path) == ["No model. Recording only."]
    assert "No model: " in caplog.text
    assert "Traceback" not in caplog.text


# --- disk ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The state folder as a file system of its own, mounted read-only."""
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        atomic.write_json(folder / sight_told.FILE, [NOT_KNOWN])
        remount(folder, "ro")
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_on_a_read_only_disk_the_walk_is_guided_and_what_was_flagged_is_counted(tmp_path: Path, disk: Path) -> None:
    script = presses(tmp_path, {"t_s": 1.5, "action": "flag"})
    done = run(tmp_path, StoryModel(curb_then_pole), buttons__script=str(script), flags__predecessors=0)
    assert set(done.texts) == {"Storage failed.", "Guidance ready.", "Stop, curb ahead.", "Caution, pole on the left."}
    assert (done.report["looks"], done.report["not_kept"], done.records) == (32, 1, {})


def test_a_disk_that_is_writable_later_takes_what_was_held_and_says_so(tmp_path: Path, disk: Path) -> None:
    script = presses(tmp_path, {"t_s": 0.5, "action": "flag"}, {"t_s": 4.5, "action": "flag"})
    walk = film(tmp_path, 30.0)
    chosen = config(tmp_path, walk, capture__pace="real", buttons__script=str(script), flags__predecessors=0)
    made = agent(chosen, StoryModel(nothing), tmp_path)
    with Running(made):
        until(lambda: "Storage failed." in said(tmp_path), "the announcement")
        until(lambda: made.parts.sealer.held == 1, "the held chunk")
        remount(disk, "rw")
        until(lambda: "Storage is working again." in said(tmp_path), "the other announcement")
    done = result(tmp_path)
    assert done.texts.count("Storage failed.") == 1
    assert sorted(done.flags()) == [0, 2]
    assert done.report["not_kept"] == 0


def test_an_agent_on_a_read_only_disk_follows_offers_once_it_is_writable(tmp_path: Path, disk: Path) -> None:
    made = agent(config(tmp_path, film(tmp_path, 60.0), capture__pace="real"), None, tmp_path)
    with Running(made):
        until(lambda: "No model. Recording only." in said(tmp_path), "the announcement")
        assert made.parts.models.state_text == "no updates: the disk cannot be written"
        remount(disk, "rw")
        until(lambda: made.parts.models.state_text == "idle", "the updater")


@pytest.mark.parametrize("place", ["", "outbox", "models", "voice", "outbox/index.sqlite"])
def test_a_file_or_folder_in_the_place_of_another_ends_nothing(tmp_path: Path, place: str) -> None:
    atomic.write_json(tmp_path / "state" / sight_told.FILE, [NOT_KNOWN])
    wrong = tmp_path / "state" / place
    if place == "":
        (wrong / sight_told.FILE).unlink()
        wrong.rmdir()
        wrong.write_text("a file")
    elif place.endswith("sqlite"):
        wrong.mkdir(parents=True)
    else:
        wrong.write_text("a file")
    walk, chosen = film(tmp_path), {"capture__pace": "fast"}
    made = agent(config(tmp_path, walk, **chosen), StoryModel(curb_then_pole), tmp_path)
    made.run()
    assert "Stop, curb ahead." in said(tmp_path)
    if place in ("", "outbox", "outbox/index.sqlite"):
        assert "Storage failed." in said(tmp_path)


def test_captions_and_a_report_that_cannot_be_written_end_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = agent(
        config(tmp_path, film(tmp_path)),
        model := StoryModel(nothing),
        tmp_path,
        captions=tmp_path / "file" / "captions.jsonl",
        report=tmp_path / "file" / "report.json",
    )
    made.run()
    assert model.looks == 32


# --- buttons ---


class Pin:
    """A button whose library raises what gpiozero does, so many times."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.closed = failures, 0
        self.error: Exception | None = error

    def open(self) -> None:
        if self.failures and self.error is not None:
            self.failures -= 1
            raise self.error

    def poll(self, now_s: float) -> list[Press]:
        return [Press(ButtonAction.FLAG, now_s)]

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [ConfigError("no such pin"), OSError(errno.EROFS, "x"), KeyError("pin 17")])
def test_a_button_that_fails_in_whatever_way_is_announced_and_raises_nothing(error: Exception) -> None:
    heard: list[str] = []
    buttons = RetriedButtons(Pin(99, error), TEXTS[1], lambda text, about: heard.append(text))
    buttons.open()
    assert (heard, buttons.poll(1.0)) == (["Second button failed."], [])
    buttons.close()


def test_a_button_that_cannot_be_used_is_announced_once_tried_again_and_then_works() -> None:
    heard: list[str] = []
    pin = Pin(1, RuntimeError("Failed to add edge detection"))
    buttons = RetriedButtons(pin, TEXTS[0], lambda text, about: heard.append(text))
    buttons.open()
    assert (heard, buttons.poll(1.0)) == (["Button failed."], [])
    until(lambda: len(heard) == 2, "the second try")
    assert heard == ["Button failed.", "Button is working."]
    assert [press.action for press in buttons.poll(2.0)] == ["flag"]
    buttons.close()
    assert pin.closed == 1


def test_a_button_whose_library_fails_in_mid_walk_raises_nothing_and_is_tried_again() -> None:
    class Lost(Pin):
        def poll(self, now_s: float) -> list[Press]:
            self.error, error = None, self.error
            if error is not None:
                raise error
            return super().poll(now_s)

    pin = Lost(0, RuntimeError("unknown handle"))
    buttons = RetriedButtons(pin, TEXTS[0], lambda text, about: None, first_s=0.02)
    buttons.open()
    assert buttons.poll(1.0) == []
    until(lambda: bool(buttons.poll(2.0)), "the button")
    buttons.close()


def test_a_pin_on_a_machine_without_pins_ends_no_walk(tmp_path: Path) -> None:
    if Path("/dev/gpiochip0").exists():
        pytest.skip("this machine has pins")
    done = run(tmp_path, StoryModel(curb_then_pole), buttons__pin="GPIO17", buttons__repeat_pin="GPIO27")
    assert {"Button failed.", "Second button failed.", "Stop, curb ahead."} <= set(done.texts)
    assert done.report["looks"] == 32


def test_what_is_said_of_buttons_may_be_said_and_is_rendered_before_the_walk() -> None:
    assert all(map(vocabulary.may_be_announced, BUTTON_TEXTS))
    assert set(BUTTON_TEXTS) <= set(SAID_BEFOREHAND)


STAND_IN = """
import os
class GPIOZeroError(Exception): pass
class Device:
    pin_factory = "none chosen"
class Button:
    def __init__(self, pin, **options):
        if not os.access(os.environ["LG_WD"], os.W_OK):
            raise RuntimeError("xCreatePipe: Can't set permissions")
        if Device.pin_factory is not None:
            raise RuntimeError("Failed to add edge detection")
    def close(self): pass
"""


def test_lgpio_has_a_folder_for_its_pipe_and_gpiozero_chooses_again_after_a_failure(tmp_path: Path) -> None:
    """gpiozero is not on every machine: what stands in for it fails as it does where lgpio cannot make its pipe."""
    (tmp_path / "gpiozero.py").write_text(STAND_IN)
    code = """
import os
from device.controls.pins import PinKey
from shared.errors import ConfigError
button = PinKey("GPIO17", float)
try:
    button.open()
except ConfigError as error:
    print(error)
button.open()
print(os.environ["LG_WD"])
"""
    env = {name: value for name, value in os.environ.items() if name not in ("LG_WD", "RUNTIME_DIRECTORY")}
    path = f"{tmp_path}{os.pathsep}{os.getcwd()}"
    for more in ({}, {"RUNTIME_DIRECTORY": str(tmp_path)}, {"LG_WD": str(tmp_path)}):
        done = subprocess.run(
            [sys.executable, "-c", code], env=env | {"PYTHONPATH": path} | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        first, folder = done.stdout.splitlines()
        assert "Failed to add edge detection" in first
        assert (folder == str(tmp_path)) == bool(more)
        assert Path(folder).exists() == bool(more)  # one of its own is removed at the end
