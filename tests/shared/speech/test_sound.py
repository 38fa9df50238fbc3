"""Sound cut to where somebody speaks, at one loudness."""

from __future__ import annotations

import numpy as np
import pytest

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.speech.sound import spoken_part
from shared.wav import decode_sound
from tests.shared.speech.voices import as_wav, needs_espeak, say


def test_silence_and_even_noise_and_a_click_hold_no_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 2 * SAMPLE_RATE_HZ).astype(np.float32)
    click = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    click[SAMPLE_RATE_HZ : SAMPLE_RATE_HZ + 800] = 0.5
    for samples in (np.zeros(2 * SAMPLE_RATE_HZ, np.float32), noise, click, np.zeros(0, np.float32)):
        assert spoken_part(samples).size == 0


@needs_espeak
@pytest.mark.parametrize("loudness", [1.0, 0.05])
def test_speech_is_cut_out_at_one_loudness(loudness: float) -> None:
    speech = decode_sound(say("Stop, curb ahead."))
    around = np.random.default_rng(2).normal(0, 3e-4, 2 * SAMPLE_RATE_HZ).astype(np.float32)
    found = spoken_part(np.concatenate([around, speech, around]) * np.float32(loudness))
    assert speech.size - 0.6 * SAMPLE_RATE_HZ < found.size < speech.size + 0.3 * SAMPLE_RATE_HZ
    assert 0.02 < np.sqrt(np.square(found).mean()) < 0.1
    assert decode_sound(as_wav(found)).size == found.size
