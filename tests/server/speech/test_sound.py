"""Any WAV becomes 16 kHz mono, cut to where somebody speaks."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.media import MAX_S, RATE_HZ, read_wav, resample
from server.speech.sound import spoken_part
from shared.errors import MediaError
from tests.server.speech.voices import as_wav, needs_espeak, say

BITS_AT = 34  # of a WAV file: bits per sample


def tone(hz: float, *, rate_hz: int, seconds: float = 1.0, width: int = 2, channels: int = 1) -> bytes:
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    wide = (np.sin(2 * np.pi * hz * t) * 0.5 * 2**31).astype("<i4")
    raw = wide.view(np.uint8).reshape(-1, 4)[:, 4 - width :]
    if width == 1:
        raw = np.bitwise_xor(raw, np.uint8(0x80))  # 8 bit WAV is unsigned
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat(raw, channels, axis=0).tobytes())
    return out.getvalue()


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 1), (2, 2), (3, 2), (4, 1)])
def test_every_kind_of_wav_is_the_same_sound(rate_hz: int, width: int, channels: int) -> None:
    samples = read_wav(tone(1000, rate_hz=rate_hz, width=width, channels=channels))
    assert samples.size == RATE_HZ
    spectrum = np.abs(np.fft.rfft(samples))
    assert int(spectrum.argmax()) == 1000
    assert samples.max() == pytest.approx(0.5, abs=0.02)


def test_what_is_above_the_new_rate_is_cut_off_and_not_folded_back() -> None:
    assert np.abs(read_wav(tone(11_000, rate_hz=44_100))).max() < 0.02


@given(st.binary(max_size=400))
def test_bytes_that_are_no_wav_are_a_media_error(data: bytes) -> None:
    with pytest.raises(MediaError):
        read_wav(data)


@pytest.mark.parametrize("bits", [0, 40, 64, 4000])
def test_a_header_with_impossible_samples_is_a_media_error(bits: int) -> None:
    """A device may send such a sound as a correction: it must not end the listening to all the others."""
    wav = bytearray(tone(500, rate_hz=16_000))
    struct.pack_into("<H", wav, BITS_AT, bits)
    with pytest.raises(MediaError, match="not a sound that can be read"):
        read_wav(bytes(wav))


def test_a_part_of_a_wav_that_would_end_beyond_the_file_is_a_media_error() -> None:
    with pytest.raises(MediaError, match="cut short"):
        read_wav(b"RIFF" + struct.pack("<I", 30) + b"WAVE" + b"junk" + struct.pack("<I", 5000) + bytes(18))


def test_a_header_that_promises_more_than_there_is_gives_what_there_is() -> None:
    assert read_wav(tone(500, rate_hz=16_000)[:-1001]).size == RATE_HZ - 501


def test_a_button_that_was_sat_on_is_cut() -> None:
    assert read_wav(tone(500, rate_hz=16_000, seconds=MAX_S + 5)).size == int(MAX_S * RATE_HZ)


@given(st.integers(0, 2000), st.sampled_from([8000, 14_400, 22_050]))
def test_resampling_keeps_the_length_in_seconds(count: int, rate_hz: int) -> None:
    made = resample(np.ones(count, np.float32), rate_hz)
    assert abs(made.size / RATE_HZ - count / rate_hz) <= 1.5 / RATE_HZ


def test_silence_and_even_noise_and_a_click_hold_no_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 2 * RATE_HZ).astype(np.float32)
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[RATE_HZ : RATE_HZ + 800] = 0.5
    for samples in (np.zeros(2 * RATE_HZ, np.float32), noise, click, np.zeros(0, np.float32)):
        assert spoken_part(samples).size == 0


@needs_espeak
@pytest.mark.parametrize("loudness", [1.0, 0.05])
def test_speech_is_cut_out_at_one_loudness(loudness: float) -> None:
    speech = read_wav(say("Stop, curb ahead."))
    around = np.random.default_rng(2).normal(0, 3e-4, 2 * RATE_HZ).astype(np.float32)
    found = spoken_part(np.concatenate([around, speech, around]) * np.float32(loudness))
    assert speech.size - 0.6 * RATE_HZ < found.size < speech.size + 0.3 * RATE_HZ
    assert 0.02 < np.sqrt(np.square(found).mean()) < 0.1
    assert read_wav(as_wav(found)).size == found.size
