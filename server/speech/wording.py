"""What a transcript means in the vocabulary's words. Pure."""

from __future__ import annotations

from server.speech.grammar import NOTHING_WORDS
from server.speech.heard import Heard
from shared import vocabulary

CONFIDENCE_LEAST = 0.6  # two of three hearings; below it a person should listen before anything is proposed
_HYPHENATED = {"drop off": "drop-off", "step off": "step-off", "a frame": "a-frame", "e bike": "e-bike"}


def understood(text: str) -> str:
    """The canonical sentence for heard words, "" = nothing that guidance can say.

    "Nothing", and "path is clear", become vocabulary.CLEAR: the wearer says that there was nothing to say.
    """
    plain = " ".join(vocabulary.words(text))
    if plain in NOTHING_WORDS:
        return vocabulary.CLEAR
    for words, name in _HYPHENATED.items():
        plain = f" {plain} ".replace(f" {words} ", f" {name} ").strip()
    wording = vocabulary.normalise(plain)
    if wording is None and not vocabulary.problems(plain):
        return f"{plain[:1].upper()}{plain[1:]}."
    return wording or ""


def proposal(heard: Heard) -> str:
    """The wording to propose to a caregiver, "" = not sure enough to propose any."""
    return understood(heard.text) if heard.confidence >= CONFIDENCE_LEAST else ""
