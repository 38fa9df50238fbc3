"""One folder of a language: its TOML files as checked tables. Every error names the file and the key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import TypeVar

import msgspec

from shared import strict
from shared.errors import ConfigError

HOW_TO = "docs/how-to/add-a-language.md describes the files."
PACKAGED = "shared/languages/"
AS = "as"
"""Of an object's forms the one that is no word: its class."""
Forms = Mapping[str, str]
Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class GuardWords:
    """What the folder's own texts are held against, lower case. A word ending with * stands for all that begin so."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    """Words for the two sides: a sentence has as many of each as its canonical one."""
    walk_on: tuple[str, ...]
    """Words that order to walk: only in sentences that are such an order, never first in an announcement."""
    never: tuple[str, ...]
    """Promises and permissions: only in the one sentence for a clear way."""
    denials: tuple[str, ...]
    """Never in guidance, with the same exception: a "not" that is not heard is an order."""
    most_words: Mapping[str, int]
    """Tier -> most words of a sentence."""


@dataclass(frozen=True, slots=True)
class About:
    """language.toml."""

    name: str
    """What its speakers call it."""
    voice: str
    """The voice of espeak-ng."""
    voices: tuple[str, ...] = ()
    """Other beginnings of voices' names that speak it, such as "mb-de"."""
    decimal: str = "."
    """Between the digits of a spoken number."""
    canonical: bool = False
    """The texts are spoken as they are: English."""
    guard: GuardWords | None = None


@dataclass(frozen=True, slots=True)
class GuidanceTable:
    """guidance.toml: patterns for sentences about the way. {object} {side} {modifier} {body} and {WORD} of [words]."""

    openers: Mapping[str, str]
    objects: Mapping[str, Forms]
    sides: Mapping[str, Forms]
    modifiers: Mapping[str, str]
    exact: Mapping[str, str]
    """Canonical sentence -> words, where no pattern fits."""
    several: Mapping[str, str]
    """The vocabulary's plurals -> words, for what a model sees."""
    words: Mapping[str, Forms] = field(default_factory=dict)
    """Word -> the class of the object (its `as`, such as its gender) -> form."""


@dataclass(frozen=True, slots=True)
class AnnouncementTable:
    """announcements.toml."""

    texts: Mapping[str, str]
    joins: Mapping[str, str]
    """Between the last two things of a list: "and", "or"."""


@dataclass(frozen=True, slots=True)
class CorrectionTable:
    """corrections.toml: what wearers say -> canonical words; "" = carries nothing."""

    words: Mapping[str, str]
    spelled: Mapping[str, str] = field(default_factory=dict)
    """Letter -> how it is typed where the keyboard lacks it. Accents may be left out anyway."""
    articles: tuple[str, ...] = ()
    """Words that a recogniser may hear before a thing: "a", "there is a"."""
    nothing: tuple[str, ...] = ()
    """That nothing should have been said."""


def about(folder: Traversable) -> About:
    """Raises: ConfigError."""
    return _read(folder, "language.toml", About)


def guidance(folder: Traversable) -> GuidanceTable:
    """Raises: ConfigError."""
    return _read(folder, "guidance.toml", GuidanceTable)


def announcements(folder: Traversable) -> AnnouncementTable:
    """Raises: ConfigError."""
    return _read(folder, "announcements.toml", AnnouncementTable)


def corrections(folder: Traversable) -> CorrectionTable:
    """Raises: ConfigError."""
    return _read(folder, "corrections.toml", CorrectionTable)


def place(folder: Traversable, name: str) -> str:
    """A file of a language, as errors name it: "shared/languages/de/guidance.toml", or where one's own lies."""
    inside = str(folder).rpartition(PACKAGED)[1:]
    return f"{''.join(inside) if inside[0] else folder}/{name}"


def _read(folder: Traversable, name: str, kind: type[Table]) -> Table:
    where = place(folder, name)
    try:
        raw = tomllib.loads(folder.joinpath(name).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{where} is missing.", hint=HOW_TO) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} cannot be read: {error}.", hint=HOW_TO) from None
    try:
        return msgspec.convert(raw, strict.ready(kind))
    except msgspec.ValidationError as error:
        said = re.sub(r" - at `\$\.?(.*?)`", r" at \1", str(error))
        raise ConfigError(f"{where}: {said}.", hint=HOW_TO) from None
