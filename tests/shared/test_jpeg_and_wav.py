"""JPEG and WAV in memory, and sound at another rate: every kind of file that devices, people and espeak-ng give."""

from __future__ import annotations

import io
import struct
import time
import wave
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import MediaError
from shared.jpeg import decode_picture, encode_jpeg
from shared.wav import MAX_SOUND_S, decode_sound, decode_wav, encode_wav, resample, to_int16

BITS_AT, RATE_AT, DATA_SIZE_AT = 34, 24, 40  # of a WAV file


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


def pictured(jpeg: bytes) -> NDArray[np.uint8]:
    image = decode_picture(jpeg)
    assert image is not None
    return image


def test_a_jpeg_keeps_red_red() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0] = 200
    jpeg = encode_jpeg(image)
    back: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert back[20, 30].tolist() == pytest.approx([0, 0, 200], abs=6)
    assert pictured(jpeg)[20, 30].tolist() == pytest.approx([200, 0, 0], abs=6)


def test_a_large_picture_is_scaled_down_for_the_link() -> None:
    assert pictured(encode_jpeg(np.zeros((1080, 1920, 3), np.uint8))).shape == (720, 1280, 3)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 10, 2)])
def test_a_picture_that_is_none_is_a_media_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(MediaError):
        encode_jpeg(np.zeros(shape, np.uint8))


@given(st.binary(max_size=100))
def test_bytes_that_are_no_picture_are_none(data: bytes) -> None:
    assert decode_picture(data) is None


@given(st.lists(st.integers(-32768, 32767), max_size=100), st.sampled_from([SAMPLE_RATE_HZ, 22_050]))
def test_a_wav_is_the_standard_librarys_and_gives_its_samples_back(values: list[int], rate_hz: int) -> None:
    samples = np.array(values, np.int16)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    assert encode_wav(samples, rate_hz) == out.getvalue()
    back, back_hz = decode_wav(out.getvalue())
    assert np.array_equal(to_int16(back), samples)
    assert back_hz == rate_hz


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 1), (2, 2), (3, 2), (4, 1)])
def test_every_kind_of_wav_is_the_same_sound(rate_hz: int, width: int, channels: int) -> None:
    samples = decode_sound(tone(1000, rate_hz=rate_hz, width=width, channels=channels))
    assert samples.dtype == np.float32
    assert samples.size == SAMPLE_RATE_HZ
    spectrum = np.abs(np.fft.rfft(samples))
    assert int(spectrum.argmax()) == 1000
    assert samples.max() == pytest.approx(0.5, abs=0.02)


@given(st.binary(max_size=400))
def test_bytes_that_are_no_wav_are_a_media_error(data: bytes) -> None:
    with pytest.raises(MediaError):
        decode_sound(data)


@given(st.binary(max_size=200))
def test_reading_sound_from_any_bytes_gives_samples_or_a_media_error(data: bytes) -> None:
    good = encode_wav(np.arange(50, dtype=np.int16))
    for candidate in (data, b"RIFF\0\0\0\0WAVE" + data, good[:-20] + data, good[:20] + data[:16] + good[36:]):
        try:
            samples, rate_hz = decode_wav(candidate)
        except MediaError:
            continue
        assert samples.dtype == np.float32
        assert rate_hz > 0


@pytest.mark.parametrize("bits", [0, 40, 64, 4000])
def test_a_header_with_impossible_samples_is_a_media_error(bits: int) -> None:
    """A device may send such a sound as a correction: it must not end the listening to all the others."""
    wav = bytearray(tone(500, rate_hz=16_000))
    struct.pack_into("<H", wav, BITS_AT, bits)
    with pytest.raises(MediaError, match="not a sound that can be read"):
        decode_sound(bytes(wav))


def test_a_header_without_a_rate_is_a_media_error() -> None:
    wav = bytearray(tone(500, rate_hz=16_000))
    struct.pack_into("<I", wav, RATE_AT, 0)
    with pytest.raises(MediaError, match="not a sound that can be read"):
        decode_sound(bytes(wav))


def test_a_part_of_a_wav_that_would_end_beyond_the_file_is_a_media_error() -> None:
    with pytest.raises(MediaError, match="cut short"):
        decode_sound(b"RIFF" + struct.pack("<I", 30) + b"WAVE" + b"junk" + struct.pack("<I", 5000) + bytes(18))


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF, 2**31])
def test_sizes_in_headers_are_not_believed_for_espeak_writes_to_a_pipe(size: int) -> None:
    wav = bytearray(tone(500, rate_hz=22_050))
    whole, _ = decode_wav(bytes(wav))
    struct.pack_into("<I", wav, 4, min(size + 36, 2**32 - 1))
    struct.pack_into("<I", wav, DATA_SIZE_AT, size)
    assert np.array_equal(decode_wav(bytes(wav))[0], whole)
    struct.pack_into("<I", wav, 4, 0)
    assert np.array_equal(decode_wav(bytes(wav))[0], whole)


def test_a_header_that_promises_more_than_there_is_gives_what_there_is() -> None:
    assert decode_sound(tone(500, rate_hz=16_000)[:-1001]).size == SAMPLE_RATE_HZ - 501


def test_a_button_that_was_sat_on_is_cut() -> None:
    sound = decode_sound(tone(500, rate_hz=16_000, seconds=MAX_SOUND_S + 5))
    assert sound.size == int(MAX_SOUND_S * SAMPLE_RATE_HZ)


@given(st.integers(0, 2000), st.sampled_from([8000, 14_400, 22_050]))
def test_resampling_keeps_the_length_in_seconds(count: int, rate_hz: int) -> None:
    made = resample(np.ones(count, np.float32), rate_hz, SAMPLE_RATE_HZ)
    assert made.dtype == np.float32
    assert abs(made.size / SAMPLE_RATE_HZ - count / rate_hz) <= 1.5 / SAMPLE_RATE_HZ


def test_resampling_keeps_length_in_seconds_and_pitch_of_16_bit_sound() -> None:
    sound = (np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 9000).astype(np.int16)
    up = resample(sound, 16_000, 22_050)
    assert up.dtype == np.int16
    assert up.size == 22_050
    assert np.abs(np.fft.rfft(up)).argmax() == 440


def test_resampling_16_bit_sound_at_full_scale_never_wraps_around() -> None:
    square = np.where(np.arange(16_000) // 50 % 2, 32767, -32768).astype(np.int16)
    up = resample(square, 16_000, 48_000).astype(np.int32)
    assert np.abs(np.diff(up)).max() < 40_000


@pytest.mark.parametrize("count", [33_331, 44_101, 66_151])
def test_resampling_takes_no_longer_for_a_prime_length_for_a_warning_waits_for_it(count: int) -> None:
    sound = np.random.default_rng(1).normal(0, 3000, count).astype(np.int16)

    def fastest_s(samples: NDArray[np.int16]) -> float:
        times = []
        for _ in range(5):
            began_s = time.process_time()
            resample(samples, 22_050, 48_000)
            times.append(time.process_time() - began_s)
        return min(times)

    assert fastest_s(sound) < 4 * fastest_s(sound[: count // 1470 * 1470]) + 0.005


def test_rates_without_a_common_measure_take_no_more_memory_than_the_sound() -> None:
    assert resample(np.ones(1000, np.float32), 2**32 - 1, SAMPLE_RATE_HZ).size == 1
    assert resample(np.ones(44_101, np.float32), 44_101, SAMPLE_RATE_HZ).size == SAMPLE_RATE_HZ


def test_what_is_above_half_the_new_rate_is_cut_off_and_not_folded_back() -> None:
    assert np.abs(decode_sound(tone(11_000, rate_hz=44_100))).max() < 0.02
