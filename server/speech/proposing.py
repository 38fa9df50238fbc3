"""One transcript with what is known beside it → words, a wording to propose, how sure that is, and what else it may be.
Pure."""

from __future__ import annotations

from dataclasses import dataclass

from server.dataset.choices import HeardChoice
from server.speech.choosing import NOTHING_KNOWN, Circumstances, chosen
from server.speech.fitted import PROPOSE_LEAST, VOTED, weights_for
from shared.languages import Language
from shared.speech import Transcript, proposal

_VOTES = 3
UNMEASURED_MOST = 0.8
"""The most that a hearing counts in another language than English, below `SURE`: the weights were fitted on English, so
a person listens before they take what is proposed."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """What is written down of a correction that was listened to."""

    transcript: str
    """Words, "" = none."""
    confidence: float
    """Probability that the first choice is what was meant, 0..1."""
    wording: str
    """Canonical; "" = none is sure enough."""
    choices: tuple[HeardChoice, ...] = ()


def proposed(heard: Transcript, about: Circumstances = NOTHING_KNOWN, language: Language | None = None) -> Proposed:
    """Of a recogniser's transcript. One without passes is taken at its word: it says itself how sure it is."""
    if not heard.passes:
        return Proposed(heard.text, heard.confidence, proposal(heard, language))
    choices = chosen(heard, weights_for(heard.passes), about=about, language=language)
    if not choices:
        return Proposed(heard.text, 0.0, "")
    best = choices[0]
    wording = best.wording if best.probability >= PROPOSE_LEAST else ""
    measured = language is None or language.tables is None
    sure = best.probability if measured else min(best.probability, UNMEASURED_MOST)
    return Proposed(best.heard, sure, wording, choices)


def of_device(heard: Transcript, wording: str) -> Proposed:
    """Of what a device understood itself: its confidence is a share of three hearings, which is no probability."""
    others = round((1.0 - heard.confidence) * _VOTES)
    return Proposed(heard.text, VOTED[1] if others == 0 else VOTED[2], wording)
