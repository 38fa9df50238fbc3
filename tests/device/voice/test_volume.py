"""The volume that a wearer sets by button: heard at once, at that volume, and kept over a restart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from device.voice.sinks import Timeline, WavFile
from device.voice.voice import SpeechRate
from device.voice.volume import FILE, KeptVolume
from shared.clock import ManualClock
from shared.wav import decode_wav
from tests.device.agent.stage import StoryModel, film, nothing, presses, run
from tests.device.voice.speech import speaking, walk_on


def loudest(wav: Path, from_s: float, to_s: float) -> float:
    samples, rate_hz = decode_wav(wav.read_bytes())
    return float(np.abs(samples[round(from_s * rate_hz) : round(to_s * rate_hz)]).max())


def test_the_answer_is_a_tone_as_loud_as_the_new_volume_and_a_low_one_at_the_bound(tmp_path: Path) -> None:
    clock = ManualClock()
    sink = Timeline(clock.monotonic_s, clock, file=WavFile(tmp_path / "walk.wav"))
    with speaking(sink, clock, pace=SpeechRate(volume=0.3)) as voice:
        for second, by in enumerate((-0.1, -0.1, -0.1, 0.9)):
            walk_on(voice, clock, float(second))
            voice.change_volume(by)
        walk_on(voice, clock, 4.0)
    heights = [loudest(tmp_path / "walk.wav", second, second + 0.9) for second in range(4)]
    assert heights == pytest.approx([0.07, 0.035, 0.035, 0.35], rel=0.05)
    samples, rate_hz = decode_wav((tmp_path / "walk.wav").read_bytes())
    notes = [np.argmax(np.abs(np.fft.rfft(samples[at * rate_hz : (at + 1) * rate_hz]))) for at in (1, 2)]
    assert notes == [pytest.approx(660, abs=5), pytest.approx(220, abs=5)]


def test_a_volume_that_was_set_by_button_is_kept_over_a_restart_until_the_setting_changes(tmp_path: Path) -> None:
    walk = film(tmp_path, 3.0)
    buttons = presses(tmp_path, *({"t_s": second / 2, "action": "quieter"} for second in range(1, 4)))
    run(tmp_path, StoryModel(nothing), walk=walk, buttons__script=str(buttons))
    louder = presses(tmp_path, {"t_s": 0.5, "action": "louder"})
    run(tmp_path, StoryModel(nothing), walk=walk, buttons__script=str(louder))
    state = tmp_path / "state"
    assert KeptVolume(state, setting=1.0, least=0.1).now == pytest.approx(0.8)
    assert KeptVolume(state, setting=0.9, least=0.1).now == 0.9


@pytest.mark.parametrize(
    "spoilt", ["", "[]", "{", '{"volume": 7, "setting": 1.0}', '{"volume": "x", "setting": 1.0}', "7"]
)
def test_a_spoilt_file_costs_the_volume_not_the_walk(tmp_path: Path, spoilt: str) -> None:
    (tmp_path / FILE).write_text(spoilt)
    kept = KeptVolume(tmp_path, setting=1.0, least=0.1)
    assert kept.now == 1.0
    kept.changed(0.4)
    kept.keep()
    assert json.loads((tmp_path / FILE).read_text()) == {"volume": 0.4, "setting": 1.0}
    assert KeptVolume(tmp_path, setting=1.0, least=0.1).now == 0.4
