"""The sentinel's sounds and its way to the sound card."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest

from device.sentinel import alsa, settings, sounds
from device.sentinel.board import OUTPUT, Board
from device.sentinel.sounds import RATE_HZ, TONES
from device.sentinel.watch import WORDS, Saying
from device.voice.earcons import SPEECH_RATE_HZ
from shared.errors import MediaError
from shared.wav import encode_wav
from tests.device.sentinel import ears
from tests.paths import ROOT
from tests.pulse import RATE_HZ as RECORDED_HZ
from tests.pulse import PulseChild, until

CARDS = """ 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 2 [Headset        ]: USB-Audio - Acme Bone Headset
                      Acme Bone Headset at usb-0000:01:00.0-1, full speed
"""


WORN_FIRST = ["sysdefault:2", "plughw:2", "default", "plughw:0"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("", WORN_FIRST),
        ("3", WORN_FIRST),
        ("bone", ["plughw:2", "bone", *WORN_FIRST]),
        ("Acme Bone Headset: USB Audio (hw:2,0)", ["plughw:2,0", *WORN_FIRST]),
        ("hw:CARD=Headset,DEV=0", ["plughw:CARD=Headset,DEV=0", *WORN_FIRST]),
        ("pulse", ["pulse", *WORN_FIRST]),
    ],
)
def test_an_output_is_found_by_any_name_that_the_agent_takes_and_hdmi_comes_last(wanted: str, names: list[str]) -> None:
    assert list(alsa.outputs(wanted, CARDS)) == names


def test_a_sound_server_and_a_first_card_that_is_worn_come_first_as_the_default() -> None:
    assert list(alsa.outputs("", CARDS, server=True)) == ["default", "plughw:2", "plughw:0"]
    jack = " 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones\n"
    assert list(alsa.outputs("", jack + CARDS.replace(" 0 [", " 1 ["))) == [
        "default",
        "plughw:0",
        "plughw:2",
        "plughw:1",
    ]


def test_what_the_agent_wrote_of_its_output_leads_there() -> None:
    assert alsa.told_output("ALSA_CARD=Headset\n") == ("sysdefault:CARD=Headset", {})
    sink = {"PULSE_SINK": "bluez_output.1", "PIPEWIRE_NODE": "bluez_output.1"}
    assert alsa.told_output("PULSE_SINK=bluez_output.1\nPIPEWIRE_NODE=bluez_output.1\n") == ("default", sink)
    assert [alsa.told_output(text) for text in ("", "\x00", "nonsense", "PATH=/tmp\n")] == [None] * 4


def test_a_machine_without_cards_still_tries_the_default() -> None:
    assert list(alsa.outputs("", "--- no soundcards ---\n")) == ["default"]


def test_the_rate_is_the_voices() -> None:
    assert RATE_HZ == SPEECH_RATE_HZ


def test_without_rendered_words_each_pattern_is_there_and_told_from_the_others(tmp_path: Path) -> None:
    loaded = sounds.load(tmp_path)
    for saying in WORDS:
        samples = np.frombuffer(loaded[saying], np.int16)
        assert len(ears.heard(samples, RATE_HZ, saying)) == 2
        falling = saying in (Saying.STOPPED, Saying.FAILED)  # "failed" is "stopped" and one tone more
        assert bool(ears.heard(samples, RATE_HZ, Saying.STOPPED)) == falling
        assert bool(ears.heard(samples, RATE_HZ, Saying.BACK)) == (saying == Saying.BACK)
    assert np.abs(np.frombuffer(loaded[Saying.HEARTBEAT], np.int16).astype(int)).max() > 1000


def test_rendered_words_follow_the_pattern(tmp_path: Path) -> None:
    words = (np.random.default_rng(1).normal(0, 3000, RATE_HZ)).astype(np.int16)
    (tmp_path / "stopped.wav").write_bytes(encode_wav(words, RATE_HZ))
    sound = np.frombuffer(sounds.load(tmp_path)[Saying.STOPPED], np.int16)
    tones = sounds.tones(TONES[Saying.STOPPED])
    assert np.array_equal(sound[len(tones) :], words)
    assert len(tones) / RATE_HZ < 0.5  # the words come soon


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", os.urandom(5000), encode_wav(np.ones(100, np.int16), 8000), b"version https://git-lfs"],
    ids=["empty", "torn", "noise", "another rate", "pointer"],
)
def test_a_file_that_is_no_sentence_leaves_the_tones(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "stopped.wav").write_bytes(data)
    assert sounds.load(tmp_path)[Saying.STOPPED] == sounds.load(tmp_path / "nowhere")[Saying.STOPPED]


def played_apart(
    folder: Path, saying: Saying, *, output: str = "", times: int = 1, again: int = 0
) -> dict[str, int | bool]:
    """What tests.device.sentinel.playing tells."""
    command = [sys.executable, "-m", "tests.device.sentinel.playing", str(folder), output, saying.value, str(times)]
    command += [str(again)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, timeout=60
    )
    told: dict[str, int | bool] = json.loads(done.stdout)
    return told


def test_a_sound_is_heard(pulse: PulseChild, tmp_path: Path) -> None:
    with pulse.record() as sound:
        assert played_apart(tmp_path, Saying.BACK)["heard"]
        until(lambda: len(ears.heard(sound(), RECORDED_HZ, Saying.BACK)) == 2, "the pattern, twice")


def test_a_sound_is_heard_where_the_agent_plays_and_elsewhere_once_that_is_gone(
    own_pulse: PulseChild, tmp_path: Path
) -> None:
    module = own_pulse.plug_in("headset")
    own_pulse.control("set-default-sink", "speakers")
    (tmp_path / OUTPUT).write_text("PULSE_SINK=headset\nPIPEWIRE_NODE=headset\n")
    with own_pulse.record(sink="headset") as sound:
        assert played_apart(tmp_path, Saying.BACK)["heard"]
        until(lambda: len(ears.heard(sound(), RECORDED_HZ, Saying.BACK)) == 2, "the pattern, twice")
    own_pulse.unplug(module)
    with own_pulse.record() as sound:
        assert played_apart(tmp_path, Saying.BACK)["heard"]
        until(lambda: len(ears.heard(sound(), RECORDED_HZ, Saying.BACK)) == 2, "the pattern, twice")


def test_a_sound_is_heard_elsewhere_where_the_agents_output_takes_none(own_pulse: PulseChild, tmp_path: Path) -> None:
    own_pulse.plug_in("headset")
    own_pulse.control("set-default-sink", "speakers")
    own_pulse.control("suspend-sink", "headset", "1")
    (tmp_path / OUTPUT).write_text("PULSE_SINK=headset\nPIPEWIRE_NODE=headset\n")
    with own_pulse.record() as sound:
        assert played_apart(tmp_path, Saying.STOPPED, again=1)["heard"]
        until(lambda: len(ears.heard(sound(), RECORDED_HZ, Saying.STOPPED)) == 2, "the pattern, twice")


def test_an_output_in_which_a_sound_hung_comes_last_the_next_time() -> None:
    tried: list[str] = []

    class Library:
        """Every output is gone."""

        def snd_pcm_open(self, pcm: object, name: bytes, *rest: object) -> int:
            tried.append(f"{name.decode()} {os.environ.get('PULSE_SINK', '')}".strip())
            return -2

        def __getattr__(self, name: str) -> object:
            return lambda *words: b"gone"

    for skip in range(4):
        with pytest.raises(MediaError):
            alsa.play(Library(), sounds.tones([]), "usb", "PULSE_SINK=headset\n", skip=skip)  # type: ignore[arg-type]
    ways = tried[: len(tried) // 4]
    assert ways[:2] == ["default headset", "usb"]
    assert "default" in ways
    for skip in range(4):
        at = skip % len(ways)
        assert tried[skip * len(ways) : (skip + 1) * len(ways)] == ways[at:] + ways[:at]


@pytest.mark.usefixtures("pulse")
def test_a_name_that_leads_nowhere_falls_back_to_the_default(tmp_path: Path) -> None:
    assert played_apart(tmp_path, Saying.HEARTBEAT, output="no-such-output")["heard"]


def test_a_sound_system_that_hangs_does_not_hang_the_sentinel(pulse: PulseChild, tmp_path: Path) -> None:
    pulse.freeze()
    try:
        assert played_apart(tmp_path, Saying.HEARTBEAT) == {"heard": False, "begun": 1, "left": 0}
    finally:
        pulse.thaw()


def test_without_a_sound_system_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "none.conf"))
    (tmp_path / "none.conf").write_text("")
    assert not played_apart(tmp_path, Saying.STOPPED)["heard"]
    assert "Nothing can be played" in capfd.readouterr().err


def test_an_output_that_another_program_holds_alone_is_busy() -> None:
    class Library:
        """Of libasound only what opening a busy card does."""

        def snd_pcm_open(self, *_: object) -> int:
            return -16

    with pytest.raises(alsa.OutputBusy, match="held by another program"):
        alsa.play(Library(), array("h", [0]), "plughw:9")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "on", "heartbeat_s"),
    [
        ("", True, 0.0),
        ("[sentinel]\nheartbeat_every_s = 5", True, 5.0),
        ('[sentinel]\nwhen = "never"', False, 0.0),
        ('[capture]\nsource = "replay:walk.mp4"', False, 0.0),
        ('[capture]\nsource = "replay:walk.mp4"\n[sentinel]\nwhen = "always"', True, 0.0),
        ('[capture]\nsource = "none"', False, 0.0),
        ('[voice]\nspeech = "walk.wav"', False, 0.0),
        ('[voice]\nspeech = "none"', False, 0.0),
        ('[voice]\nspeech = "none"\n[tactile]\nmotors = "gpio"', True, 0.0),
        ("this is no TOML", True, 0.0),
        ("sentinel = 3", True, 0.0),
        ("[sentinel]\nwhen = 7\nheartbeat_every_s = 'often'", True, 0.0),
        ('\ufeff[sentinel]\nwhen = "never"', False, 0.0),
    ],
)
def test_settings_that_the_agent_refuses_do_not_keep_the_sentinel_from_watching(
    tmp_path: Path, text: str, on: bool, heartbeat_s: float
) -> None:
    (tmp_path / "device.toml").write_text(text, encoding="utf-8")
    chosen = settings.read(tmp_path / "device.toml")
    assert (chosen.on, chosen.heartbeat_every_s) == (on, heartbeat_s)


def test_it_starts_within_a_second_of_processor_time_and_ends_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "device.sentinel", "--board", str(tmp_path / "board"), "--speech", str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        until((tmp_path / "board").exists, "the board")
        board = Board(tmp_path / "board")
        until(lambda: board.sentinel() is not None, "its first round")
        ticks = sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().split(") ")[1].split()[11:13]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert ticks / os.sysconf("SC_CLK_TCK") < 1.0


def test_a_sentinel_that_is_switched_off_says_so_by_its_status(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text('[sentinel]\nwhen = "never"')
    command = [sys.executable, "-m", "device.sentinel", "--board", str(tmp_path / "board"), "--speech", str(tmp_path)]
    command += ["--config", str(tmp_path / "device.toml")]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60)
    assert done.returncode == 3
    assert b"switched off" in done.stderr


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError("not found")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(MediaError, match="libasound2"):
        alsa.library()


@pytest.mark.usefixtures("pulse")
def test_sounds_that_were_cut_leave_no_processes_behind(tmp_path: Path) -> None:
    assert played_apart(tmp_path, Saying.STOPPED, times=3) == {"heard": True, "begun": 3, "left": 0}
