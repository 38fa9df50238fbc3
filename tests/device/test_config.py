"""The settings file and the command line over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from device import config
from device.commands.main import load_config, parser
from device.config import Config
from shared.errors import ConfigError
from shared.topics import DEVICE_NAME


def load(folder: Path, text: str) -> Config:
    (folder / "device.toml").write_text(text)
    return config.load(folder / "device.toml")


def test_defaults_hold_where_the_file_is_silent(tmp_path: Path) -> None:
    found = load(tmp_path, '[device]\nname = "anna"\n[voice]\nwords_per_minute = 300\n')
    assert (found.device.name, found.voice.words_per_minute) == ("anna", 300)
    assert found.guidance == Config().guidance


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[voise]\n", "Did you mean voice"),
        ("[voice]\nword_per_minute = 1\n", "Did you mean words_per_minute"),
        ('[voice]\nwords_per_minute = "fast"\n', "a whole number"),
        ("[voice]\nwords_per_minute = true\n", "a whole number"),
        ("[voice]\nwords_per_minute = 90\n", "120 to 400"),
        ('[guidance]\nverbosity = "chatty"\n', "warnings, obstacles, all"),
        ("[guidance]\nspeak_above = 1.5\n", "0 to 1"),
        ("[guidance]\nlooks_per_s = nan\n", "0.5 to 15"),
        ('[device]\nname = "Anna\'s Pi"\n', "lower-case"),
        ('[broker]\naddress = "nowhere:99999"\n', "HOST:PORT"),
        ('[capture]\npace = "fast"\n', "for a replay"),
        ("[capture]\ncamera_pitch_deg = -25\n", "sees hardly any ground"),
        ('[buttons]\nscript = "x.jsonl"\n', "for a replay"),
        ("voice = 3\n", r"\[voice\]"),
        ('[voice]\nspeech = "speaker"\n', "Did you mean speakers"),
        ('[voice]\nspeech = "Speakers"\n', "Did you mean speakers"),
        ('[voice]\nspeech = "nonne"\n', "Did you mean none"),
        ('[voice]\nspeech = "headphones"\n', r"ends with \.wav"),
        ('[voice]\nspeech = "out.mp3"\n', r"ends with \.wav"),
        ('[voice]\nspeech = ""\n', r"ends with \.wav"),
        ('[voice]\nstereo = "on"\n', "auto, off"),
        ('[tactile]\nmotors = "pwm"\n', "none, gpio, drv2605"),
        ('[tactile]\nmotors = "gpio"\n', "no motor is named"),
        ('[tactile]\nmotors = "gpio"\nleft = "/dev/i2c-1"\n', "GPIO12"),
        ('[tactile]\nmotors = "drv2605"\nright = "GPIO12"\n', "/dev/i2c-1"),
        ('[tactile]\nmotors = "gpio"\nleft = "GPIO12"\nright = "GPIO12"\n', "Leave one"),
        ("[tactile]\nstrength = 0\n", "0.1 to 1"),
        ('[voice]\noutput = "none"\n', "voice.speech"),
        ('[voice]\noutput = "Default"\n', "Leave it empty"),
        ('[capture]\nmicrophone = "defualt"\n', "Did you mean default"),
        ('[capture]\nmicrophone = "None"\n', "Did you mean none"),
        ('[capture]\nmicrophone = "off"\n', "Did you mean none"),
        ('[capture]\nsource = "picamera"\n', "Did you mean picamera2"),
        ('[capture]\nsource = "Camera:0"\n', "Did you mean camera"),
        ('[capture]\nsource = "camara:0"\n', "Did you mean camera"),
        ('[capture]\nsource = "camera:video0"\n', "Did you mean camera:/dev/video0"),
        ('[capture]\nsource = "camera:O"\n', "There is no camera"),
        ('[capture]\nsource = "usb"\n', "picamera2"),
        ('[guidance]\nmodel = "none"\n', "Leave it empty"),
        ('[guidance]\nmodel = "Default"\n', "Leave it empty"),
        ("[voice\n", "TOML"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_write_instead(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        '[voice]\nspeech = "out.WAV"\noutput = "hw:1,0"\n',
        '[voice]\nspeech = "none"\noutput = "3"\n',
        '[capture]\nmicrophone = "USB Audio"\nsource = "camera:/dev/v4l/by-id/usb-cam"\n',
        '[capture]\nmicrophone = "2"\nsource = "camera:nvarguscamerasrc ! appsink"\n',
        '[capture]\nsource = "camera"\n[guidance]\nmodel = "models/night-3"\n',
    ],
)
def test_names_of_devices_files_and_folders_are_let_through(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_bytes(b"\xef\xbb\xbf" + '[device]\nwearer = "Änne"\n'.encode())
    assert config.load(tmp_path / "device.toml").device.wearer == "Änne"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        config.load(tmp_path / "nothing.toml")


def test_whole_numbers_do_for_fractions_and_unset_thresholds_follow_the_model(tmp_path: Path) -> None:
    found = load(tmp_path, "[guidance]\nlooks_per_s = 3\nspeak_above = 1\n")
    assert (found.guidance.looks_per_s, found.guidance.speak_above, found.guidance.flag_below) == (3.0, 1.0, None)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text('[device]\nname = "anna"\nstate = "/var/lib/waycue"\n[broker]\naddress = "a:1"\n')
    line = f"run --config {file} --broker b:2 --source replay:w.mp4 --pace fast --allow-demo-model"
    found = load_config(parser().parse_args(line.split()))
    assert (found.device.name, found.device.state, found.broker.address) == ("anna", "/var/lib/waycue", "b:2")
    assert (found.capture.source, found.capture.pace) == ("replay:w.mp4", "fast")
    assert found.guidance.allow_demo_model


def test_the_state_folder_is_the_services_own_under_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/anna/.state")
    assert config.state_folder(Config()) == Path("/home/anna/.state/waycue-device")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/waycue:/var/lib/other")
    assert config.state_folder(Config()) == Path("/var/lib/waycue")


@pytest.mark.parametrize("host", ["Annas-Pi.local", "...", "ÄÖÜ", "x" * 80])
def test_a_device_without_a_name_gets_a_valid_one_from_its_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert DEVICE_NAME.match(config.device_name(Config()))
