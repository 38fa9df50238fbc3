"""A walk that is felt: warnings on the motor of their side, motors that are away, and a film in real time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device import build
from device.tactile.drv2605 import Drv2605
from device.tactile.motors import Motors
from shared.runtime.seen import Hazard
from shared.sides import Side
from tests.device.agent.stage import Running, Seen, StoryModel, agent, config, film, nothing, result, says
from tests.device.capture import films
from tests.device.tactile.chip import Chip
from tests.device.voice.speech import loud, needs_espeak
from tests.pulse import RATE_HZ, PulseChild, until

WIRED = {
    "tactile__motors": "drv2605", "tactile__left": "/dev/i2c-1", "tactile__right": "/dev/i2c-3",
    "sentinel__when": "never",
}  # fmt: skip


def curb_ahead_and_pole_left(look: int) -> Seen:
    if look < 8:
        return (Hazard("curb", "ahead", 0.97),), says("Stop, curb ahead.")
    return (Hazard("pole", "on the left", 0.8),), says("Caution, pole on the left.")


def said(folder: Path) -> list[str]:
    path = folder / "captions.jsonl"
    return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_warning_ahead_is_felt_on_both_sides_and_an_obstacle_on_its_own_without_any_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = Chip(), Chip()
    wired = {Side.LEFT: Drv2605("l", connect=left.connect), Side.RIGHT: Drv2605("r", connect=right.connect)}
    monkeypatch.setattr(build, "motors", lambda config: Motors(wired))
    chosen = config(tmp_path, film(tmp_path, 8.0), capture__pace="real", **WIRED)
    with Running(agent(chosen, StoryModel(curb_ahead_and_pole_left), tmp_path)):
        until(lambda: len(said(tmp_path)) >= 3 and len(left.played) >= 3, "a walk that is felt")
    felt = [entry for entry in result(tmp_path).report["vibrations"] if entry["time_to_motor_ms"] is not None]
    assert ("ahead", 1) in {(entry["side"], entry["urgency"]) for entry in felt}
    assert ("left", 2) in {(entry["side"], entry["urgency"]) for entry in felt}
    assert all(0 <= entry["time_to_motor_ms"] < 5000 for entry in felt)
    assert len(left.played) > len(right.played) > 0


def test_motors_that_are_away_are_announced_once_and_guidance_goes_on(tmp_path: Path) -> None:
    camera = films.make(tmp_path / "camera.mp4", seconds=60.0, fps=10.0, size=(160, 120), sound=False)
    chosen = config(
        tmp_path, camera, capture__source=f"camera:{camera}", capture__pace="real", capture__microphone="none", **WIRED
    )
    with Running(made := agent(chosen, StoryModel(nothing), tmp_path)):
        until(lambda: {"Vibration failed.", "Guidance ready."} <= set(said(tmp_path)), "both announcements")
        assert any("/dev/i2c-1" in trouble for trouble in made._state.status().troubles)
    assert said(tmp_path).count("Vibration failed.") == 1


@needs_espeak
def test_a_walk_that_is_only_felt_is_heard_once_its_motors_fail_and_silent_again_when_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_pulse: PulseChild
) -> None:
    chip = Chip()
    monkeypatch.setattr(build, "motors", lambda config: Motors({Side.LEFT: Drv2605("l", connect=chip.connect)}))
    camera = films.make(tmp_path / "camera.mp4", seconds=90.0, fps=10.0, size=(160, 120), sound=False)
    chosen = config(
        tmp_path, camera, capture__source=f"camera:{camera}", capture__pace="real", capture__microphone="none", **WIRED
    )
    with own_pulse.record() as sound, Running(made := agent(chosen, StoryModel(curb_ahead_and_pole_left), tmp_path)):
        until(lambda: len(chip.played) >= 2, "a walk that is felt")
        assert not loud(sound(), RATE_HZ)
        chip.plugged = False
        until(lambda: "Vibration failed." in said(tmp_path), "the failure to be noticed")
        until(lambda: bool(loud(sound(), RATE_HZ)), "speech")
        chip.plugged = True
        until(lambda: not made.parts.tactile.trouble, "the motor")  # type: ignore[union-attr]
        until(lambda: made.parts.voice._sink.silent, "silence")
