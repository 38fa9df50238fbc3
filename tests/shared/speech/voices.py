"""Sentences spoken by espeak-ng, as a device would send them: 16 kHz mono WAV with a little room around."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.wav import decode_sound
from tests import paths

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
RECORDINGS = paths.DATA / "audio"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"{RECORDINGS} is not there")


@cache
def say(text: str, *, voice: str = "en-us", words_per_minute: int = 170) -> bytes:
    """A spoken sentence."""
    done = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout", text],
        capture_output=True,
        check=True,
        timeout=30,
    )
    with wave.open(io.BytesIO(done.stdout)) as file:
        rate_hz = file.getframerate()
    speech = _header_fixed(done.stdout, rate_hz)
    quiet = np.random.default_rng(0).normal(0, 3e-4, int(0.3 * SAMPLE_RATE_HZ)).astype(np.float32)
    return as_wav(np.concatenate([quiet, speech, quiet]))


def _header_fixed(raw: bytes, rate_hz: int) -> NDArray[np.float32]:
    """espeak-ng writes to a pipe before it knows the length: its header names 2 GB."""
    at = raw.index(b"data") + 8
    return decode_sound(as_wav(np.frombuffer(raw[at:], "<i2").astype(np.float32) / 32768, rate_hz=rate_hz))


def as_wav(samples: NDArray[np.floating[Any]], *, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """-1..1 as 16 bit mono."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def over(wav: bytes, noise: bytes, *, snr_db: float) -> bytes:
    """Speech over a recording of somewhere, at a ratio of their loudness."""
    speech, around = decode_sound(wav), decode_sound(noise)
    around = np.resize(around, speech.size)
    loud = speech[np.abs(speech) > 0.006]
    ratio = np.sqrt(np.square(loud).mean() / np.square(around).mean() / 10 ** (snr_db / 10))
    mixed = speech + around * np.float32(ratio)
    return as_wav(mixed / max(1.0, float(np.abs(mixed).max())))
