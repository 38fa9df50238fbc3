"""Weights of what speaks for a correction (server.speech.choosing): `python -m benchmarks.recogniser --fit` found them.

Fitted on espeak-ng's voices, of which none is among those that the recogniser is judged on. Of "said" and "taught" such
sounds tell nothing: their weights are set by hand, low.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.speech.choosing import Weights
from shared.speech import GRAMMAR, SENTENCES, SoundPass

GRAMMAR_ALONE = Weights({"grammar:same": 1.0, "grammar:thing": 2.0, "grammar:voted": 1.0})
SENTENCES_ALONE = Weights({"sentences:score": 4.0})
BOTH = Weights({"grammar:same": 1.0, "grammar:thing": 2.0, "sentences:score": 4.0})
PROPOSE_LEAST = 0.5
"""Below it nothing is proposed: it would be wrong more often than right."""
VOTED = {1: 0.9, 2: 0.6}
"""Hearings of a device that heard another thing, of three, → how often what most of them heard was right."""


def weights_for(passes: Sequence[SoundPass]) -> Weights:
    """By the kinds of evidence that there are."""
    kinds = {one.by for one in passes if one.texts}
    if kinds == {GRAMMAR}:
        return GRAMMAR_ALONE
    return SENTENCES_ALONE if kinds == {SENTENCES} else BOTH
