"""Slots -> the sentence in another language, by its table of patterns. Pure.

openers.stop = "Stopp"                              -> "Stopp, {body}"
openers.follow = "Folge {body.dem}"                 the object's form `dem` in the body
objects.curb = { is = "Bordstein", as = "m" }
modifiers.wet = "{object} {wet} {side.from}"
words.wet = { m = "mojado", f = "mojada" }          by the object's `as`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from shared.languages.files import AS, GuidanceTable
from shared.vocabulary import Slots

PLAIN_BODY = "{object} {side}"
IS = "is"
Value = TypeVar("Value")
_SLOT = re.compile(r"\{([a-z_]+)(?:\.([a-z_]+))?\}")


class MissingEntry(Exception):
    """A key that a sentence needs and the table lacks, as "[section] key"."""


def worded(table: GuidanceTable, slots: Slots) -> str:
    """The sentence of some slots. Raises: MissingEntry."""
    opener = _entry(table.openers, slots.action, "openers")
    if not slots.object:
        return sentence(opener)
    if "{body" not in opener:
        opener += ", {body}"
    return sentence(_filled(opener, lambda name, form: _body(table, slots, form or IS)))


def sentence(text: str) -> str:
    """Single spaces, a capital at the beginning, a full stop at the end."""
    joined = " ".join(text.split()).replace(" ,", ",")
    return f"{joined[:1].upper()}{joined[1:]}."


def _body(table: GuidanceTable, slots: Slots, case: str) -> str:
    """What is said of the thing. case: the form of the object where the pattern names none"""
    forms = _entry(table.objects, slots.object, "objects")
    pattern = _entry(table.modifiers, slots.modifier, "modifiers") if slots.modifier else PLAIN_BODY

    def part(name: str, form: str) -> str:
        if name == "object":
            return _entry(forms, form or case, "objects", slots.object)
        if name == "side":
            return _side(table, slots.side, form or IS)
        return _entry(_entry(table.words, name, "words"), forms.get(AS, ""), "words", name)

    return _filled(pattern, part)


def _side(table: GuidanceTable, side: str, form: str) -> str:
    return _entry(_entry(table.sides, side, "sides"), form, "sides", side) if side else ""


def _filled(pattern: str, part: Callable[[str, str], str]) -> str:
    return _SLOT.sub(lambda match: part(match[1], match[2] or ""), pattern)


def _entry(table: Mapping[str, Value], key: str, *section: str) -> Value:
    try:
        return table[key]
    except KeyError:
        raise MissingEntry(f"[{'.'.join(map(_quoted, section))}] {_quoted(key)}") from None


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
