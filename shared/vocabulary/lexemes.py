"""Text → lexemes: the longest phrase of the vocabulary at each place, and what is no phrase of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from shared.vocabulary.table import load, modifiers_of

_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+|[^\s\w]|_")
_BREAKS = frozenset(",.;:!?\"()-'")
_APOSTROPHES = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "–": "-", "—": ",", "“": '"', "”": '"', "…": "."}
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", "")
)
"""Signs that are written in several ways; those without width are no signs. Any other sign is no word that we know."""


class Kind(StrEnum):
    """What a piece of text is."""

    OPENER = "opener"
    OBJECT = "object"
    FAMILY = "family"
    SIDE = "side"
    MODIFIER = "modifier"
    FILLER = "filler"
    NEGATION = "negation"
    ASSURANCE = "assurance"
    BREAK = "break"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A phrase of the vocabulary, or a word that is none."""

    kind: Kind
    value: str
    """The canonical name: action, object, side, modifier; for the rest the text itself."""
    text: str
    plain: bool
    """Whether it may stand so in a good sentence."""


def lexemes(text: str) -> list[Lexeme]:
    """Cut a text. Of the meanings of a phrase, `_choose` takes the one that fits what stands before it."""
    tokens = _TOKEN.findall(text.lower().translate(_APOSTROPHES))
    out: list[Lexeme] = []
    at = 0
    while at < len(tokens):
        if tokens[at] in _BREAKS:
            out.append(Lexeme(Kind.BREAK, tokens[at], tokens[at], plain=True))
            at += 1
            continue
        length, choices = _longest(tokens, at)
        while length > 1 and (found := _choose(choices, out)) is None:
            length, choices = _longest(tokens[: at + length - 1], at)
        found = _choose(choices, out)
        out.append(found or Lexeme(Kind.UNKNOWN, tokens[at], tokens[at], plain=False))
        at += length
    return out


def _longest(tokens: Sequence[str], at: int) -> tuple[int, tuple[Lexeme, ...]]:
    longest, known = phrases()
    for length in range(min(longest, len(tokens) - at), 0, -1):
        choices = known.get(tuple(tokens[at : at + length]))
        if choices:
            return length, choices
    return 1, ()


def _choose(choices: Sequence[Lexeme], before: Sequence[Lexeme]) -> Lexeme | None:
    """The meaning of a phrase after what stands before it; None where none is possible here."""
    last = next((lexeme for lexeme in reversed(before) if lexeme.kind is not Kind.FILLER), None)
    for lexeme in choices:
        if lexeme.kind is Kind.OPENER and not _may_open(lexeme, last):
            continue
        if lexeme.kind is Kind.MODIFIER and len(choices) > 1 and not _modifies(lexeme, last):
            continue  # "vehicle crossing" comes; "crossing ahead" is a crosswalk
        return lexeme
    return None


def _may_open(lexeme: Lexeme, last: Lexeme | None) -> bool:
    """An order begins a clause: "tram stop" is none. "Step up" and "step down" are orders only as the first words."""
    if lexeme.value.startswith("step ") and lexeme.value != "step back":
        return last is None
    return last is None or last.kind not in (Kind.OBJECT, Kind.FAMILY)


def _modifies(lexeme: Lexeme, last: Lexeme | None) -> bool:
    return last is not None and last.kind is Kind.OBJECT and lexeme.value in modifiers_of(last.value)


@cache
def phrases() -> tuple[int, dict[tuple[str, ...], tuple[Lexeme, ...]]]:
    """(words of the longest phrase, words → its possible meanings, the likeliest first)."""
    table: dict[tuple[str, ...], list[Lexeme]] = {}
    for kind, value, text, plain in _entries():
        for spelt in _spellings(text):
            key = tuple(_TOKEN.findall(spelt.translate(_APOSTROPHES)))
            known = table.setdefault(key, [])
            if not any(lexeme.kind is kind for lexeme in known):
                known.append(Lexeme(kind, value, spelt, plain and spelt == text))
    for kind, value, text, _ in _entries():  # a plural is a name too, where it is not another word already
        if kind in (Kind.OBJECT, Kind.FAMILY):
            key = tuple(_TOKEN.findall(_plural(text)))
            table.setdefault(key, [Lexeme(kind, value, _plural(text), plain=False)])
    return max(map(len, table)), {key: tuple(meanings) for key, meanings in table.items()}


def _entries() -> Iterator[tuple[Kind, str, str, bool]]:
    """(kind, canonical name, phrase, whether it stands so in a good sentence); the first meaning of a phrase wins."""
    loaded = load()
    for rule in loaded.opener_rules.values():
        for action in (*rule.actions, *(f"{rule.name} {way}" for way in rule.alone if way)):
            yield Kind.OPENER, action, action, True
        if rule.name not in loaded.objects:  # "step ahead" is a thing
            yield Kind.OPENER, f"{rule.name} {rule.usual_way}".strip(), rule.name, not rule.ways
        for way, others in rule.also.items():
            for other in others:
                yield Kind.OPENER, f"{rule.name} {way}".strip(), other, False
    for modifier in loaded.modifier_rules.values():
        for other in (modifier.name, *modifier.also):
            yield Kind.MODIFIER, modifier.name, other, other == modifier.name
    for term in loaded.objects.values():
        yield Kind.OBJECT, term.name, term.name, True
        for state in term.states:
            yield Kind.MODIFIER, state, state, True
    for family in loaded.families:
        for word in family.words:
            yield Kind.FAMILY, word, word, False
    for term in loaded.objects.values():
        for name in term.names[1:]:
            yield Kind.OBJECT, term.name, name, name in term.as_written
    for side in loaded.side_rules.values():
        for other in (side.name, *side.as_written, *side.also):
            yield Kind.SIDE, side.name, other, other == side.name or other in side.as_written
    for kind, listed in (
        (Kind.NEGATION, loaded.negations),
        (Kind.ASSURANCE, loaded.assurances),
        (Kind.FILLER, loaded.fillers),
    ):
        for word in listed:
            yield kind, word, word, kind is Kind.FILLER


def _spellings(text: str) -> Iterator[str]:
    """ "drop-off", "drop off", "dropoff" """
    yield text
    if "-" in text:
        yield text.replace("-", " ")
        yield text.replace("-", "")


def _plural(text: str) -> str:
    if text.endswith(("s", "x", "ch", "sh")):
        return f"{text}es"
    return f"{text[:-1]}ies" if text.endswith("y") and text[-2] not in "aeiou" else f"{text}s"
