"""A real walk through a real sound system that somebody silences in the middle: what comes out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Espeak
from device.voice.speakers import SOUND_WAS_OFF
from shared.runtime.seen import Hazard
from shared.wav import resample
from tests.device.agent.stage import Running, Seen, StoryModel, agent, config, says
from tests.device.agent.test_tactile import said
from tests.device.capture import films
from tests.device.voice.speech import needs_espeak
from tests.pulse import RATE_HZ, SPEAKERS, PulseChild, until

ALIKE = 0.6  # of a phrase with its own recording: a sink that is cut in places is 0.8, another phrase 0.2


def curb_ahead(look: int) -> Seen:
    return (Hazard("curb", "ahead", 0.97),), says("Stop, curb ahead.")


def likeness(sound: NDArray[np.int16], phrase: NDArray[np.int16]) -> float:
    """0..1: the greatest normalised correlation of a phrase with a recording, both at RATE_HZ."""
    if sound.size < phrase.size:
        return 0.0
    heard, wanted = sound.astype(np.float64), phrase.astype(np.float64)
    size = heard.size + wanted.size
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
    energy = np.cumsum(np.concatenate([[0.0], heard**2]))
    around = energy[wanted.size :] - energy[: -wanted.size]
    scale = np.sqrt(np.maximum(around, 1e6) * (wanted**2).sum())
    return float((product[: around.size] / scale).max())


@pytest.mark.soak
@needs_espeak
def test_a_sink_that_is_muted_in_mid_walk_is_heard_again_with_why_and_the_warning_that_nobody_heard(
    tmp_path: Path, own_pulse: PulseChild
) -> None:
    camera = films.make(tmp_path / "camera.mp4", seconds=60.0, fps=10.0, size=(160, 120), sound=False)
    chosen = config(
        tmp_path,
        camera,
        capture__source=f"camera:{camera}",
        capture__pace="real",
        capture__microphone="none",
        voice__speech="speakers",
        sentinel__when="never",
    )
    why, warning = (
        resample(Espeak().render(text, rate), SPEECH_RATE_HZ, RATE_HZ)
        for text, rate in ((SOUND_WAS_OFF, 190), ("Stop, curb ahead.", 165))
    )
    with Running(agent(chosen, StoryModel(curb_ahead), tmp_path)):
        until(lambda: "Stop, curb ahead." in said(tmp_path), "the warning")
        own_pulse.control("set-sink-mute", SPEAKERS, "1")
        with own_pulse.record() as sound:
            until(lambda: likeness(sound(), why) > ALIKE, "why it was silent")
            until(lambda: likeness(sound(), warning) > ALIKE, "the warning again")
