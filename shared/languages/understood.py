"""Words of the wearer -> the canonical sentence: the language's tables read backwards. Pure.

What is spoken is understood word for word. Anything else is put into canonical words phrase by phrase, the longest
first, by corrections.toml and the names of guidance.toml; what that means is the vocabulary's to say
(`vocabulary.read`), which refuses denials, promises and what is not plain. A word that the language does not know stays
unknown: it is never taken for an English one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from shared import vocabulary
from shared.languages import guard
from shared.languages.files import AS, CorrectionTable, GuidanceTable
from shared.languages.language import Language, LanguageTables

_BREAKS = re.compile(r"[,.;:!?]")
UNKNOWN = "untranslated"
"""Stands for what the language does not know; no word of the vocabulary."""
Phrases = dict[tuple[str, ...], str]


def understood(language: Language, text: str) -> str | None:
    """The canonical sentence; None where there is none. vocabulary.CLEAR: nothing should have been said."""
    if language.tables is None:
        return vocabulary.normalise(text)
    exact = _spoken(language.tables).get(_words(text))
    return exact if exact is not None else vocabulary.normalise(canonical_words(language, text))


def canonical_words(language: Language, text: str) -> str:
    """A text in canonical words, in the order in which it was said; commas stay."""
    if language.tables is None:
        return text
    longest, known = _phrases(language.tables)
    clauses = (" ".join(_clause(_words(clause), longest, known)) for clause in _BREAKS.split(text))
    return ", ".join(filter(None, clauses)) + "?" * text.count("?")  # a question is no wording: the vocabulary says so


def _clause(words: tuple[str, ...], longest: int, known: Phrases) -> Iterator[str]:
    at = 0
    while at < len(words):
        lengths = range(min(longest, len(words) - at), 0, -1)
        length = next((length for length in lengths if words[at : at + length] in known), 0)
        meaning = known[words[at : at + length]] if length else UNKNOWN
        if meaning:
            yield meaning
        at += max(1, length)


def _words(text: str) -> tuple[str, ...]:
    return tuple(guard.words(text.casefold()))


@cache
def _spoken(tables: LanguageTables) -> Phrases:
    """Words as they are spoken -> the canonical sentence."""
    known = {_words(said): text for text, said in tables.guidance.items()}
    return known | dict.fromkeys(map(_words, tables.corrections.nothing), vocabulary.CLEAR)


@cache
def _phrases(tables: LanguageTables) -> tuple[int, Phrases]:
    """(words of the longest phrase, phrase -> canonical words): the language's own names, then what else is said."""
    known: Phrases = {}
    for said, meaning in (*_names(tables.patterns), *tables.corrections.words.items()):
        for spelling in _spellings(said, tables.corrections):
            known.setdefault(_words(spelling), meaning)
    known |= {_words(said): meaning for said, meaning in tables.corrections.words.items()}
    return max(map(len, known), default=0), known


def _names(table: GuidanceTable) -> Iterator[tuple[str, str]]:
    """(words, canonical name) of orders, things and places."""
    for action, said in table.openers.items():
        yield said.partition("{")[0], action
    for group in (table.objects, table.sides):
        for name, forms in group.items():
            yield from ((said, name) for form, said in forms.items() if form != AS)


def _spellings(text: str, table: CorrectionTable) -> Iterator[str]:
    """As it is written, as it is typed without its letters, and without accents."""
    lowered = text.casefold()
    yield lowered
    yield "".join(table.spelled.get(letter, letter) for letter in lowered)
    yield "".join(sign for sign in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(sign))
