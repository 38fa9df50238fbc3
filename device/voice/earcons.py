"""Short sounds that stand for something, made from sine waves: no recordings, nothing to install.

An earcon before a warning lets attention stay on the street and keeps the first word from being missed (Wayfindr, ITU-T
F.921). Two core alerts sound different on purpose; the ticks answer a button, so that a press is never in doubt.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SPEECH_RATE_HZ = 22_050
"""Rate of everything that the voice plays: what espeak-ng makes."""

# (Hz, ms) notes, 0 Hz = pause. Short: the warning's earcon delays its first word. With 110 ms of it the word came some
# 160 ms after the shutter through a sound card (p95, make bench NAME=speech); with 80 ms it comes within 150.
NOTES: dict[str, tuple[tuple[int, int], ...]] = {
    "warning": ((880, 35), (1320, 45)),
    "state": ((520, 70), (0, 20), (390, 90)),
    "unsure": ((440, 60), (415, 90)),
    "tick": ((1800, 18),),
    "heartbeat": ((1200, 12),),
    "listening": ((660, 60), (990, 60)),
    "listened": ((990, 60), (660, 60)),
    "heard": ((784, 40), (0, 15), (784, 40)),
    "kept": ((1320, 30), (1760, 50)),
    "refused": ((220, 140),),
}
LOUDNESS = 0.35  # of full scale: beside speech, not above it
FADE_MS = 4  # a tone that begins at full height clicks


@cache
def earcon(name: str) -> NDArray[np.int16]:
    """int16 [n] at SPEECH_RATE_HZ. Raises: KeyError for a name not in NOTES."""
    sound = np.concatenate([_note(hertz, ms) for hertz, ms in NOTES[name]])
    sound.setflags(write=False)
    return sound


def _note(hertz: int, ms: int) -> NDArray[np.int16]:
    count = SPEECH_RATE_HZ * ms // 1000
    wave = np.sin(2 * np.pi * hertz * np.arange(count) / SPEECH_RATE_HZ)
    edge = min(SPEECH_RATE_HZ * FADE_MS // 1000, count // 2)
    ramp = np.ones(count)
    ramp[:edge] = np.linspace(0, 1, edge)
    ramp[count - edge :] = np.linspace(1, 0, edge)
    return (wave * ramp * LOUDNESS * 32767).astype(np.int16)
