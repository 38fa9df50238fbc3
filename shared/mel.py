"""Log-mel spectrograms of the last two seconds of sound: the same code trains, exports, evaluates and guides.

Equal to what transformers' WhisperFeatureExtractor makes of the same samples (within 1e-6 of its numpy path, in double
precision until the end), so that any Whisper-type encoder may be used. numpy only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import MediaError

ENCODER = "audio_encoder.onnx"  # the graph of a bundle that takes them
WINDOW, HOP = 400, 160  # 25 ms every 10 ms
FRAMES = 200  # 2 s: one chunk
BANDS = 80  # Whisper large-v3 and later take 128
_FLOOR = 1e-10
_RANGE = 8.0  # what lies more than 80 dB under the loudest is cut off


def log_mel(audio: NDArray[np.float32], *, bands: int = BANDS, frames: int = FRAMES) -> NDArray[np.float32]:
    """Log-mel spectrogram of the newest sound.

    audio: float [n_samples], 16 kHz mono, -1..1; of a longer one the end is taken, a shorter one is followed by silence
    returns: float32 [bands, frames], 10 ms hop, about -1.5..1.5; silence is -1.5 everywhere
    raises: MediaError where the array is no sound
    source: Whisper, arXiv 2212.04356, section 2.2; transformers, feature_extraction_whisper.py
    """
    heard = newest(audio, frames * HOP).astype(np.float64)
    padded = np.pad(heard, WINDOW // 2, mode="reflect")
    windows = sliding_window_view(padded, WINDOW)[::HOP][:frames]
    power = np.square(np.abs(np.fft.rfft(windows * _hann())))
    logs = np.log10(np.maximum(power @ filters(bands), _FLOOR)).T
    logs = np.maximum(logs, logs.max() - _RANGE)
    features: NDArray[np.float32] = ((logs + 4.0) / 4.0).astype(np.float32)
    return features


def newest(audio: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The last `count` samples, zeros after them where there are fewer. float32 [count]. Raises: MediaError."""
    if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
        raise MediaError(
            f"A sound must be float [samples], 16 kHz mono, got {audio.dtype} {list(audio.shape)}.",
            hint="Divide 16-bit samples by 32768 and mix the channels into one.",
        )
    last = audio[max(0, len(audio) - count) :]
    if not np.isfinite(last).all():
        raise MediaError("A sound holds values that are no numbers.", hint="Leave this sound out.")
    heard = np.zeros(count, np.float32)
    heard[: len(last)] = last
    return heard


@cache
def filters(bands: int) -> NDArray[np.float64]:
    """Triangles of equal area between 0 and 8 kHz, float64 [WINDOW // 2 + 1, bands].

    source: Slaney, Auditory Toolbox, 1998: linear below 1 kHz, logarithmic above
    """
    edges = _hertz(np.linspace(0.0, _mels(SAMPLE_RATE_HZ / 2), bands + 2))
    bins = np.linspace(0, SAMPLE_RATE_HZ // 2, WINDOW // 2 + 1)
    slopes = edges[None, :] - bins[:, None]
    rising = -slopes[:, :-2] / np.diff(edges)[:-1]
    falling = slopes[:, 2:] / np.diff(edges)[1:]
    triangles: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))


_LINEAR_HZ, _LINEAR_MELS, _STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def _mels(hertz: float) -> float:
    """Of a frequency above 1 kHz."""
    return float(_LINEAR_MELS + np.log(hertz / _LINEAR_HZ) / _STEP)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LINEAR_HZ * np.exp(_STEP * (mels - _LINEAR_MELS))
    return np.where(mels >= _LINEAR_MELS, above, mels * (_LINEAR_HZ / _LINEAR_MELS))


@cache
def _hann() -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
