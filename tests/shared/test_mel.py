"""Log-mel equal to transformers' own Whisper features."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from server import walks
from shared import mel
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import MediaError
from shared.mel import BANDS, FRAMES, HOP, log_mel

SAMPLES = FRAMES * HOP
SILENT = -1.5


@cache
def extractor(bands: int = BANDS) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=bands)  # type: ignore[no-untyped-call]  # transformers' own gap


def theirs(audio: NDArray[np.float32], bands: int = BANDS) -> NDArray[np.float32]:
    """What a caller of transformers gets (through torch, float32)."""
    given = extractor(bands)(audio, sampling_rate=SAMPLE_RATE_HZ, max_length=SAMPLES, return_tensors="np")
    features: NDArray[np.float32] = given.input_features[0]
    return features


def theirs_in_numpy(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same extractor without torch (float64 inside)."""
    features: NDArray[np.float32] = extractor()._np_extract_fbank_features(mel.newest(audio, SAMPLES)[None], "cpu")[0]
    return features


@st.composite
def sounds(draw: st.DrawFn) -> NDArray[np.float32]:
    """Noise, tones, clicks and steps of any loudness and length, clipped as a microphone clips."""
    count = draw(st.integers(0, SAMPLES))
    at = np.arange(count) / SAMPLE_RATE_HZ
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sound = rng.normal(0, draw(st.sampled_from([0.0, 1e-4, 0.01, 0.3])), count)
    for hertz in draw(st.lists(st.floats(20, 8000), max_size=3)):
        sound += draw(st.floats(0, 2)) * np.sin(2 * np.pi * hertz * at)
    for place in draw(st.lists(st.floats(0, 1), max_size=3)):
        sound[int(place * (count - 1)) : int(place * (count - 1)) + 20] += draw(st.floats(-1, 1))
    return np.clip(sound, -1, 1).astype(np.float32)


@given(sounds())
@settings(max_examples=60, deadline=None)
def test_any_sound_becomes_whispers_own_features(sound: NDArray[np.float32]) -> None:
    ours = log_mel(sound)
    assert ours.shape == (BANDS, FRAMES)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs_in_numpy(sound)).max() <= 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_from_torchs_float32_features_it_differs_no_more_than_transformers_own_numpy_ones(seed: int) -> None:
    """Its two paths differ by up to 4e-5 in bands that are nearly cut off: float32 has no more digits there."""
    walk = walks.plan_walk(seed, duration_s=6.0)
    track = walks.soundtrack(walk)[2 * SAMPLE_RATE_HZ :][:SAMPLES].astype(np.float32) / np.float32(32768)
    torchs, numpys, ours = theirs(track), theirs_in_numpy(track), log_mel(track)
    assert np.abs(ours - torchs).max() <= np.abs(numpys - torchs).max() + 1e-6
    assert (np.abs(ours - torchs) <= 1e-5).mean() >= 0.995


@pytest.mark.parametrize("bands", [80, 128])
def test_the_filters_are_whispers(bands: int) -> None:
    expected = mel_filter_bank(201, bands, 0.0, 8000.0, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel.filters(bands), expected, rtol=0, atol=1e-12)
    noise = np.random.default_rng(1).normal(0, 0.1, SAMPLES).astype(np.float32)
    np.testing.assert_allclose(log_mel(noise, bands=bands), theirs(noise, bands), rtol=0, atol=1e-5)


def test_silence_is_the_same_everywhere() -> None:
    assert (log_mel(np.zeros(SAMPLES, np.float32)) == SILENT).all()
    assert (log_mel(np.zeros(0, np.float32)) == SILENT).all()


@given(st.integers(0, 3 * SAMPLES))
@settings(max_examples=20, deadline=None)
def test_of_a_long_sound_the_end_is_heard_and_a_short_one_is_followed_by_silence(count: int) -> None:
    sound = np.random.default_rng(count).normal(0, 0.1, count).astype(np.float32)
    heard = mel.newest(sound, SAMPLES)
    kept = min(count, SAMPLES)
    assert (heard[:kept] == sound[count - kept :]).all()
    assert not heard[kept:].any()


def test_the_encoder_says_how_long_it_listens() -> None:
    sound = np.random.default_rng(2).normal(0, 0.1, SAMPLES).astype(np.float32)
    assert log_mel(sound, frames=300).shape == (BANDS, 300)
    np.testing.assert_array_equal(log_mel(sound, frames=50), log_mel(sound[-50 * HOP :], frames=50))


@pytest.mark.parametrize(
    "wrong", [np.zeros(9, np.int16), np.zeros((2, 9), np.float32), np.array([0.0, np.nan], np.float32)]
)
def test_what_is_no_sound_is_refused_with_what_to_do(wrong: NDArray[np.float32]) -> None:
    with pytest.raises(MediaError) as refused:
        log_mel(wrong)
    assert refused.value.hint
