"""The same voice on a real PipeWire, through pipewire-pulse: measured, and with a headset that comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device import config as settings
from device.commands import sound_check
from device.voice.output_list import OutputList
from device.voice.speakers import HEADSET_CONNECTED, HEADSET_LOST, Speakers
from shared.clock import SystemClock
from tests.pipewire import PipeWireChild, missing
from tests.pulse import SPEAKERS, rescan, until
from tests.pulse import missing as pulse_missing

CLOCK = SystemClock()
HEADSET = "bluez_output.38_18_4C_E9_85_B4.1"


@pytest.fixture
def pipewire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeWireChild]:
    if missing() or pulse_missing():
        pytest.skip(missing() or pulse_missing())
    child = PipeWireChild(tmp_path / "pw")
    try:
        child.start()
        for name, value in child.env.items():
            monkeypatch.setenv(name, value)
        rescan()
        yield child
    finally:
        child.stop()
        monkeypatch.undo()
        rescan()


def test_pipewire_is_named_by_selftest_and_what_came_out_of_it_is_measured(pipewire: PipeWireChild) -> None:
    ok, found, _ = sound_check.speaker(settings.load(None, {"voice.speech": "speakers"}), CLOCK)
    assert ok, found
    assert "(on PipeWire" in found
    assert "what came out of it: left -1" in found


def test_a_headset_on_pipewire_is_taken_left_and_taken_again(pipewire: PipeWireChild) -> None:
    speakers = Speakers(CLOCK, outputs=OutputList(CLOCK), stereo=True)
    speakers.open()
    try:
        assert speakers.output is not None
        assert speakers.output.name == SPEAKERS
        module = pipewire.plug_in(HEADSET)
        until(lambda: _wants(speakers), "the headset to be seen")
        speakers.open()
        assert (speakers.output.name, speakers.news()) == (HEADSET, HEADSET_CONNECTED)
        pipewire.unplug(module)
        until(lambda: not _lives(speakers), "the loss to be seen")
        speakers.open()
        assert (speakers.output.name, speakers.news()) == (SPEAKERS, HEADSET_LOST)
    finally:
        speakers.close()


def _wants(speakers: Speakers) -> bool:
    speakers.watch()
    return speakers.wants_reopen


def _lives(speakers: Speakers) -> bool:
    speakers.watch()
    return speakers.is_alive
