"""Weights of what speaks for a correction (server.speech.choosing): `python -m benchmarks.recogniser --fit` found them.

Fitted on espeak-ng's voices, of which none is among those that the recogniser is judged on. Of "said" and "taught" such
sounds tell nothing: their weights are set by hand, low.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.speech.choosing import Weights
from shared.speech import GRAMMAR, SENTENCES, SoundPass

GRAMMAR_ALONE = Weights(
    {
        "grammar:same": 0.536, "grammar:thing": 0.32, "grammar:voted": 1.885,
        "seen": 0.848, "said": -0.5, "taught": 0.5,
        "none:always": 0.239, "none:grammar:split": 1.784,
    },
    1.17,
)  # fmt: skip
SENTENCES_ALONE = Weights(
    {
        "sentences:best": 0.512, "sentences:score": 3.298, "seen": 0.132, "said": -0.5, "taught": 0.5,
        "none:always": -4.652, "none:sentences:poor": 0.456, "none:sentences:word": 3.425,
    },
    0.77,
)  # fmt: skip
BOTH = Weights(
    {
        "grammar:same": 1.297, "grammar:thing": 1.341, "grammar:voted": 1.479,
        "sentences:best": 0.85, "sentences:score": 2.165, "seen": 0.506, "said": -0.5, "taught": 0.5,
        "none:always": -2.444, "none:grammar:split": -0.362,
        "none:sentences:poor": 1.24, "none:sentences:word": 1.398,
    },
    1.17,
)  # fmt: skip
PROPOSE_LEAST = 0.4
"""Below it nothing is proposed. From 0.3 to 0.5 two in five were right: a person listens to these in any case."""
VOTED = {1: 0.8, 2: 0.5}
"""Different things that a device heard in its three hearings → how likely what most of them heard is right. Of the
sounds that were fitted on it was 28 of 32 and 11 of 22; the first is the low end of what that can mean."""


def weights_for(passes: Sequence[SoundPass]) -> Weights:
    """By the kinds of evidence that there are."""
    kinds = {one.by for one in passes if one.texts}
    if kinds == {GRAMMAR}:
        return GRAMMAR_ALONE
    return SENTENCES_ALONE if kinds == {SENTENCES} else BOTH
