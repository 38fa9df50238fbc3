"""The rules of a good instruction, as a person types one. Pure.

    verb         begins with what to do: "Stop", "Caution", "Turn"
    words        3 to 8 of them
    safety       the most urgent danger is named first, and nobody is sent on into it
    vocabulary   words that always mean the same: curb, not ledge; obstacle, not blockage

`server.dataset.wording` decides what is taught; this only explains, also while the text is half typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared import vocabulary
from shared.vocabulary.lexemes import Lexeme, WordKind, lexemes

RULES_TEXT = (
    "Begin with a verb. Use 3 to 8 words. Safety first: name the danger before all else."
    " Always the same words: curb, obstacle."
)


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """One rule, and whether a text keeps it."""

    rule: str
    kept: bool
    said: str
    """In words, for the person who types."""


def checks(text: str) -> tuple[RuleCheck, ...]:
    """Every rule against a text; none for an empty one."""
    plain = " ".join(text.split())
    if not plain:
        return ()
    if plain == vocabulary.CLEAR or vocabulary.normalise(plain) == vocabulary.CLEAR:
        return (RuleCheck("vocabulary", plain == vocabulary.CLEAR, f"says that nothing is there: {vocabulary.CLEAR}"),)
    pieces = lexemes(plain)
    return (_verb(pieces), _words(plain), _safety(pieces, vocabulary.read(plain).sayable), _vocabulary(plain))


def line(text: str) -> str:
    """The same as one line of a terminal, "" for an empty text."""
    return "  ".join(f"{'✓' if check.kept else '✗'} {check.said}" for check in checks(text))


def _verb(pieces: Sequence[Lexeme]) -> RuleCheck:
    kept = bool(pieces) and pieces[0].kind is WordKind.OPENER
    return RuleCheck("verb", kept, "begins with a verb" if kept else "begin with a verb, such as Stop or Caution")


def _words(plain: str) -> RuleCheck:
    count, least, most = len(vocabulary.words(plain)), vocabulary.load().words_min, vocabulary.load().words_max[3]
    kept = least <= count <= most
    return RuleCheck("words", kept, f"{count} words" if kept else f"{count} words: use {least} to {most}")


def _safety(pieces: Sequence[Lexeme], sayable: bool) -> RuleCheck:
    loaded = vocabulary.load()
    named = [piece.value for piece in pieces if piece.kind is WordKind.OBJECT]
    tiers = [loaded.objects[name].tier for name in named]
    if not named:
        return RuleCheck("safety", True, "names no danger")
    worst = named[tiers.index(min(tiers))]
    if min(tiers) < tiers[0]:
        return RuleCheck("safety", False, f"safety first: name the {worst} before the {named[0]}")
    if min(tiers) == 1 and not sayable and (opener := _sends_on(pieces)):
        return RuleCheck("safety", False, f"safety first: never “{opener}” with a {worst} there")
    return RuleCheck("safety", True, "danger first" if min(tiers) < 3 else "names no danger")


def _sends_on(pieces: Sequence[Lexeme]) -> str:
    """The opener of a text where that is an order to walk on, else ""."""
    opener = next((piece.value.split()[0] for piece in pieces if piece.kind is WordKind.OPENER), "")
    rule = vocabulary.load().opener_rules.get(opener)
    return opener if rule is not None and rule.go else ""


def _vocabulary(plain: str) -> RuleCheck:
    reading = vocabulary.read(plain)
    if reading.taught_as is not None and reading.as_written:
        return RuleCheck("vocabulary", True, "known words")
    if reading.taught_as is not None:
        return RuleCheck("vocabulary", False, f"say it as “{reading.taught_as}”")
    return RuleCheck("vocabulary", False, (reading.problems or ("not understood",))[0])
