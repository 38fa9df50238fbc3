"""Everything that the device may announce, for who checks that a language has words for it.

Sentences about the way are not here: these are `vocabulary.sayable()`, which a language words by patterns.
"""

from __future__ import annotations

from collections.abc import Iterator

from device.agent.run import SAID_BEFOREHAND
from device.sentinel.watch import WORDS
from shared import model_card, vocabulary
from shared.model_card import SightCard


def announcements() -> tuple[str, ...]:
    """Every fixed text of the agent and the sentinel, and every name in what is said of a model."""
    return tuple(dict.fromkeys((*SAID_BEFOREHAND, *WORDS.values(), *_introductions())))


def _introductions() -> Iterator[str]:
    names = tuple(vocabulary.load().objects)
    yield from (model_card.NOT_KNOWN, model_card.REST_NOT_KNOWN)
    cards = [SightCard(sees=names), SightCard(unseen=names)]
    cards += [SightCard(sees=(name,), unseen=names[:2]) for name in names]
    cards += [SightCard(unseen=(name,)) for name in names]
    for card in cards:
        yield from model_card.spoken(card)
