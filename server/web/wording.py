"""Help with wording: sentences to choose from, and a proposal for words that can not be used as they are. Pure."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from shared import vocabulary

_CLOSE = 0.8  # "stiars" is close to "stairs"; "out" is close to nothing
_SHORTEST = 4  # below this a wrong letter could mean anything


@cache
def sentences() -> tuple[str, ...]:
    """The canonical sentence of every object at every side that a camera tells apart, in the vocabulary's order."""
    pairs = ((name, side) for name in vocabulary.load().objects for side in vocabulary.SIDES_SEEN)
    return tuple(dict.fromkeys(vocabulary.instruct(name, side) for name, side in pairs))


def propose(text: str) -> str:
    """A sentence that could be meant by words that were refused; "" where none comes to mind."""
    for words in (text, " ".join(_mended(word) for word in vocabulary.words(text))):
        sentence = vocabulary.normalise(words)
        if sentence is not None and sentence != vocabulary.CLEAR and not vocabulary.problems(sentence):
            return sentence
    return ""


def _mended(word: str) -> str:
    if len(word) < _SHORTEST or word in _known_words():
        return word
    return next(iter(get_close_matches(word, sorted(_known_words()), n=1, cutoff=_CLOSE)), word)


@cache
def _known_words() -> frozenset[str]:
    synonyms = (way for term in vocabulary.load().objects.values() for way in term.synonyms)
    return vocabulary.lexicon() | {word for way in synonyms for word in vocabulary.words(way)}
