"""A walk on film on which the wearer presses, and speaks corrections with espeak-ng's voice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.wav import decode_sound, to_int16
from tests.device.capture import films
from tests.shared.speech.voices import say

PRESS_BEFORE_S, RELEASE_AFTER_S = 0.2, 0.3


def spoken_film(
    folder: Path, said: Sequence[tuple[float, str]], *, seconds: float
) -> tuple[Path, list[dict[str, Any]]]:
    """(the film, the presses). said: when each correction is begun, and its words; "" = silence."""
    sounds = np.random.default_rng(0).normal(0, 8, round(seconds * SAMPLE_RATE_HZ)).astype(np.int16)
    presses = []
    for t_s, words in said:
        voice = to_int16(decode_sound(say(words))) if words else np.zeros(SAMPLE_RATE_HZ, np.int16)
        first = round(t_s * SAMPLE_RATE_HZ)
        sounds[first : first + len(voice)] += voice
        until_s = t_s + len(voice) / SAMPLE_RATE_HZ + RELEASE_AFTER_S
        presses.append({"t_s": t_s - PRESS_BEFORE_S, "action": "hold", "until_s": round(until_s, 3)})
    film = films.make(
        folder / "walk.mp4", seconds=seconds, fps=5.0, size=(160, 120), sound_rate=SAMPLE_RATE_HZ, sounds=sounds
    )
    return film, presses
