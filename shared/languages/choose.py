"""Which languages there are, and which one a setting means."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from shared.errors import ConfigError
from shared.languages import files as folders
from shared.languages.language import Language, read

CODE = re.compile(r"[a-z]{2,8}")
CANONICAL = "en"


def packaged() -> dict[str, Traversable]:
    """Code -> folder of the languages that come along."""
    return _folders(files("shared.languages"))


def available(own: Path | None = None) -> dict[str, Traversable]:
    """Code -> folder; one's own go before those that come along. Raises: ConfigError where `own` cannot be read."""
    if own is None:
        return packaged()
    try:
        return packaged() | _folders(own)
    except OSError as error:
        raise ConfigError(
            f"voice.languages is {str(own)!r}: {error}.", hint='Name a folder with one folder a language, or "".'
        ) from None


def load(code: str, own: Path | None = None) -> Language:
    """A language by its code, checked. Raises: ConfigError."""
    found = available(own)
    if code not in found:
        raise _unknown(code, found)
    return _read(code, own)


def chosen(setting: str, own: Path | None = None) -> tuple[Language, str]:
    """What voice.language means: (language, voice of espeak-ng).

    setting: a code ("de"), or a voice whose first part is one ("es-419", "en-gb-x-rp", "de+f3")
    raises: ConfigError with the list of languages
    """
    found = available(own)
    wanted = setting.strip().lower()
    code = re.split(r"[-_+/]", wanted)[0]
    if code not in found:
        code = next((name for name, folder in found.items() if _speaks(folder, wanted)), code)
    if code not in found:
        raise _unknown(setting, found)
    language = _read(code, own)
    return language, language.about.voice if wanted == code else setting.strip()


def _speaks(folder: Traversable, voice: str) -> bool:
    beginnings = folders.about(folder).voices
    return bool(beginnings) and voice.removeprefix("mb/").startswith(beginnings)


@lru_cache(maxsize=8)
def _read(code: str, own: Path | None) -> Language:
    return read(available(own)[code])


def _folders(parent: Traversable) -> dict[str, Traversable]:
    entries = (entry for entry in parent.iterdir() if CODE.fullmatch(entry.name))
    named = {entry.name: entry for entry in entries if (entry / "language.toml").is_file()}
    return dict(sorted(named.items()))


def _unknown(setting: str, found: dict[str, Traversable]) -> ConfigError:
    listed = ", ".join(f"{code} ({folders.about(folder).name})" for code, folder in found.items())
    return ConfigError(
        f"voice.language is {setting!r}, which is no language here.",
        hint=f"There are: {listed}. To add one: docs/how-to/add-a-language.md.",
    )
