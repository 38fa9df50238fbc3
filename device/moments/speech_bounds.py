"""Where somebody speaks in the sound of a correction: an energy detector with margins. Pure numpy.

It never cuts speech: what is not clearly quieter than the loudest is kept, and a margin around it. Sound in which
nothing stands out, such as a street that is as loud as the voice, is kept whole. Only what is as quiet as an empty
room, or a microphone that gives nothing, holds no speech.

source: short-time energy against a noise floor (Rabiner and Sambur 1975), with a percentile as the floor
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ

FRAME_S = 0.02
MARGIN_BEFORE_S, MARGIN_AFTER_S = 0.3, 0.4  # weak first consonants, and the breath of a last one
LEAST_SPEECH_S = 0.06  # a click is shorter
SILENT_DBFS = -54.0  # RMS of the loudest frames: a whisper at arm's length is above -45
ABOVE_FLOOR_DB = 9.0
FLOOR_PERCENTILE = 15.0
CLEARLY_DB = 15.0  # from floor to loudest: with less, nothing stands out enough to cut by


@dataclass(frozen=True, slots=True)
class SpeechBounds:
    """From and to which sample there is speech, margins included."""

    first: int
    last: int


def speech_bounds(samples: NDArray[np.int16]) -> SpeechBounds | None:
    """samples: int16 [n], 16 kHz. None = nothing is heard in them."""
    frame = round(FRAME_S * SAMPLE_RATE_HZ)
    count = len(samples) // frame
    if count == 0:
        return None
    levels = _levels_dbfs(samples[: count * frame].reshape(count, frame))
    loud = np.sort(levels)[-max(1, round(LEAST_SPEECH_S / FRAME_S)) :]
    if float(loud.min()) < SILENT_DBFS:
        return None
    floor = float(np.percentile(levels, FLOOR_PERCENTILE))
    if float(loud.min()) - floor < CLEARLY_DB:
        return SpeechBounds(0, len(samples))
    stands_out = np.flatnonzero(_runs(levels >= max(floor + ABOVE_FLOOR_DB, SILENT_DBFS)))
    if not stands_out.size:
        return SpeechBounds(0, len(samples))
    first = int(stands_out[0]) * frame - round(MARGIN_BEFORE_S * SAMPLE_RATE_HZ)
    last = (int(stands_out[-1]) + 1) * frame + round(MARGIN_AFTER_S * SAMPLE_RATE_HZ)
    return SpeechBounds(max(0, first), min(len(samples), last))


def _levels_dbfs(frames: NDArray[np.int16]) -> NDArray[np.float64]:
    """RMS of each frame, without its mean: cheap microphones have an offset."""
    values = frames.astype(np.float64) / 32768.0
    values -= values.mean(axis=1, keepdims=True)
    power: NDArray[np.float64] = np.mean(values**2, axis=1)
    return 10.0 * np.log10(np.maximum(power, 1e-12))


def _runs(loud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same without what is shorter than LEAST_SPEECH_S."""
    least = round(LEAST_SPEECH_S / FRAME_S)
    kept = np.zeros_like(loud)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        if end - begin >= least:
            kept[begin:end] = True
    return kept
