"""Text → lexemes: the longest phrase of the vocabulary at each place, and what is no phrase of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from shared.vocabulary.table import Vocabulary, load, modifiers_of

_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+|[^\s\w]|_")
_BREAKS = frozenset(",.;:!?\"()-'")
_APOSTROPHES = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "–": "-", "—": ",", "“": '"', "”": '"', "…": "."}
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", "")
)
"""Signs that are written in several ways; those without width are no signs. Any other sign is no word that we know."""


class WordKind(StrEnum):
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


THINGS = (WordKind.OBJECT, WordKind.FAMILY)
OWN_MOST = 200
_OWN_NAME = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+){0,3}")
_own: dict[str, str] = {}
"""Other words for things, as the wearers of one server have them; `reading.use_own_words` sets them."""


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A phrase of the vocabulary, or a word that is none."""

    kind: WordKind
    value: str
    """The canonical name: action, object, side, modifier; for the rest the text itself."""
    text: str
    plain: bool
    """Whether it may stand so in a good sentence."""


def lexemes(text: str) -> list[Lexeme]:
    """Cut a text. Of the meanings of a phrase, `_choose` takes the one that fits what stands before it."""
    tokens = _TOKEN.findall(text.lower().translate(_APOSTROPHES))
    longest, known = phrases()
    out: list[Lexeme] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        length, lexeme = 1, Lexeme(WordKind.UNKNOWN, token, token, plain=False)
        if token in _BREAKS:
            lexeme = Lexeme(WordKind.BREAK, token, token, plain=True)
        else:
            for words in range(min(longest, len(tokens) - at), 0, -1):
                chosen = _choose(known.get(tuple(tokens[at : at + words]), ()), out)
                if chosen is not None:
                    length, lexeme = words, chosen
                    break
        out.append(lexeme)
        at += length
    return out


def _choose(choices: Sequence[Lexeme], before: Sequence[Lexeme]) -> Lexeme | None:
    """The meaning of a phrase after what stands before it; None where none is possible here."""
    last = next((lexeme for lexeme in reversed(before) if lexeme.kind is not WordKind.FILLER), None)
    for lexeme in choices:
        if lexeme.kind is WordKind.OPENER and not _may_open(lexeme, last):
            continue
        if lexeme.kind is WordKind.MODIFIER and len(choices) > 1 and not _modifies(lexeme, last):
            continue  # "vehicle crossing" comes; "crossing ahead" is a crosswalk
        return lexeme
    return None


def _may_open(lexeme: Lexeme, last: Lexeme | None) -> bool:
    """An order begins a clause: "tram stop" is none. "Step up" and "step down" are orders only as the first words."""
    if lexeme.value.startswith("step ") and lexeme.value != "step back":
        return last is None
    return last is None or last.kind not in THINGS


def _modifies(lexeme: Lexeme, last: Lexeme | None) -> bool:
    return last is not None and last.kind is WordKind.OBJECT and lexeme.value in modifiers_of(last.value)


@cache
def phrases() -> tuple[int, dict[tuple[str, ...], tuple[Lexeme, ...]]]:
    """(words of the longest phrase, words → its possible meanings, the likeliest first)."""
    table: dict[tuple[str, ...], list[Lexeme]] = {}
    for entry in _entries():
        for spelt in _spellings(entry.text):
            known = table.setdefault(tuple(_TOKEN.findall(spelt.translate(_APOSTROPHES))), [])
            if not any(lexeme.kind is entry.kind for lexeme in known):
                known.append(replace(entry, text=spelt, plain=entry.plain and spelt == entry.text))
    for entry in _entries():  # a plural is a name too, where it is not another word already
        if entry.kind in THINGS:
            plural = _plural(entry.text)
            table.setdefault(tuple(_TOKEN.findall(plural)), [replace(entry, text=plural, plain=False)])
    return max(map(len, table)), {key: tuple(meanings) for key, meanings in table.items()}


def _entries() -> Iterator[Lexeme]:
    """Every phrase of the table with its meaning; the first meaning of a phrase wins."""
    loaded = load()
    yield from _openers(loaded)
    for modifier in loaded.modifier_rules.values():
        yield from _named(WordKind.MODIFIER, modifier.name, modifier.also)
    for term in loaded.objects.values():
        yield Lexeme(WordKind.OBJECT, term.name, term.name, plain=True)
        yield from _themselves(WordKind.MODIFIER, term.states, plain=True)
    for family in loaded.families:
        yield from _themselves(WordKind.FAMILY, family.words, plain=False)
    for term in loaded.objects.values():
        for name in term.names[1:]:
            yield Lexeme(WordKind.OBJECT, term.name, name, plain=name in term.as_written)
    for side in loaded.side_rules.values():
        yield from _named(WordKind.SIDE, side.name, (*side.as_written, *side.also), plain=side.as_written)
    yield from _themselves(WordKind.NEGATION, loaded.negations, plain=False)
    yield from _themselves(WordKind.ASSURANCE, loaded.assurances, plain=False)
    yield from _themselves(WordKind.FILLER, loaded.fillers, plain=True)
    for text, name in _own.items():
        yield Lexeme(WordKind.OBJECT, name, text, plain=False)


def set_own(words: Mapping[str, str]) -> None:
    """Other words → the thing that they mean. Raises: ValueError for what is no other word for a thing."""
    checked = {" ".join(text.lower().split()): name for text, name in words.items()}
    _own.clear()
    phrases.cache_clear()
    for text, name in checked.items():
        if problem := _objection(text, name):
            raise ValueError(problem)
    if len(checked) > OWN_MOST:
        raise ValueError(f"{len(checked)} own words are more than {OWN_MOST}")
    _own.update(checked)
    phrases.cache_clear()


def _objection(text: str, name: str) -> str:
    """Why a text may not mean a thing, "" = it may."""
    if name not in load().objects:
        return f"{name!r:.60} is no thing of the vocabulary"
    if not _OWN_NAME.fullmatch(text):
        return f"{text!r:.60} is not one to four words"
    kinds = {lexeme.kind for lexeme in lexemes(text)}
    if not kinds <= {*THINGS, WordKind.UNKNOWN}:
        return f"{text!r} holds a word that says what to do, where, or that something is not there"
    return "" if WordKind.UNKNOWN in kinds else f"{text!r} is known already"


def _openers(loaded: Vocabulary) -> Iterator[Lexeme]:
    for rule in loaded.opener_rules.values():
        for action in (*rule.actions, *(f"{rule.name} {way}" for way in rule.alone if way)):
            yield Lexeme(WordKind.OPENER, action, action, plain=True)
        if rule.name not in loaded.objects:  # "step ahead" is a thing
            yield Lexeme(WordKind.OPENER, f"{rule.name} {rule.usual_way}".strip(), rule.name, plain=not rule.ways)
        for way, others in rule.also.items():
            yield from (Lexeme(WordKind.OPENER, f"{rule.name} {way}".strip(), text, plain=False) for text in others)


def _themselves(kind: WordKind, texts: Iterable[str], *, plain: bool) -> Iterator[Lexeme]:
    """Phrases whose canonical name is the phrase itself."""
    return (Lexeme(kind, text, text, plain=plain) for text in texts)


def _named(kind: WordKind, name: str, others: Iterable[str], *, plain: Sequence[str] = ()) -> Iterator[Lexeme]:
    """A canonical name and other words for it, of which some stand in a good sentence as they are."""
    yield Lexeme(kind, name, name, plain=True)
    yield from (Lexeme(kind, name, other, plain=other in plain) for other in others)


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
