"""Speech from espeak-ng, which shared.espeak runs as a program.

text → `espeak-ng --stdin --stdout` → WAV → int16 at SPEECH_RATE_HZ, silence at both ends trimmed
"""

from __future__ import annotations

import shutil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device.voice.earcons import SPEECH_RATE_HZ
from shared import espeak
from shared.errors import MediaError
from shared.espeak import INSTALL
from shared.wav import decode_wav, resample, to_int16

Samples = NDArray[np.int16]

SLOWEST_WPM, FASTEST_WPM = 120, 400
SILENCE = 150  # amplitude of 32767 under which espeak-ng's lead-in and tail count as silence
KEEP_MS = 20  # kept before the first sound: soft consonants begin under the threshold


class Synthesizer(Protocol):
    """Makes speech from text."""

    @property
    def name(self) -> str:
        """Tells one voice from another in the phrase cache."""
        ...

    def render(self, text: str, words_per_minute: int) -> Samples:
        """int16 [n] mono at SPEECH_RATE_HZ. Raises: MediaError."""
        ...


class Espeak:
    """espeak-ng. Safe to use from several threads."""

    def __init__(self, *, voice: str = "en-us", program: str = "espeak-ng") -> None:
        self._voice = voice
        self._program = program

    @property
    def name(self) -> str:
        return f"espeak-ng {self._voice}"

    def check(self) -> str:
        """The version of the program. Raises: MediaError where it is missing or has no such voice."""
        if shutil.which(self._program) is None:
            raise MediaError(
                f"The speech program {self._program} is not installed: nothing can be spoken.", hint=INSTALL
            )
        output = espeak.run(["--version"], b"", voice=self._voice, program=self._program)
        self.render("test", SLOWEST_WPM)
        return output.decode(errors="replace").split("Data at")[0].strip()

    def render(self, text: str, words_per_minute: int) -> Samples:
        """Speech for `text`, int16 [n] at SPEECH_RATE_HZ. Raises: MediaError."""
        rate = max(SLOWEST_WPM, min(FASTEST_WPM, words_per_minute))
        wav = espeak.spoken_wav(text, voice=self._voice, words_per_minute=rate, program=self._program)
        try:
            samples, rate_hz = decode_wav(wav)
        except MediaError as error:
            raise MediaError(
                f"The speech program gave no sound: {error}", hint="Is it espeak-ng, and which version?"
            ) from None
        if not samples.size:
            raise MediaError(
                f"{self._program} made no sound for {text!r}.", hint=f"Does it have a voice {self._voice!r}?"
            )
        return _trimmed(resample(to_int16(samples), rate_hz, SPEECH_RATE_HZ))


def _trimmed(samples: Samples) -> Samples:
    """espeak-ng leaves silence before and after a phrase: the one delays the first word, the other the next phrase."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENCE)
    if not loud.size:
        return samples
    keep = SPEECH_RATE_HZ * KEEP_MS // 1000
    trimmed: Samples = samples[max(0, int(loud[0]) - keep) : int(loud[-1]) + keep]
    return trimmed
