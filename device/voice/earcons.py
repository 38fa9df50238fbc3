"""Short sounds that stand for something, made from sine waves: no recordings, nothing to install.

An earcon before a warning lets attention stay on the street and keeps the first word from being missed (Wayfindr, ITU-T
F.921). Three kinds sound different on purpose: a warning is two rising notes, high; a direction is one short note, low;
an answer to the wearer is three notes. The ticks answer a button, so that a press is never in doubt.

On two ears a sound comes from the side of what it is about: the far ear hears it LEVEL_DB quieter and LATER_S later, as
it would of a thing there (Blauert, Spatial Hearing, 1997: 10 dB and 0.6 ms stand for 60 to 90 degrees).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from shared.sides import Side

SPEECH_RATE_HZ = 22_050
"""Rate of everything that the voice plays: what espeak-ng makes."""

# (Hz, ms) notes, 0 Hz = pause. Short: the warning's earcon delays its first word. With 110 ms of it the word came some
# 160 ms after the shutter through a sound card (p95, make bench NAME=speech); with 80 ms it comes within 150.
NOTES: dict[str, tuple[tuple[int, int], ...]] = {
    "warning": ((880, 35), (1320, 45)),
    "direction": ((587, 60),),
    "answer": ((740, 40), (0, 20), (740, 40), (0, 20), (988, 60)),
    "volume": ((660, 120),),
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
DIRECTION = "direction"
LEVEL_DB, LATER_S = 10.0, 0.0006
FADE_MS = 4  # a tone that begins at full height clicks


@cache
def earcon(name: str, side: Side | None = None) -> NDArray[np.int16]:
    """int16 [n] at SPEECH_RATE_HZ, or with a side [n, 2]: left and right ear. Raises: KeyError for an unknown name."""
    sound = np.concatenate([_note(hertz, ms) for hertz, ms in NOTES[name]])
    if side is not None:
        sound = _panned(sound, side)
    sound.setflags(write=False)
    return sound


def before(lead: NDArray[np.int16], speech: NDArray[np.int16]) -> NDArray[np.int16]:
    """A lead, [n] or [n, 2], and then speech, [m], in the middle: [n + m] or [n + m, 2]."""
    if lead.ndim == 2:
        speech = np.stack([speech, speech], axis=1)
    return np.concatenate([lead, speech])


def _panned(sound: NDArray[np.int16], side: Side) -> NDArray[np.int16]:
    if side is Side.AHEAD:
        return np.stack([sound, sound], axis=1)
    later = np.zeros(round(LATER_S * SPEECH_RATE_HZ), np.int16)
    near = np.concatenate([sound, later])
    far = np.concatenate([later, (sound * 10 ** (-LEVEL_DB / 20)).astype(np.int16)])
    return np.stack([near, far] if side is Side.LEFT else [far, near], axis=1)


def _note(hertz: int, ms: int) -> NDArray[np.int16]:
    count = SPEECH_RATE_HZ * ms // 1000
    wave = np.sin(2 * np.pi * hertz * np.arange(count) / SPEECH_RATE_HZ)
    edge = min(SPEECH_RATE_HZ * FADE_MS // 1000, count // 2)
    ramp = np.ones(count)
    ramp[:edge] = np.linspace(0, 1, edge)
    ramp[count - edge :] = np.linspace(1, 0, edge)
    return (wave * ramp * LOUDNESS * 32767).astype(np.int16)
