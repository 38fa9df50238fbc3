"""What a transcript means in the vocabulary's words. Pure.

A denial ("no, not a curb"), a word that nothing explains, or two things that are equally dangerous are no wording: a
person listens.
"""

from __future__ import annotations

from server.speech.grammar import NOTHING_WORDS
from server.speech.heard import Transcript
from shared import vocabulary

CONFIDENCE_LEAST = 0.6  # two of three hearings; below it a person should listen before anything is proposed


def understood(text: str) -> str:
    """The canonical sentence for heard words, "" = nothing that guidance can say.

    "Nothing", and "path is clear", become vocabulary.CLEAR: the wearer says that there was nothing to say.
    """
    if " ".join(vocabulary.words(text)) in NOTHING_WORDS:
        return vocabulary.CLEAR
    return vocabulary.normalise(text) or ""


def proposal(heard: Transcript) -> str:
    """The wording to propose to a caregiver, "" = not sure enough to propose any."""
    return understood(heard.text) if heard.confidence >= CONFIDENCE_LEAST else ""
