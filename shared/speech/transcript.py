"""What a recogniser gives back, what every recogniser is, and what a transcript means in the vocabulary's words.

A denial ("no, not a curb"), a word that nothing explains, or two things that are equally dangerous are no wording: a
person listens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from shared import languages, vocabulary
from shared.languages import Language
from shared.speech.grammar import NOTHING_WORDS

CONFIDENCE_LEAST = 0.6  # two of three hearings; below it a person should listen before anything is proposed


@dataclass(frozen=True, slots=True)
class SoundPass:
    """What one pass over a sound makes of it: several sentences, the best first."""

    by: str
    """The kind of pass: GRAMMAR | SENTENCES. Scores of two kinds cannot be compared."""
    texts: tuple[tuple[str, float], ...]
    """(words, score): the higher the likelier. Of GRAMMAR 0..1, of SENTENCES a log-probability."""


GRAMMAR, SENTENCES = "grammar", "sentences"


@dataclass(frozen=True, slots=True)
class Transcript:
    """Words and how sure they are."""

    text: str
    """"" = nothing was understood."""
    confidence: float
    """0..1."""
    passes: tuple[SoundPass, ...] = field(default=(), compare=False)
    """What the words were chosen from: the evidence of who knows more than the recogniser does."""


NOTHING = Transcript("", 0.0)


class Transcriber(Protocol):
    """Turns a spoken correction into words. May be called from any thread."""

    def transcribe(self, wav: bytes) -> Transcript:
        """Listen to one WAV.

        raises: MediaError where it is no sound; ConfigError where the recogniser can not be loaded
        """
        ...


def understood(text: str, language: Language | None = None) -> str:
    """The canonical sentence for heard words, "" = nothing that guidance can say. language: None = English

    "Nothing", and "path is clear", become vocabulary.CLEAR: the wearer says that there was nothing to say.
    """
    if language is not None and language.tables is not None:
        return languages.understood(language, text) or ""
    if " ".join(vocabulary.words(text)) in NOTHING_WORDS:
        return vocabulary.CLEAR
    return vocabulary.normalise(text) or ""


def proposal(transcript: Transcript, language: Language | None = None) -> str:
    """The wording to propose to a caregiver, "" = not sure enough to propose any."""
    return understood(transcript.text, language) if transcript.confidence >= CONFIDENCE_LEAST else ""
