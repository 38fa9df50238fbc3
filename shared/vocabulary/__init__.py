"""The controlled vocabulary: what may be said, what may stand with what, and what other words become.

`vocabulary.toml` is the one table; nothing here or elsewhere lists words of its own, except `shared.monitor`, which is
written independently on purpose. All pure, but for the words that `use_own_words` adds to what is understood:

    read(text)        free words  -> Reading: slots, wording, what would be lost, what is wrong
    parse(text)       free words  -> Slots(action, object, side, modifier), None where they may not be said
    normalise(text)   free words  -> the canonical sentence, None where there is none
    problems(text)    a sentence  -> what is wrong with it (empty = may be said as it is)
    objection(slots)  Slots       -> why they may not stand together (None = they may)
    phrase(slots)     Slots       -> the canonical sentence
    instruct(...)     a thing     -> the canonical sentence about it
    tier(slots)       Slots       -> 1 interrupts everything, 2 interrupts 3, 3 is dropped when stale
    sayable()         every sentence that may be said; may_be_spoken(text) asks whether it is one
"""

from shared.vocabulary.reading import Reading, normalise, parse, problems, read, tidy, use_own_words
from shared.vocabulary.sentences import (
    actions,
    bodies,
    default_action,
    instruct,
    lexicon,
    manoeuvres,
    may_be_announced,
    may_be_spoken,
    phrase,
    sayable,
)
from shared.vocabulary.table import ObjectTerm, Opener, Slots, Vocabulary, load, modifiers_of, objection, tier, words

CLEAR = load().clear
"""What a clear way is called."""
SIDES_SEEN = load().sides_seen
"""The sides a camera tells apart; the hazard head scores each object at each of them."""

__all__ = [
    "CLEAR", "SIDES_SEEN", "ObjectTerm", "Opener", "Reading", "Slots", "Vocabulary", "actions", "bodies",
    "default_action", "instruct", "lexicon", "load", "manoeuvres", "may_be_announced", "may_be_spoken",
    "modifiers_of", "normalise", "objection", "parse", "phrase", "problems", "read", "sayable", "tidy", "tier",
    "use_own_words", "words",
]  # fmt: skip
