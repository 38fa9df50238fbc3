"""The sentinel's sounds: a pattern of tones, then the words where these were rendered beforehand.

The tones need no file: without a voice they are what is heard. Falling = guidance is gone, rising = it is back.
"""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Iterable
from pathlib import Path

from device.sentinel.watch import WORDS, Saying

RATE_HZ = 22_050  # of the voice: device.voice.earcons
LOUDNESS = 0.35
FADE_MS = 4
LONGEST_S = 10.0  # of the words in a file

# (Hz, ms), 0 Hz = pause.
TONES: dict[Saying, tuple[tuple[int, int], ...]] = {
    Saying.STOPPED: ((880, 90), (660, 90), (440, 160)),
    Saying.FAILED: ((880, 90), (660, 90), (440, 90), (330, 240)),
    Saying.BACK: ((440, 90), (660, 90), (880, 90)),
    Saying.ENDED: ((740, 90), (520, 140)),
    Saying.HEARTBEAT: ((1000, 15),),
}
TWICE = ((0, 250),)
"""Between the pattern and its repetition, where there are no words."""


def tones(notes: Iterable[tuple[int, int]]) -> array[int]:
    """16 bit samples at RATE_HZ."""
    samples = array("h")
    for hertz, ms in notes:
        count, edge = RATE_HZ * ms // 1000, RATE_HZ * FADE_MS // 1000
        for at in range(count):
            ramp = min(1.0, at / edge, (count - at) / edge)
            samples.append(int(math.sin(2 * math.pi * hertz * at / RATE_HZ) * ramp * LOUDNESS * 32767))
    return samples


def words(path: Path) -> array[int]:
    """16 bit samples at RATE_HZ of a rendered sentence; none where the file is not one."""
    samples = array("h")
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ):
                samples.frombytes(file.readframes(int(LONGEST_S * RATE_HZ)))
    except (OSError, EOFError, ValueError, wave.Error):
        return array("h")
    return samples


def load(folder: Path) -> dict[Saying, array[int]]:
    """Each sound, whatever the folder holds: NAME.wav for each name of Saying that has words."""
    sounds = {}
    for saying, notes in TONES.items():
        spoken = words(folder / f"{saying}.wav") if saying in WORDS else array("h")
        again = () if spoken or saying not in WORDS else (*TWICE, *notes)
        sounds[saying] = tones((*notes, *again)) + spoken
    return sounds
