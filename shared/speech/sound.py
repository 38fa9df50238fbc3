"""Sound for the recognisers: 16 kHz mono, cut to where somebody speaks, at one loudness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ

MARGIN_S = 0.25  # kept around speech: the first sound of "stop" is a breath
_WINDOW_S = 0.02
_LOUD_DB = 7.0  # above the quietest moments of the sound
_SPEECH_LEAST_S = 0.25  # "curb ahead" takes 0.6 s; a click or a bump takes less than this
_LEVEL = 0.08  # root mean square of speech, of full scale


def spoken_part(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The stretch in which somebody speaks, with a margin, at one loudness; empty where nobody does.

    samples: float32 [n] at SAMPLE_RATE_HZ, -1..1; returns the same kind

    By energy against the sound's own floor: it tells silence, and an even hum, from speech. What else is loud, such as
    a horn, is left to the recogniser to refuse.
    """
    step = int(_WINDOW_S * SAMPLE_RATE_HZ)
    count = samples.size // step
    if count < 2:
        return samples[:0]
    samples = samples - samples.mean()
    power = np.square(samples[: count * step].reshape(count, step)).mean(axis=1) + 1e-10
    level_db = 10 * np.log10(np.convolve(power, np.ones(3) / 3, "same"))
    floor_db = max(np.percentile(level_db, 5), -65.0)  # below that is the rounding of 16 bits
    loud = np.flatnonzero(level_db > floor_db + _LOUD_DB)
    if loud.size * _WINDOW_S < _SPEECH_LEAST_S:
        return samples[:0]
    margin = int(MARGIN_S * SAMPLE_RATE_HZ)
    begin, end = max(0, loud[0] * step - margin), min(samples.size, (loud[-1] + 1) * step + margin)
    speech = samples[begin:end]
    rms = float(np.sqrt(power[loud].mean()))
    levelled: NDArray[np.float32] = np.clip(speech * (_LEVEL / rms), -1, 1).astype(np.float32)
    return levelled


def pitch_hz(samples: NDArray[np.float32]) -> float:
    """The voice's median fundamental, by autocorrelation; 0 where nothing is voiced. Deep voices lie near 110 Hz, high
    ones near 210.

    samples: float32 [n] at SAMPLE_RATE_HZ, -1..1
    """
    size, low, high = int(0.04 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 70
    pitches = []
    for at in range(0, samples.size - 2 * size, size // 2):
        window = samples[at : at + 2 * size]
        spectrum = np.abs(np.fft.rfft(window * np.hanning(window.size), 4 * size)) ** 2
        echo = np.fft.irfft(spectrum)
        lag = low + int(echo[low:high].argmax())
        if echo[0] > 0 and echo[lag] > 0.5 * echo[0]:
            pitches.append(SAMPLE_RATE_HZ / lag)
    return float(np.median(pitches)) if pitches else 0.0
