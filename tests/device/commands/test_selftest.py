"""The selftest fails wherever a walk would be silent, and can try each part without the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.commands.main import main
from shared.wav import encode_wav
from tests.device.capture import films
from tests.device.voice.speech import needs_espeak
from tests.house.tree import CODE, python_files
from tests.pulse import PulseChild
from tests.shared.bundle.bundles import make_bundle

GREY = np.full((240, 320, 3), 128, np.uint8)
BLURRED = np.tile(np.linspace(60, 200, 320, dtype=np.uint8)[None, :, None], (240, 1, 3))


def settings(folder: Path, *lines: str) -> Path:
    """A settings file of a walk that is heard, with other lines in the place of its own. Lines: section.key = value."""
    camera = folder / "camera.mp4"
    if not camera.exists():
        films.make(camera, seconds=20.0, fps=10.0, size=(320, 240))
    wanted = {
        "device.state": f'"{folder / "state"}"',
        "capture.source": f'"camera:{camera}"',
        "capture.microphone": '"none"',
        "voice.speech": '"speakers"',
    }
    wanted |= dict(line.split(" = ", 1) for line in lines)
    sections: dict[str, list[str]] = {}
    for dotted, value in wanted.items():
        section, key = dotted.split(".")
        sections.setdefault(section, []).append(f"{key} = {value}")
    file = folder / "device.toml"
    file.write_text("".join(f"[{name}]\n" + "\n".join(keys) + "\n" for name, keys in sections.items()))
    return file


def status(file: Path, *checks: str) -> int:
    return main(["selftest", "--config", str(file), *(word for check in checks for word in ("--only", check))])


HEARD = ("camera", "microphone", "speech", "speaker", "broker", "disk")
"""All that a walk needs to be heard, but for its model."""


@needs_espeak
@pytest.mark.usefixtures("pulse")
def test_the_selftest_of_a_walk_that_is_heard_is_passed(tmp_path: Path, starter_bundle: Path) -> None:
    model = (f'guidance.model = "{starter_bundle}"', "guidance.allow_demo_model = true")
    assert status(settings(tmp_path, *model), *HEARD, "model") == 0


SILENT = [
    'voice.speech = "speaker"',
    'voice.speech = "Speakers"',
    'voice.speech = "None"',
    'voice.speech = "none"',
    'voice.speech = "headphones"',
    'voice.speech = "out.wav"',
    'voice.output = "no such card"',
    'voice.output = "97"',
    'voice.output = "none"',
    'voice.language = "klingon-tlh"',
    'voice.language = "mb-us99"',
    'voice.languages = "nowhere"',
    'capture.source = "none"',
    'capture.source = "picamera"',
    'capture.source = "camera:97"',
    'capture.source = "camera:black.mp4"',
    'capture.source = "camera:./black.mp4"',
    'capture.source = "camera:./grey.mp4"',
    'capture.source = "camera:./blurred.mp4"',
    'capture.source = "replay:gone.mp4"',
    'capture.pace = "fast"',
    'device.state = "/proc/nothing"',
    'device.state = "./camera.mp4"',
    'device.name = "Anna B"',
    'broker.address = "example.org:1883"',
    'guidance.profile = "blind"',
    'voice.language = ""',
    'tactile.motors = "gpio"',
    "capture.width_px = 0",
    "capture.fps = 0.01",
    "capture.fps = nan",
    "capture.rotate_deg = 45",
    "capture.camera_fov_deg = 0",
]
SILENT_MODEL = [
    'guidance.model = "none"',
    'guidance.model = "./no-such-folder"',
    'guidance.model = "./demo"',
    'guidance.model = "./pointer"',
    "guidance.hazard_above = 1.0",
    "guidance.speak_above = 0.999",
    'guidance.provider = "cuda"',
    'guidance.cores = "900"',
    "",
]


@needs_espeak
@pytest.mark.usefixtures("pulse")
@pytest.mark.parametrize("line", SILENT)
def test_the_selftest_of_a_walk_that_would_be_silent_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, image in (("black", GREY // 200), ("grey", GREY), ("blurred", BLURRED)):
        if f"{name}.mp4" in line:
            films.of(tmp_path / f"{name}.mp4", [image] * 30)
    extra = [f'capture.source = "replay:{tmp_path / "camera.mp4"}"'] if "pace" in line else []
    assert status(settings(tmp_path, line, *extra), *HEARD) != 0
    shown = capsys.readouterr()
    assert "→" in shown.out or shown.err.startswith("waycue-device: ")
    assert "Traceback" not in shown.out + shown.err


@pytest.mark.parametrize("line", SILENT_MODEL)
def test_the_selftest_of_a_walk_without_a_model_that_may_speak_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "demo", "demo-1", intended_use="demo")
    make_bundle(tmp_path / "pointer", "m1")
    first = next(path for path in sorted((tmp_path / "pointer").iterdir()) if path.suffix == ".onnx")
    first.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n")
    model = [] if "model" in line or not line else ['guidance.model = "./demo"', "guidance.allow_demo_model = true"]
    assert status(settings(tmp_path, *model, *([line] if line else [])), "model") != 0
    shown = capsys.readouterr()
    assert "FAIL  model: " in shown.out or shown.err.startswith("waycue-device: ")
    assert "Traceback" not in shown.out + shown.err


def test_a_camera_whose_first_pictures_are_dark_is_given_the_time_to_expose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = np.random.default_rng(1).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    films.of(tmp_path / "late.mp4", [shown // 200] * 6 + [shown] * 30)
    assert status(settings(tmp_path, f'capture.source = "camera:{tmp_path}/late.mp4"'), "camera") == 0
    assert "measure it and set capture.camera_fov_deg" in capsys.readouterr().out


def test_nobody_is_told_to_measure_the_camera_of_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings(tmp_path)
    assert status(settings(tmp_path, f'capture.source = "replay:{tmp_path / "camera.mp4"}"'), "camera") == 0
    assert status(file, "camera") == 0
    told = capsys.readouterr().out
    assert "sees 62 degrees\n" in told.splitlines(keepends=True)[0]
    assert "measure it" not in told


def test_a_microphone_is_tried_without_a_camera(tmp_path: Path, pulse: PulseChild) -> None:
    missing = ('capture.source = "camera:97"', 'capture.microphone = "default"')
    wav = tmp_path / "tone.wav"
    wav.write_bytes(encode_wav(films.tone(8.0, 16_000), 16_000))
    playing = pulse.play(wav)
    try:
        assert status(settings(tmp_path, *missing), "microphone") == 0
    finally:
        playing.kill()
        playing.wait()
    assert status(settings(tmp_path, missing[0], 'capture.microphone = "no such one"'), "microphone") == 1


@pytest.mark.parametrize("name", ["device", "server"])
def test_every_command_that_a_hint_advises_exists(name: str) -> None:
    """`waycue-device WORD` and `waycue-server WORD` in the strings of the code."""
    command = Path(sys.executable).parent / f"waycue-{name}"
    known = subprocess.run([str(command), "--help"], capture_output=True, text=True, check=True).stdout
    advice, advised = rf"(?:`|: |[Rr]un )waycue-{name} (?:--\w+ \S+ )?([a-z][a-z-]+)", set()
    for path in python_files(*CODE):
        advised |= set(re.findall(advice, path.read_text(encoding="utf-8")))
    assert len(advised) > 3
    assert [word for word in sorted(advised) if not re.search(rf"^    {word}\b", known, re.MULTILINE)] == []


def test_the_findings_of_a_silent_walk_as_json_are_not_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(tmp_path, 'voice.speech = "none"')
    assert main(["selftest", "--config", str(file), "--json", "--only", "speaker"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
