"""`telling.toml` in the home: who is told what, where, and when not. Readable by its owner alone: an address of apprise
holds passwords and tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import time
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tomlkit
from msgspec import Meta

from server.telling.step import URGENT, NewsItem, NewsKind, Recipient
from shared import atomic, file_lock, settings
from shared.errors import ConfigError, Refused

FILE, LOCK = "telling.toml", ".telling.lock"
PEOPLE_MOST, ADDRESSES_MOST = 50, 10
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")
HEAD = "# Who is told what, see docs/admin.md. Addresses hold passwords: nobody else may read this file.\n"
_QUIET = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)\Z")


@dataclass(frozen=True, slots=True)
class PersonTold:
    """One person, as the file has them."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    """Addresses as apprise writes them: "ntfys://ntfy.sh/my-topic", "mailtos://user:password@example.org"."""
    kinds: tuple[str, ...] = ()
    """What they are told of: correction, silent, night, disk, certificate, help. Empty = all of it."""
    quiet: str = ""
    """When they are not: "22:00-07:00" by their own clock. Empty = never."""
    zone: str = "UTC"
    """Where their clock is, as "Europe/Berlin"."""
    cool_down_h: Annotated[float, Meta(ge=0.1, le=720)] = 12.0
    """How long the same is not told again, 0.1 to 720 hours."""
    wearers: tuple[str, ...] = ()
    """Whose calls for help they are told of. Empty = all wearers'."""
    help_in_quiet: bool = True
    """A call for help comes in quiet hours too."""


def load(home: Path) -> dict[str, PersonTold]:
    """Everybody, by name; nobody where there is no file. Raises: ConfigError naming the person and what is wrong, with
    nothing of their addresses."""
    path = home / FILE
    if not path.exists():
        return {}
    try:
        found = settings.tables(PersonTold, path)
    except ConfigError as error:  # what it quotes may be an address
        if ".urls" in str(error):
            raise ConfigError(f"{path}: urls must be a list of texts.", hint='Write: urls = ["…"]') from None
        raise
    for name, person in found.items():
        check(name, person)
    return found


def check(name: str, person: PersonTold) -> None:
    """Raises: ConfigError."""
    if not NAME.match(name):
        raise ConfigError(f"{name!r:.40} is no name.", hint="Use letters, digits, dots and hyphens, at most 32.")
    if not person.urls or len(person.urls) > ADDRESSES_MOST:
        raise ConfigError(f"{name} has {len(person.urls)} addresses.", hint=f"Give 1 to {ADDRESSES_MOST}.")
    check_choices(name, person)


def check_choices(name: str, person: PersonTold) -> None:
    """All but the name and the addresses. Raises: ConfigError."""
    unknown = [kind for kind in person.kinds if kind not in list(NewsKind)]
    if unknown:
        raise ConfigError(f"{name}: nobody is told of {unknown[0]!r:.40}.", hint=f"There are: {', '.join(NewsKind)}.")
    if person.quiet and not _QUIET.match(person.quiet):
        raise ConfigError(f"{name}: quiet is {person.quiet!r:.40}.", hint='Write for example "22:00-07:00".')
    try:
        ZoneInfo(person.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = 'Write for example "Europe/Berlin".'
        raise ConfigError(f"{name}: {person.zone!r:.60} is no time zone.", hint=hint) from None


def recipient(name: str, person: PersonTold) -> Recipient:
    """As `step` sees a person that was checked."""
    found = _QUIET.match(person.quiet)
    numbers = [int(text) for text in found.groups()] if found else []
    quiet = (time(numbers[0], numbers[1]), time(numbers[2], numbers[3])) if numbers else None
    kinds = frozenset(map(NewsKind, person.kinds)) or frozenset(NewsKind)
    urgent = URGENT if person.help_in_quiet else frozenset[NewsKind]()
    return Recipient(name, kinds, quiet, person.zone, person.cool_down_h * 3600, urgent)


def told_of(person: PersonTold, items: Sequence[NewsItem]) -> tuple[NewsItem, ...]:
    """What is theirs of all that holds. Pure."""
    return tuple(item for item in items if not (person.wearers and item.wearer and item.wearer not in person.wearers))


def put(home: Path, name: str, person: PersonTold) -> None:
    """Add a person or put new values in their place; other people and comments stay. Raises: ConfigError, OSError."""
    check(name, person)
    with file_lock.locked(home / LOCK):
        document = _document(home)
        if name not in document and len(document) >= PEOPLE_MOST:
            raise ConfigError(f"{PEOPLE_MOST} people are told already.", hint="Remove one first.")
        table = tomlkit.table()
        default = PersonTold()
        for key in (column.name for column in fields(PersonTold)):
            value: Any = getattr(person, key)
            if value != getattr(default, key):
                table[key] = list(value) if isinstance(value, tuple) else value
        document[name] = table
        _write(home, document)


def remove(home: Path, name: str) -> None:
    """Raises: Refused where there is no such person, ConfigError, OSError."""
    with file_lock.locked(home / LOCK):
        document = _document(home)
        if name not in document:
            raise Refused(f"Nobody called {name!r:.40} is told anything.")
        document.remove(name)
        _write(home, document)


def _document(home: Path) -> tomlkit.TOMLDocument:
    """Raises: ConfigError where it is not as `load` wants it."""
    load(home)
    path = home / FILE
    return tomlkit.parse(path.read_text(encoding="utf-8") if path.exists() else HEAD)


def _write(home: Path, document: tomlkit.TOMLDocument) -> None:
    atomic.write_bytes(home / FILE, tomlkit.dumps(document).encode(), mode=0o600)
