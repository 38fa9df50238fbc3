"""Words of the wearer -> the canonical sentence: the language's tables read backwards. Pure.

What is spoken is understood word for word. Anything else is put into canonical words phrase by phrase, the longest
first, by corrections.toml and the names of guidance.toml; what that means is the vocabulary's to say
(`vocabulary.read`), which refuses denials, promises and what is not plain. A word that the language does not know stays
unknown: it is never taken for an English one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from shared import vocabulary
from shared.languages import guard
from shared.languages.language import Language

UNKNOWN = "unknown-word"
"""Stands for what the language does not know; no word of the vocabulary."""


def understood(language: Language, text: str) -> str | None:
    """The canonical sentence; None where there is none. vocabulary.CLEAR: nothing should have been said."""
    if language.corrections is None:
        return vocabulary.normalise(text)
    said = " ".join(guard.words(text))
    exact = _spoken(language).get(said)
    if exact is not None:
        return exact
    if said in language.corrections.nothing:
        return vocabulary.CLEAR
    return vocabulary.normalise(canonical_words(language, text))


def canonical_words(language: Language, text: str) -> str:
    """A text in canonical words, in the order in which it was said."""
    longest, known = _phrases(language)
    out: list[str] = []
    for clause in text.replace(";", ",").replace(".", ",").split(","):
        out.append(" ".join(_clause(guard.words(clause), longest, known)))
    return ", ".join(filter(None, out))


def _clause(words: list[str], longest: int, known: dict[tuple[str, ...], str]) -> Iterator[str]:
    at = 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            meaning = known.get(tuple(words[at : at + length]))
            if meaning is not None:
                yield meaning
                at += length
                break
        else:
            yield UNKNOWN
            at += 1


@lru_cache(maxsize=8)
def _spoken(language: Language) -> dict[str, str]:
    """Words as they are spoken -> the canonical sentence."""
    return {" ".join(guard.words(said)): text for text, said in language.guidance.items()}


@lru_cache(maxsize=8)
def _phrases(language: Language) -> tuple[int, dict[tuple[str, ...], str]]:
    """(words of the longest phrase, phrase -> canonical words)"""
    assert language.corrections is not None
    known = {tuple(guard.words(said)): meant for said, meant in language.corrections.words.items()}
    return max(map(len, known), default=0), known
