"""The phrases that a correction is made of, by their place in it: what grammars and the net of sentences share. Pure.

[opener] [article] [modifier] thing [modifier] [place]
place [article] thing
alone
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import vocabulary
from shared.languages import Language
from shared.speech import grammar
from shared.speech.language_grammar import phrases_of


@dataclass(frozen=True, slots=True)
class SaidPhrases:
    """Of one language, in small letters and without hyphens."""

    openers: tuple[str, ...]
    articles: tuple[str, ...]
    things: tuple[str, ...]
    modifiers: tuple[str, ...]
    places: tuple[str, ...]
    alone: tuple[str, ...]
    """Whole corrections: ways to go, and that there is nothing."""


def phrases(language: Language) -> SaidPhrases:
    """What wearers who speak a language may say."""
    if language.tables is None:
        return _english()
    named = phrases_of(language.tables, lambda word: True)[0]
    return SaidPhrases(
        openers=tuple(named["opener"]),
        articles=tuple(named["article"]),
        things=tuple(named["thing"]),
        modifiers=tuple(named["modifier"]),
        places=tuple(named["place"]),
        alone=(*named["way"], *named["nothing"]),
    )


def _english() -> SaidPhrases:
    loaded = vocabulary.load()
    names = [name for term in loaded.objects.values() for name in term.names if name not in term.unheard]
    things = dict.fromkeys([grammar.spoken(name) for name in names] + ["walk signal red", "walk signal green"])
    heard = loaded.heard
    modifiers = tuple(name for name in loaded.modifiers if not name.startswith("going "))
    return SaidPhrases(
        openers=tuple(heard.openers),
        articles=tuple(heard.articles),
        things=tuple(things),
        modifiers=modifiers,
        places=tuple(heard.places),
        alone=(*heard.ways, *heard.nothing),
    )
