"""What `selftest` says of the sound: measured in what came out, and named where nothing would be heard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device import config as settings
from device.commands import sound_check
from device.commands.main import main
from device.commands.sound_check import level
from device.config import Config
from device.voice import earcons
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.output_list import foreign_servers
from shared.clock import SystemClock
from shared.sides import Side
from tests.paths import ROOT
from tests.pulse import SPEAKERS, PulseChild

HEADSET = "bluez_output.38_18_4C_E9_85_B4.1"
HDMI = "alsa_output.platform-107c701400.hdmi.hdmi-stereo"


def walk(**overrides: object) -> Config:
    wanted = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return settings.load(None, {"voice.speech": "speakers", **wanted})


def test_a_sink_that_is_muted_is_switched_on_and_that_is_told(own_pulse: PulseChild) -> None:
    own_pulse.control("set-sink-mute", SPEAKERS, "1")
    ok, found, _ = sound_check.speaker(walk(), SystemClock())
    assert (ok, "it was muted, and is switched on" in found) == (True, True)
    assert "was muted" not in sound_check.speaker(walk(), SystemClock())[1]


def test_a_sink_that_is_too_soft_takes_the_notes_and_is_found_silent(own_pulse: PulseChild) -> None:
    own_pulse.control("set-sink-volume", SPEAKERS, "16%")
    ok, found, do = sound_check.speaker(walk(), SystemClock())
    assert not ok
    assert "nothing came out of it (volume 16%)" in found
    assert "Turn it up" in do


def test_an_output_that_is_named_and_not_there_is_told_with_what_is_used_instead(own_pulse: PulseChild) -> None:
    ok, found, do = sound_check.speaker(walk(voice__output="bluez"), SystemClock())
    assert (ok, "'bluez' is not there" in found, "voice.output" in do) == (False, True, True)
    assert SPEAKERS in found
    own_pulse.plug_in(HEADSET)
    ok, found, _ = sound_check.speaker(walk(voice__output="bluez"), SystemClock())
    assert (ok, f"Bluetooth output {HEADSET}" in found) == (True, True)


def test_sound_that_only_a_monitor_plays_fails_unless_it_was_asked_for(own_pulse: PulseChild) -> None:
    own_pulse.plug_in(HDMI)
    for sink in (SPEAKERS, "room"):
        own_pulse.control("unload-module", own_pulse.module_of(sink))
    ok, found, do = sound_check.speaker(walk(), SystemClock())
    assert (ok, "only a monitor" in found, "USB" in do) == (False, True, True)
    assert sound_check.speaker(walk(voice__output="hdmi"), SystemClock())[0]


def test_without_speech_a_walk_that_is_felt_is_no_silent_one_and_one_that_is_not_is() -> None:
    assert not sound_check.speaker(walk(voice__speech="none"), SystemClock())[0]
    felt = walk(voice__speech="none", tactile__motors="drv2605", tactile__left="/dev/null")
    assert sound_check.speaker(felt, SystemClock())[:2] == (
        True,
        "nothing is heard: voice.speech is none; guidance is felt",
    )


def test_motors_that_are_not_there_fail_with_what_to_do_and_none_are_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "device.toml"
    file.write_text(f'[device]\nstate = "{tmp_path}"\n')
    assert main(["selftest", "--config", str(file), "--only", "tactile"]) == 0
    assert "not used" in capsys.readouterr().out
    file.write_text('[tactile]\nmotors = "drv2605"\nleft = "/dev/null"\n')
    assert main(["selftest", "--config", str(file), "--only", "tactile"]) == 1
    assert "I2C is on" in capsys.readouterr().out


def test_both_notes_must_have_come_out_and_each_ear_is_measured() -> None:
    notes = earcons.earcon("listening")
    both = np.stack([notes, notes // 10], axis=1)
    found = level(np.concatenate([np.zeros((5000, 2), np.int16), both, np.zeros((9000, 2), np.int16)]))
    assert (round(found.left_db), round(found.right_db)) == (-13, -33)  # they fade in and out
    first_only = np.stack([notes[: notes.size // 2]] * 2, axis=1)
    assert not level(np.concatenate([first_only, np.zeros((9000, 2), np.int16)])).is_heard
    rng = np.random.default_rng(1)
    assert not level(rng.normal(0, 3, (20_000, 2)).astype(np.int16)).is_heard
    panned = earcons.earcon("listening", Side.RIGHT)
    found = level(np.concatenate([panned, np.zeros((SPEECH_RATE_HZ, 2), np.int16)]))
    assert found.right_db - found.left_db == pytest.approx(10, abs=0.5)


def test_a_server_of_another_user_is_named_where_a_service_cannot_reach_it() -> None:
    """A process that is called pulseaudio and belongs to somebody else, as a desktop's is to a system service."""
    if os.getuid() != 0 or shutil.which("perl") is None:
        pytest.skip("only root can start a process of another user; perl stands in for it")
    stand_in = '$0 = "pulseaudio"; $| = 1; print "\\n"; sleep 60'  # perl writes it into the name of the process
    other = subprocess.Popen(["perl", "-e", stand_in], user=65534, cwd="/", stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        assert foreign_servers()["pulseaudio"] == 65534
        code = (
            "from device.commands import sound_check\n"
            "from shared.errors import MediaError\n"
            "print(sound_check._with_servers(MediaError('No output.', hint='x')))"
        )
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
        assert "pulseaudio of user 65534" in done.stdout
        assert "As a service" in done.stdout
    finally:
        other.kill()
        other.communicate()
