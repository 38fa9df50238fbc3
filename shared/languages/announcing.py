"""News about the device, looked up by its English text as gettext does. Pure.

    "Storage full." = "Speicher voll."
    "Battery {1} percent." = "Akku {1} Prozent."                digits, in their order; "Battery 1 percent." may stand
                                                                beside it where one is said in another way
    "Heard: {text}" = "Verstanden: {text}"                      a text that is itself looked up: news, or guidance
    "Connecting to {name}." = "Verbinde mit {name}."            words that are said as they are
    "This model sees {things}." = "Das Modell erkennt {things}."  a list of the vocabulary's plurals

What is not found as a whole is looked up sentence by sentence, then by the templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from shared.languages.files import AnnouncementTable

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
PLACE = re.compile(r"\{(\d+|text|name|things)\}")
"""A placeholder."""
_AFTER_STOP = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_LISTED = re.compile(r", | (and|or) ")
Look: TypeAlias = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Template:
    """A key with placeholders for words, as a pattern."""

    pattern: re.Pattern[str]
    says: str


@dataclass(frozen=True, slots=True)
class Announcements:
    """The table, ready to be asked."""

    texts: Mapping[str, str]
    templates: tuple[Template, ...]
    joins: Mapping[str, str]
    several: Mapping[str, str]
    decimal: str

    @classmethod
    def of(cls, table: AnnouncementTable, several: Mapping[str, str], *, decimal: str) -> Announcements:
        """The longest templates first: what is left to a placeholder is as little as can be."""
        keys = sorted((key for key in table.texts if _words_wanted(key)), key=len, reverse=True)
        templates = tuple(Template(_pattern(key), table.texts[key]) for key in keys)
        return cls(table.texts, templates, table.joins, several, decimal)

    def find(self, text: str, guidance: Look) -> str | None:
        """What is said for a canonical text; None where the table lacks it. guidance: looks a sentence up."""
        whole = guidance(text) or self._plain(text) or self._by_sentences(text, guidance)
        return whole or self._by_template(text, guidance)

    def _by_sentences(self, text: str, guidance: Look) -> str | None:
        """Before templates: a name must not swallow the next sentence."""
        parts = _AFTER_STOP.split(text)
        found = [self.find(part, guidance) for part in parts] if len(parts) > 1 else [None]
        return None if None in found else " ".join(filter(None, found))

    def _plain(self, text: str) -> str | None:
        if text in self.texts:
            return self.texts[text]
        says = self.texts.get(numbered(text))
        return None if says is None else self._with_numbers(says, _NUMBER.findall(text))

    def _with_numbers(self, says: str, numbers: list[str]) -> str:
        return PLACE.sub(lambda place: numbers[int(place[1]) - 1].replace(".", self.decimal), says)

    def _by_template(self, text: str, guidance: Look) -> str | None:
        for template in self.templates:
            match = template.pattern.fullmatch(text)
            if match is not None:
                parts = {name: self._part(name, said, guidance) for name, said in match.groupdict().items()}
                if None not in parts.values():
                    return PLACE.sub(lambda place, parts=parts: parts[place[1]] or "", template.says)  # type: ignore[misc]
        return None

    def _part(self, name: str, said: str, guidance: Look) -> str | None:
        if name == "text":
            return self.find(said, guidance)
        return said if name == "name" else self._list(said)

    def _list(self, said: str) -> str | None:
        names = [self.several.get(name) for name in _LISTED.split(said)[::2]]
        join = next((match[1] for match in _LISTED.finditer(said) if match[1]), "and")
        if None in names:
            return None
        words = [name for name in names if name]
        return self.joins[join].join(filter(None, (", ".join(words[:-1]), words[-1])))


def numbered(text: str) -> str:
    """A text with its numbers as placeholders: "Battery 30 percent." -> "Battery {1} percent." """
    count = 0

    def place(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"{{{count}}}"

    return _NUMBER.sub(place, text)


def _words_wanted(key: str) -> bool:
    return any(not place[1].isdigit() for place in PLACE.finditer(key))


def _pattern(key: str) -> re.Pattern[str]:
    pieces = PLACE.split(key)
    return re.compile("".join(f"(?P<{piece}>.+)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)))
