"""Rendered phrases, in RAM and on disk: a warning must not wait for a speech program to start.

Promises: a phrase once rendered is never rendered again with the same voice and rate; a full disk or a spoilt file
costs time, never speech. What was prepared stays in RAM: no number of other phrases pushes a warning out.

Phrases are asked for by their canonical text; the words that are rendered are those of the wearer's language.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from pathlib import Path

from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Samples, Synthesizer
from shared import atomic, vocabulary
from shared.errors import MediaError
from shared.wav import decode_wav, encode_wav, to_int16

logger = logging.getLogger(__name__)

MOST_IN_RAM = 512  # phrases of about 60 KB: 30 MB at most
AGAIN_S = 5.0  # after a phrase that could not be rendered
FORMAT = 1  # raise when rendering changes, so that old files are not used


class Phrases:
    """Speech by text and rate. Safe to use from several threads; two may render the same phrase, one is kept.

    spoken: a canonical text -> the words for it
    """

    def __init__(
        self, synthesizer: Synthesizer, folder: Path | None, *, spoken: Callable[[str], str] = lambda text: text
    ) -> None:
        self._synthesizer = synthesizer
        self._folder = folder
        self._spoken = spoken
        self._ram: OrderedDict[tuple[str, int], Samples] = OrderedDict()
        self._kept: dict[tuple[str, int], Samples] = {}
        self._lock = threading.Lock()

    def ready(self, text: str, words_per_minute: int) -> Samples | None:
        """The phrase, int16 [n] at SPEECH_RATE_HZ, where it is in RAM, else None. Takes microseconds."""
        with self._lock:
            samples = self._kept.get((text, words_per_minute))
            if samples is not None:
                return samples
            samples = self._ram.get((text, words_per_minute))
            if samples is not None:
                self._ram.move_to_end((text, words_per_minute))
            return samples

    def get(self, text: str, words_per_minute: int, *, keep: bool = False) -> Samples:
        """The phrase, int16 [n] at SPEECH_RATE_HZ, rendered where it must be. keep: in RAM for good.

        raises: MediaError
        """
        samples = self.ready(text, words_per_minute)
        words = text if samples is not None else self._spoken(text)
        if samples is None:
            samples = self._from_disk(words, words_per_minute)
        if samples is None:
            samples = self._synthesizer.render(words, words_per_minute)
            self._to_disk(words, words_per_minute, samples)
        with self._lock:
            if keep:
                self._kept[text, words_per_minute] = samples
                return samples
            self._ram[text, words_per_minute] = samples
            while len(self._ram) > MOST_IN_RAM:
                self._ram.popitem(last=False)
        return samples

    def _file(self, text: str, words_per_minute: int) -> Path | None:
        if self._folder is None:
            return None
        name = f"{FORMAT}|{self._synthesizer.name}|{words_per_minute}|{text}"
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.wav"

    def _from_disk(self, text: str, words_per_minute: int) -> Samples | None:
        file = self._file(text, words_per_minute)
        if file is None:
            return None
        try:
            samples, rate_hz = decode_wav(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, MediaError) as error:
            logger.warning("The cached phrase %s is rendered again: %s", file.name, error)
            return None
        return to_int16(samples) if samples.size and rate_hz == SPEECH_RATE_HZ else None

    def _to_disk(self, text: str, words_per_minute: int, samples: Samples) -> None:
        file = self._file(text, words_per_minute)
        if file is None:
            return
        try:
            atomic.write_bytes(file, encode_wav(samples, SPEECH_RATE_HZ))
        except OSError as error:
            logger.warning("A phrase could not be cached on disk: %s", error)


def fixed_phrases() -> list[tuple[str, int]]:
    """(text, tier) of every phrase that is known beforehand, the most urgent first."""
    pairs = ((name, side) for name in vocabulary.load().objects for side in vocabulary.SIDES_SEEN)
    phrases = {(vocabulary.instruct(n, s), vocabulary.tier(vocabulary.Slots("", n, s))) for n, s in pairs}
    return sorted(phrases, key=lambda phrase: (phrase[1], phrase[0]))


def prerender(
    phrases: Phrases, wanted: Iterable[tuple[str, int]], stop: threading.Event, *, again_s: float = AGAIN_S
) -> int:
    """Render (text, words a minute) one after the other until done or told to stop. Returns how many are ready.

    What cannot be rendered is tried again after the others: at the start of a slow board the speech program may take
    longer than it is given, and a warning that was never prepared would be late for the whole walk.
    """
    left, count, told = deque(wanted), 0, ""
    while left and not stop.is_set():
        text, words_per_minute = left[0]
        try:
            phrases.get(text, words_per_minute, keep=True)
        except MediaError as error:
            if str(error) != told:
                told = str(error)
                logger.warning("Phrases wait to be prepared: %s", error)
            left.rotate(-1)
            stop.wait(again_s)
        else:
            left.popleft()
            count += 1
    return count
