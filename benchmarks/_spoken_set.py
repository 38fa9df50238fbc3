"""The spoken corrections that recognisers are fitted and judged on: espeak-ng's voices, three speeds, with and without
the noise of a street. Pure but for the voices. No voice is in two parts, so that what is judged was never fitted.

A part has one cell for each voice, speed and noise; each cell says the next few things of the vocabulary, so that all
of them come about equally often. Beside them stand sounds that are no correction: other sentences, and other noises.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice, product

import numpy as np

from shared import vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.wav import decode_sound
from tests.shared.speech.voices import RECORDINGS, as_wav, over, say

VOICES = {
    "fit": ("en-us-nyc", "en-gb-x-rp", "en-gb+f2"),
    "calibrate": ("en-us+m3", "en-gb-x-gbclan+f4"),
    "judge": ("en-us", "en-gb", "en-gb-scotland", "en-us+f3", "en-029"),
}
SPEEDS_WPM = (140, 170, 205)
STREETS = ("rain", "car_engine", "train")
SNR_DB = 12.0
A_CELL = 2
OTHER_SENTENCES = (
    "where is my umbrella", "hello who is there", "I will call you later", "what time is it now",
    "mind the horse over there", "please say that again", "that was very funny", "the weather is nice today",
)  # fmt: skip
OTHER_NOISES = ("dog", "car-horn", "speech_jfk")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sound of the set."""

    said: str
    """Word for word; "" = nothing was said that is a correction."""
    meant: str
    """The vocabulary's sentence; "" = none."""
    voice: str
    words_per_minute: int
    noise: str
    """"" = none."""

    @property
    def thing(self) -> str:
        """What it is about, "" = it is no correction."""
        slots = vocabulary.parse(self.meant) if self.meant else None
        return slots.object if slots else ""

    def wav(self) -> bytes:
        """Its sound, 16 kHz mono."""
        if not self.voice:
            samples = decode_sound((RECORDINGS / f"{self.noise}.wav").read_bytes())
            return as_wav(samples[: 3 * SAMPLE_RATE_HZ])
        clean = say(self.said, voice=self.voice, words_per_minute=self.words_per_minute)
        if not self.noise:
            return clean
        return over(clean, (RECORDINGS / f"{self.noise}.wav").read_bytes(), snr_db=SNR_DB)


def part(name: str, *, each: int = A_CELL) -> list[Utterance]:
    """The sounds of a part: fit | calibrate | judge. each: corrections in a cell"""
    things = cycle(_sentences(name))
    found: list[Utterance] = []
    for number, (voice, speed, noisy) in enumerate(product(VOICES[name], SPEEDS_WPM, (False, True))):
        noise = STREETS[number % len(STREETS)] if noisy else ""
        found += [Utterance(text, meant, voice, speed, noise) for text, meant in islice(things, each)]
    return [*found, *_others(name)]


def _sentences(name: str) -> list[tuple[str, str]]:
    """(words, meaning) of each thing, in the order of a shuffle that is the part's own."""
    sides, words = vocabulary.SIDES_SEEN, []
    for number, thing in enumerate(vocabulary.load().objects):
        whole = vocabulary.instruct(thing, sides[number % len(sides)])
        words.append(whole if number % 2 else f"{thing} {sides[number % len(sides)]}")
    order = np.random.default_rng(list(VOICES).index(name)).permutation(len(words))
    return [(words[at], vocabulary.normalise(words[at]) or "") for at in order]


def _others(name: str) -> Iterator[Utterance]:
    """What is no correction, its share of the part's voices."""
    at = list(VOICES).index(name)
    for number, text in enumerate(OTHER_SENTENCES):
        if number % len(VOICES) == at:
            for voice in VOICES[name][:2]:
                yield Utterance(text, "", voice, SPEEDS_WPM[1], "")
    yield Utterance("", "", "", 0, OTHER_NOISES[at])
