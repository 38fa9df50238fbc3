"""Sound files from outside, as samples at the one rate that everything here works at."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

from shared.errors import MediaError

RATE_HZ = 16_000
MAX_S = 30.0  # a button that was sat on: Whisper's window, and three times what anyone says
_WIDTHS = (1, 2, 3, 4)  # bytes of a sample


def read_wav(wav: bytes) -> NDArray[np.float32]:
    """float32 [n], -1..1, mono 16 kHz, at most MAX_S. Raises: MediaError where it is no 8, 16, 24 or 32 bit WAV."""
    try:
        with wave.open(io.BytesIO(wav)) as file:
            width, channels, rate_hz = file.getsampwidth(), file.getnchannels(), file.getframerate()
            if width not in _WIDTHS:
                raise wave.Error(f"{8 * width} bits")
            raw = file.readframes(min(file.getnframes(), int(MAX_S * rate_hz)))
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk that says it ends beyond the file
        why = str(error) or "cut short"
        raise MediaError(f"This is not a sound that can be read ({why}).", hint="A WAV file is needed.") from None
    raw = raw[: len(raw) // (width * channels) * width * channels]
    if width == 1:
        samples = np.frombuffer(raw, np.uint8).astype(np.float32) / 128 - 1
    else:
        wide = np.zeros((len(raw) // width, 4), np.uint8)
        wide[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
        samples = wide.view("<i4")[:, 0].astype(np.float32) / 2**31
    return resample(samples.reshape(-1, channels).mean(axis=1), rate_hz)


def resample(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """To RATE_HZ, through the spectrum: what lies above half the new rate is cut off, not folded back."""
    if rate_hz == RATE_HZ or not samples.size:
        return samples.astype(np.float32)
    count = max(1, round(samples.size * RATE_HZ / rate_hz))
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / samples.size)).astype(np.float32)
