"""Texts that the page may speak, each under a token of one person, and their sound.

Rules that it keeps:

1. A sound is given only for a token that `offer` made, to the person it was made for. So nobody has anything spoken
   that the server did not word itself, and a token that leaks is of no use to another.
2. A text is cut at MOST_CHARACTERS; texts, sounds and what a person may have spoken in a minute are bounded.
3. espeak-ng runs at most TOGETHER times at once; who waits longer than WAIT_S is asked to try again.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from shared import espeak
from shared.clock import Clock
from shared.errors import Refused, Transient
from shared.token_bucket import RateLimiter
from shared.wav import decode_wav, encode_wav, resample, to_int16

VOICE, WORDS_PER_MINUTE = "en-us", 175
RATE_HZ = 16_000  # half the bytes of espeak-ng's own 22 kHz, and all that a recogniser hears
MOST_CHARACTERS = 600  # 40 s of speech: the longest moment with three proposals has 400
TEXTS_MOST = 2000  # 20 people with 100 sentences each
SOUNDS_MOST_BYTES = 16 * 1024 * 1024  # 8 minutes of speech
CHARACTERS_PER_S, CHARACTERS_AT_ONCE = 60.0, 6000.0  # speech has 15 characters a second; a moment has 400
TOGETHER, WAIT_S = 2, 5.0
_QUIET = 0.005  # espeak-ng's lead-in and tail are under this, of 1
_NOT_SPOKEN = re.compile(r"[\x00-\x1f\x7f-\x9f\[\]<>|]+")  # control codes, and espeak-ng's own marks for phonemes
_LONG_WORD = re.compile(r"\S{41,}")  # nobody listens to that, and it is no word

Render = Callable[[str], bytes]


def sayable(text: str) -> str:
    """What the voice gets: one line, at most MOST_CHARACTERS, without codes; endless words are cut. Pure."""
    plain = _LONG_WORD.sub(lambda match: f"{match[0][:40]}, and so on,", _NOT_SPOKEN.sub(" ", text))
    return " ".join(plain.split())[:MOST_CHARACTERS]


def rendered(text: str) -> bytes:
    """Speech as WAV: 16 bit mono at RATE_HZ, the silence at both ends cut. Raises: MediaError."""
    samples, rate_hz = decode_wav(espeak.spoken_wav(text, voice=VOICE, words_per_minute=WORDS_PER_MINUTE))
    loud = np.flatnonzero(np.abs(samples) > _QUIET)
    kept = samples[max(0, int(loud[0]) - rate_hz // 50) : int(loud[-1]) + rate_hz // 20] if loud.size else samples
    return encode_wav(to_int16(resample(kept, rate_hz, RATE_HZ)), RATE_HZ)


class SpokenTexts:
    """The page's voice. Safe from any thread."""

    def __init__(self, clock: Clock, render: Render = rendered) -> None:
        self._clock, self._render = clock, render
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, tuple[str, str, str]] = OrderedDict()
        self._sounds: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._rations = RateLimiter(rate_per_s=CHARACTERS_PER_S, capacity=CHARACTERS_AT_ONCE, max_keys=1000)
        self._trouble: str | None = None
        self._running = threading.BoundedSemaphore(TOGETHER)

    def trouble(self) -> str:
        """Why nothing can be spoken, "" = it can. Checked once."""
        if self._trouble is None:
            self._trouble = "" if shutil.which(espeak.PROGRAM) else f"Nothing can be spoken yet. {espeak.INSTALL}"
        return self._trouble

    def offer(self, person: str, text: str, about: str = "") -> str:
        """A token with which this person may hear the text; the same again for the same text. It holds until the server
        ends or TEXTS_MOST others were offered since.

        about: the moment of which it tells, "" = of none
        """
        plain = sayable(text)
        token = hashlib.blake2b(f"{person}\0{about}\0{plain}".encode(), key=self._key, digest_size=16).hexdigest()
        with self._lock:
            self._texts[token] = (person, plain, about)
            self._texts.move_to_end(token)
            while len(self._texts) > TEXTS_MOST:
                self._texts.popitem(last=False)
        return token

    def about(self, token: str) -> str:
        """The moment of which an offered text tells, "" = of none: whoever may not see it now does not hear of it."""
        with self._lock:
            return self._texts.get(token, ("", "", ""))[2]

    def sound(self, person: str, token: str) -> bytes | None:
        """The WAV of an offered text, None where this person was offered none such.

        raises: Refused where they had too much spoken lately; Transient where the voice is busy; MediaError
        """
        with self._lock:
            owner, text, _ = self._texts.get(token, ("", "", ""))
            if owner != person or not text:
                return None
            known = self._sounds.get(text)
            if known is not None:
                self._sounds.move_to_end(text)
                return known
            if not self._rations.allows(person, self._clock.monotonic_s(), len(text)):
                raise Refused("Too much was spoken in a short time.", hint="Wait a few seconds.")
        return self._made(text)

    def _made(self, text: str) -> bytes:
        if not self._running.acquire(timeout=WAIT_S):
            raise Transient("The voice is busy.", hint="Try again in a moment.")
        try:
            sound = self._render(text)
        finally:
            self._running.release()
        with self._lock:
            self._bytes += len(sound) - len(self._sounds.pop(text, b""))
            self._sounds[text] = sound
            while self._bytes > SOUNDS_MOST_BYTES and len(self._sounds) > 1:
                self._bytes -= len(self._sounds.popitem(last=False)[1])
        return sound
