"""What a transcript means in the vocabulary's words. Pure."""

from __future__ import annotations

from server.speech.grammar import NOTHING_WORDS, WAYS
from server.speech.heard import Heard
from shared import vocabulary

CONFIDENCE_LEAST = 0.6  # two of three hearings; below it a person should listen before anything is proposed
_HYPHENATED = {"drop off": "drop-off", "step off": "step-off", "a frame": "a-frame", "e bike": "e-bike"}


def understood(text: str) -> str:
    """The canonical sentence for heard words, "" = nothing that guidance can say.

    "Nothing", and "path is clear", become vocabulary.CLEAR: the wearer says that there was nothing to say.
    """
    words = plain(text)
    if words in NOTHING_WORDS:
        return vocabulary.CLEAR
    wording = vocabulary.normalise(words)
    if wording is None and words in WAYS:
        return f"{words.capitalize()}."
    return wording or ""


def plain(text: str) -> str:
    """Heard words as the vocabulary spells them."""
    words = " ".join(vocabulary.words(text))
    for apart, name in _HYPHENATED.items():
        words = f" {words} ".replace(f" {apart} ", f" {name} ").strip()
    return words


def proposal(heard: Heard) -> str:
    """The wording to propose to a caregiver, "" = not sure enough to propose any."""
    return understood(heard.text) if heard.confidence >= CONFIDENCE_LEAST else ""
