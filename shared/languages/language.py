"""A language, loaded and checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable

from shared import model_card, vocabulary
from shared.errors import ConfigError
from shared.languages import files, guard
from shared.languages.announcing import Announcements, numbered
from shared.languages.files import HOW_TO, About, CorrectionTable, GuidanceTable
from shared.languages.wording import MissingEntry, worded

logger = logging.getLogger(__name__)

FAULTS_SHOWN = 12


@dataclass(frozen=True, slots=True, eq=False)
class LanguageTables:
    """What the folder of a language other than English holds."""

    guidance: Mapping[str, str]
    """Canonical sentence -> words: every sentence that may be said."""
    announcements: Announcements
    patterns: GuidanceTable
    corrections: CorrectionTable


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """Words for everything that may be said. Any thread."""

    code: str
    about: About
    tables: LanguageTables | None
    """None = English."""
    place: str
    """Of its announcements, as errors name the file."""
    _lacked: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.about.name

    def find(self, text: str) -> str | None:
        """How a canonical text is spoken; None where the folder lacks it."""
        tables = self.tables
        return text if tables is None else tables.announcements.find(text, tables.guidance.get)

    def spoken(self, text: str) -> str:
        """The same; the text itself, which is English, where the folder lacks it: that is logged once."""
        found = self.find(text)
        if found is None and text not in self._lacked:
            self._lacked.add(text)
            logger.error("Spoken in English: %s", lacking(self.place, text))
        return text if found is None else found

    def missing(self, texts: Iterable[str]) -> list[str]:
        """What the folder lacks of these texts: one line for each, with the file and the entry to add."""
        return [lacking(self.place, text) for text in dict.fromkeys(texts) if self.find(text) is None]


def lacking(place: str, text: str) -> str:
    """What to do about a text that a folder lacks."""
    return f'{place}: [texts] has no entry for {text!r}. Add: "{numbered(text)}" = "..."'


def read(folder: Traversable) -> Language:
    """A folder as a language, every sentence of it worded and checked.

    raises: ConfigError naming each file and key that is missing or wrong
    """
    about = files.about(folder)
    place = files.place(folder, "announcements.toml")
    if about.canonical:
        return Language(folder.name, about, None, place)
    table, news = files.guidance(folder), files.announcements(folder)
    said, faults = _sentences(table, files.place(folder, "guidance.toml"))
    faults += _checked(folder, about, table, said)
    faults += _news_faults(folder, about, news.texts, news.joins)
    if faults:
        shown = "; ".join(faults[:FAULTS_SHOWN])
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise ConfigError(f"The language {folder.name} is not whole: {shown}{more}.", hint=HOW_TO)
    announcements = Announcements.of(news, table.several, decimal=about.decimal)
    tables = LanguageTables(said, announcements, table, files.corrections(folder))
    return Language(folder.name, about, tables, place)


def _sentences(table: GuidanceTable, place: str) -> tuple[dict[str, str], list[str]]:
    """(canonical -> words, what is missing): every sentence that may be said, and the one for a clear way."""
    said: dict[str, str] = {}
    faults: dict[str, None] = {}
    for text, slots in vocabulary.sayable().items():
        if text in table.exact:
            said[text] = table.exact[text]
            continue
        try:
            said[text] = worded(table, slots)
        except MissingEntry as missing:
            faults[f"{place}: {missing} is missing (for {text!r})"] = None
    if vocabulary.CLEAR in table.exact:
        said[vocabulary.CLEAR] = table.exact[vocabulary.CLEAR]
    else:
        faults[f'{place}: [exact] "{vocabulary.CLEAR}" is missing'] = None
    several = model_card.plurals(vocabulary.load().objects)
    wanted = {*several, *(vocabulary.load().objects[name].several for name in vocabulary.load().objects)}
    faults |= dict.fromkeys(
        f'{place}: [several] "{name}" is missing' for name in sorted({*wanted, model_card.MORE} - {*table.several})
    )
    return said, _shortest(faults)


def _shortest(faults: Iterable[str]) -> list[str]:
    """One line for each key, whatever needs it."""
    return list({fault.partition(" (for ")[0]: fault for fault in reversed(list(faults))}.values())


def _checked(folder: Traversable, about: About, table: GuidanceTable, said: Mapping[str, str]) -> Iterator[str]:
    where = files.place(folder, "language.toml")
    if about.guard is None:
        yield f"{where}: [guard] is missing"
        return
    place = files.place(folder, "guidance.toml")
    yield from (f"{place}: {fault}" for fault in _strange(table))
    yield from (f"{place}: {fault}" for fault in guard.guidance_faults(said, table.openers, about.guard))


def _strange(table: GuidanceTable) -> Iterator[str]:
    """Keys that no sentence asks for: a slip in a name must not stay unnoticed."""
    loaded = vocabulary.load()
    alone = {text.removesuffix(".").lower() for text in vocabulary.manoeuvres()}
    states = {state for term in loaded.objects.values() for state in term.states}
    known = {
        "openers": {*vocabulary.actions(), *alone},
        "objects": {*loaded.objects},
        "sides": {*loaded.sides},
        "modifiers": {*loaded.modifiers, *states},
        "exact": {*vocabulary.sayable(), vocabulary.CLEAR},
    }
    for section, names in known.items():
        yield from (f'[{section}] "{key}" is nothing that is said' for key in {*getattr(table, section)} - names)


def _news_faults(
    folder: Traversable, about: About, texts: Mapping[str, str], joins: Mapping[str, str]
) -> Iterator[str]:
    place = files.place(folder, "announcements.toml")
    yield from (f"{place}: [joins] {key} is missing" for key in ("and", "or") if not joins.get(key))
    if about.guard is not None:
        yield from (f"{place}: {fault}" for fault in guard.announcement_faults(texts, about.guard))
