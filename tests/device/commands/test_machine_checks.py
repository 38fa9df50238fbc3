"""The selftest tries the machine, too: sentinel, buttons, recogniser, heat, clock, watchdog, unfit libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from device import config as settings
from device.commands import machine_checks
from device.commands.main import main
from device.config import Config
from device.install.plan import SERVICES
from shared.clock import ManualClock, SystemClock
from shared.floor import ClockFloor
from shared.speech import acoustic
from tests.device.commands.test_selftest import settings as heard_settings
from tests.device.commands.test_selftest import status
from tests.pulse import PulseChild

CLOCK = SystemClock()


def settings_file(folder: Path, *lines: str) -> Path:
    (folder / "camera.mp4").touch()  # none of these checks looks
    return heard_settings(folder, *lines)


def config(tmp_path: Path, *lines: str) -> Config:
    return settings.load(settings_file(tmp_path, *lines), {})


@pytest.mark.usefixtures("pulse")
def test_the_sentinel_is_heard_by_its_own_way(tmp_path: Path) -> None:
    assert status(settings_file(tmp_path), "sentinel") == 0


def test_a_sentinel_that_cannot_be_heard_fails_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", "/dev/null")  # no output at all
    assert status(settings_file(tmp_path), "sentinel") == 1
    assert "aplay -L" in capsys.readouterr().out


def test_a_sentinel_whose_output_hangs_fails(
    tmp_path: Path, pulse: PulseChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_checks, "SENTINEL_S", 2.0)
    pulse.freeze()
    try:
        found = machine_checks.check_sentinel(config(tmp_path), CLOCK)
    finally:
        pulse.thaw()
    assert (found.ok, found.found) == (False, "the sound output hangs")


@pytest.mark.parametrize("line", ['sentinel.when = "never"', 'voice.speech = "none"'])
def test_a_sentinel_that_is_not_used_is_not_tried(tmp_path: Path, line: str) -> None:
    assert machine_checks.check_sentinel(config(tmp_path, line), CLOCK).ok


@pytest.mark.parametrize(
    "line", ['buttons.pin = "GPIO17"', 'buttons.repeat_pin = "GPIO4000"', 'buttons.pin = "nonsense"']
)
def test_a_button_that_cannot_be_used_fails(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(settings_file(tmp_path, line), "buttons") == 1
    assert "→" in capsys.readouterr().out


def test_without_buttons_there_is_nothing_to_try(tmp_path: Path) -> None:
    assert machine_checks.check_buttons(config(tmp_path), CLOCK).found == "none are set"


@pytest.mark.parametrize(("ahead_s", "ok"), [(1e9, True), (-1e9, False), (-1e8, False)])
def test_a_clock_behind_what_is_certain_is_told(tmp_path: Path, ahead_s: float, ok: bool) -> None:
    now_s = ClockFloor(tmp_path / "none", CLOCK).floor_s()
    assert machine_checks.check_clock(config(tmp_path), ManualClock(5.0, now_s + ahead_s)).ok == ok


def test_heat_and_watchdog_of_this_machine_are_asked(tmp_path: Path) -> None:
    assert main(["selftest", "--config", str(settings_file(tmp_path)), "--only", "watchdog"]) in (0, 1)
    assert machine_checks.check_heat(config(tmp_path), CLOCK).found


def trouble(wanted: Config, *, gstreamer: bool = False, both: bool = False) -> str:
    installed = frozenset(("onnxruntime", "onnxruntime-gpu") if both else ("onnxruntime",))
    found = machine_checks.library_trouble(wanted, has_gstreamer=gstreamer, installed=installed)
    return "" if found is None else f"{found.found} {found.do}"


def test_a_jetson_whose_onnxruntime_was_overwritten_is_told_what_to_do(tmp_path: Path) -> None:
    assert trouble(config(tmp_path)) == ""
    assert "[device-jetson]" in trouble(config(tmp_path), both=True)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_this_onnxruntime_lacks_is_told_before_anything_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], provider: str
) -> None:
    file = settings_file(tmp_path, f'guidance.provider = "{provider}"')
    assert main(["selftest", "--config", str(file), "--only", "libraries"]) == 2
    assert "a Jetson: docs/operations.md" in capsys.readouterr().err


def test_a_pipeline_needs_an_opencv_with_gstreamer(tmp_path: Path) -> None:
    wanted = config(tmp_path, 'capture.source = "camera:nvarguscamerasrc ! appsink"')
    assert "GStreamer" in trouble(wanted)
    assert trouble(wanted, gstreamer=True) == ""
    assert not machine_checks.has_gstreamer(cv2.getBuildInformation())  # pip's
    assert machine_checks.has_gstreamer("  Video I/O:\n    GStreamer:                   YES (1.20.3)\n")


def test_the_selftest_on_a_machine_without_systemd_says_that_no_sandbox_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("device.commands.as_service.RUNNING", tmp_path / "no-systemd")
    arguments = ["selftest", "--config", str(settings_file(tmp_path)), "--only", "clock"]
    assert main([*arguments, "--as-service"]) == 2
    assert "--by-hand" in capsys.readouterr().err
    assert main(arguments) == 0
    assert main([*arguments, "--by-hand"]) == 0


def test_units_that_never_start_by_themselves_are_told(tmp_path: Path) -> None:
    wants = tmp_path / "multi-user.target.wants"
    assert machine_checks.service_found(tmp_path).ok  # nothing is installed
    wants.mkdir()
    for name in SERVICES:
        (tmp_path / name).touch()
        (wants / name).symlink_to(tmp_path / name)
    assert machine_checks.service_found(tmp_path).found == "starts at boot"
    for name in SERVICES:
        (wants / name).unlink()
        off = machine_checks.service_found(tmp_path)
        assert (off.ok, name in off.found, "install" in off.do) == (False, True, True)
        (wants / name).symlink_to(tmp_path / name)
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/null")
        masked = machine_checks.service_found(tmp_path)
        assert (masked.ok, "masked" in masked.found, f"unmask {name}" in masked.do) == (False, True, True)
        (tmp_path / name).unlink()
        (tmp_path / name).touch()


@pytest.mark.parametrize("module", ["onnxruntime", "cv2"])
def test_a_library_that_is_missing_is_named_with_the_next_step(module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import device.commands.main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"There is no {module}" in done.stderr
    assert "[device]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_recogniser_of_corrections_is_loaded_as_on_a_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine_checks.check_transcription(config(tmp_path), CLOCK).found.startswith("left to the server")
    here = 'corrections.transcribe = "device"'
    found = machine_checks.check_transcription(config(tmp_path, here), CLOCK)
    assert found.ok, found
    assert "pocketsphinx is loaded for en: " in found.found
    german = machine_checks.check_transcription(config(tmp_path, here, 'voice.language = "de"'), CLOCK)
    assert (german.ok, german.do) == (False, "Name a folder with one of that language.")
    (tmp_path / "mdef").write_bytes(b"torn")
    (tmp_path / "own.dict").write_text("apfel AE P AH L\n")
    model = f'corrections.model = "{tmp_path}"'
    torn = machine_checks.check_transcription(config(tmp_path, here, 'voice.language = "de"', model), CLOCK)
    assert not torn.ok
    assert "is no acoustic model that pocketsphinx reads" in torn.found
    monkeypatch.setattr(acoustic, "find_spec", lambda name: None)
    assert status(settings_file(tmp_path, here), "transcription") == 1
    printed = capsys.readouterr().out
    assert "corrections would wait for the server: pocketsphinx is not installed." in " ".join(printed.split())
