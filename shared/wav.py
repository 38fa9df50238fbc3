"""Sound as WAV: encoded in one way, read from any, and brought to another rate.

A device's chunk and a labelled video's chunk of the same samples are the same bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import MediaError

MAX_SOUND_S = 30.0  # a button that was sat on: Whisper's window, and three times what anyone says
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM = 1
_THREES_AND_FIVES: tuple[int, ...] = tuple(3**i * 5**j for i in range(9) for j in range(7))

SampleT = TypeVar("SampleT", np.int16, np.float32)


def encode_wav(samples: NDArray[np.int16], rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """A WAV file. samples: int16 [n] mono."""
    return wav_header(samples.size, rate_hz) + samples.astype("<i2").tobytes()


def wav_header(samples: int, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """What comes before that many mono int16 samples in a WAV file: WAV_HEADER_BYTES bytes."""
    size = 2 * samples
    return _WAV_HEADER.pack(
        b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, _PCM, 1, rate_hz, 2 * rate_hz, 2, 16, b"data", size
    )


WAV_HEADER_BYTES = _WAV_HEADER.size


def decode_wav(data: bytes) -> tuple[NDArray[np.float32], int]:
    """(float32 [n_samples] -1..1, rate in Hz) of an 8, 16, 24 or 32 bit WAV; several channels are averaged.

    Sizes in headers are not believed: espeak-ng, which writes to a pipe, names 2 GB. What is cut short gives what there
    is. raises: MediaError
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _no_sound("it does not begin as a WAV file does")
    width, channels, rate_hz = 0, 0, 0
    for kind, body in _wav_chunks(data):
        if kind == b"fmt " and len(body) >= 16:
            width, channels, rate_hz = _wav_format(body)
        if kind == b"data" and rate_hz:
            whole = body[: len(body) // (width * channels) * width * channels]
            return _as_float(whole, width).reshape(-1, channels).mean(axis=1), rate_hz
    raise _no_sound("cut short")


def _wav_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of each RIFF chunk."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _wav_format(body: bytes) -> tuple[int, int, int]:
    """(bytes of one sample, channels, rate in Hz) of a "fmt " chunk. Raises: MediaError."""
    form, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
    width = (bits + 7) // 8
    if form != _PCM or not 1 <= width <= 4 or not channels or not rate_hz:
        raise _no_sound(f"kind {form}, {channels} channels of {bits} bits, {rate_hz} Hz")
    return width, channels, rate_hz


def decode_sound(wav: bytes) -> NDArray[np.float32]:
    """float32 [n_samples] -1..1, mono at SAMPLE_RATE_HZ, at most MAX_SOUND_S of it. Raises: MediaError."""
    samples, rate_hz = decode_wav(wav)
    return resample(samples[: int(MAX_SOUND_S * rate_hz)], rate_hz, SAMPLE_RATE_HZ)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """-1..1 [n] as 16 bit samples; what came from 16 bits is the same again."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def resample(samples: NDArray[SampleT], from_hz: int, to_hz: int) -> NDArray[SampleT]:
    """Sound at another rate, through the spectrum: what lies above half the new rate is cut off, not folded back.

    samples: int16 or float32 [n] mono; returns the same type, [n * to_hz / from_hz]
    """
    if from_hz == to_hz or not samples.size:
        return samples
    count = max(1, round(samples.size * to_hz / from_hz))
    # Silence is put behind it to a length that is a fast transform, and a whole number of samples at both rates: of
    # a prime length, 3 s would take 0.2 s, and a warning waits for it.
    common = math.gcd(from_hz, to_hz)
    blocks = _fast_length(-(-samples.size * common // from_hz))
    size, made_size = blocks * from_hz // common, blocks * to_hz // common
    if size > 2 * samples.size:  # rates without a common measure
        size, made_size = samples.size, count
    spectrum = np.fft.rfft(samples.astype(np.float32), size)[: made_size // 2 + 1]
    made = np.fft.irfft(spectrum, made_size)[:count] * (made_size / size)
    if samples.dtype == np.int16:
        made = np.clip(np.rint(made), -32768, 32767)
    return made.astype(samples.dtype)


def _fast_length(least: int) -> int:
    """The smallest product of twos, threes and fives that is at least that."""
    fast: Iterable[int] = (odd << (-(-least // odd) - 1).bit_length() for odd in _THREES_AND_FIVES)
    return min(fast)


def _as_float(raw: bytes, width: int) -> NDArray[np.float32]:
    if width == 1:
        return np.frombuffer(raw, np.uint8).astype(np.float32) / np.float32(128) - np.float32(1)
    wide = np.zeros((len(raw) // width, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
    return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)


def _no_sound(why: str) -> MediaError:
    return MediaError(f"This is not a sound that can be read ({why}).", hint="A WAV file is needed.")
