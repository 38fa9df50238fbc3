"""Sirens and horns are heard; rain, engines, dogs, people and the device's own voice are not taken for them."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from numpy.typing import NDArray

from device.voice import earcons
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Espeak
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.guidance.street_sounds import StreetEar, listen
from shared.wav import resample
from tests import paths
from tests.device.voice.speech import needs_espeak

DATA = paths.DATA / "audio"
Sound = NDArray[np.float64]


def heard(sound: NDArray[np.int16]) -> list[tuple[float, str]]:
    """(seconds, kind) of everything that is heard in blocks of 50 ms."""
    ear, found = StreetEar(), []
    for start in range(0, sound.size, 800):
        ear, kind = listen(ear, sound[start : start + 800])
        if kind:
            found.append((start / SAMPLE_RATE_HZ, kind))
    return found


def tones(hertz: Sound) -> Sound:
    """A sound with overtones that follows a frequency."""
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE_HZ
    return np.asarray(sum(np.sin(n * phase) / n**1.5 for n in (1, 2, 3, 4)))


def in_traffic(sound: Sound, snr_db: float, *, loudness: float = 0.7) -> NDArray[np.int16]:
    """A second of street noise, then the sound in it."""
    size = sound.size + SAMPLE_RATE_HZ
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(size))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ), 60)), size)
    noise *= np.sqrt(np.mean(sound**2) / np.mean(noise**2)) / 10 ** (snr_db / 20)
    mixed = noise + np.concatenate([np.zeros(SAMPLE_RATE_HZ), sound])
    clipped: NDArray[np.int16] = np.clip(mixed / np.abs(mixed).max() * loudness * 32767, -32768, 32767).astype(np.int16)
    return clipped


T = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
SIRENS = {
    "wail": tones(600 + 750 * (0.5 - 0.5 * np.cos(2 * np.pi * T / 4))),
    "yelp": tones(600 + 750 * (0.5 - 0.5 * np.cos(2 * np.pi * T * 3.3))),
    "two tones": tones(np.where(T % 1.5 < 0.75, 450.0, 600.0)),
    "horn": sum((tones(np.full(SAMPLE_RATE_HZ, hz)) for hz in (420.0, 510.0)), np.zeros(SAMPLE_RATE_HZ)),
}


@pytest.mark.parametrize("snr_db", [20.0, 6.0, 0.0])
@pytest.mark.parametrize("name", SIRENS)
def test_a_siren_or_horn_in_traffic_is_heard_soon_after_it_begins(name: str, snr_db: float) -> None:
    first_s, kind = heard(in_traffic(SIRENS[name], snr_db))[0]
    assert kind in ({"horn"} if name in ("horn", "two tones") else {"siren"})
    assert 1.0 < first_s < 3.0


@pytest.mark.parametrize("name", SIRENS)
def test_it_is_heard_through_a_microphone_that_clips(name: str) -> None:
    assert heard(in_traffic(SIRENS[name], 20.0, loudness=6.0))


@pytest.mark.parametrize("hertz", [440.0, 1000.0, 1500.0])
def test_one_steady_tone_is_neither(hertz: float) -> None:
    assert heard((np.sin(2 * np.pi * hertz * T) * 9000).astype(np.int16)) == []


def test_traffic_alone_and_silence_are_neither() -> None:
    assert heard(in_traffic(np.random.default_rng(1).standard_normal(4 * SAMPLE_RATE_HZ) * 0.01, -40.0)) == []
    assert heard(np.zeros(3 * SAMPLE_RATE_HZ, np.int16)) == []


@pytest.mark.parametrize("name", sorted(earcons.NOTES))
def test_its_own_earcons_are_neither(name: str) -> None:
    once = np.concatenate([earcons.earcon(name), np.zeros(SPEECH_RATE_HZ // 4, np.int16)])
    assert heard(resample(np.tile(once, 6), SPEECH_RATE_HZ, SAMPLE_RATE_HZ)) == []


@needs_espeak
@pytest.mark.parametrize("words_per_minute", [120, 190, 400])
def test_its_own_voice_is_neither(words_per_minute: int) -> None:
    text = (
        "Stop, curb ahead. Caution, pole on the left. Continue straight, crosswalk ahead. Guidance paused. Back online."
    )
    assert heard(resample(Espeak().render(text, words_per_minute), SPEECH_RATE_HZ, SAMPLE_RATE_HZ)) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside this checkout")
@pytest.mark.parametrize("clipped", [1, 8])
def test_real_recordings_a_car_horn_and_a_trains_horn_and_nothing_else(clipped: int) -> None:
    kinds = {}
    for path in sorted(DATA.glob("*.wav")):
        with wave.open(str(path)) as wav:
            samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        loud = np.clip(samples.astype(int) * clipped, -32768, 32767).astype(np.int16)
        kinds[path.stem] = {kind for _, kind in heard(loud)}
    assert {name for name, found in kinds.items() if found} == {"car-horn", "train"}
    assert kinds["car-horn"] == {"horn"}


def test_blocks_of_any_size_give_the_same() -> None:
    sound = in_traffic(SIRENS["wail"], 6.0)
    ear, found = StreetEar(), []
    for start in range(0, sound.size, 133):
        ear, kind = listen(ear, sound[start : start + 133])
        found += [] if kind is None else [kind]
    assert found
    assert listen(StreetEar(), sound)[1] == found[-1]
