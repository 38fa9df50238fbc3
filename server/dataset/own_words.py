"""Other words that the wearers of one server have for things: `own_words.toml` in its home.

    "wheelie bin" = "bin"
    flowerbed = "obstacle"

They are understood like the table's own other words, in corrections and in what people type, and taught as the thing
that they mean once a person has confirmed it. What is said stays the table's; devices know nothing of them.

The first line may say a version, "# version 3": `add` raises it, and whoever reads words for long looks again where the
file is another one (`OwnWordsFile`).
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from shared import atomic, file_lock, vocabulary
from shared.errors import ConfigError

FILE = "own_words.toml"
HINT = 'Write lines such as "wheelie bin" = "bin", with a thing of `waycue-server vocabulary table`.'


def use(home: Path) -> None:
    """From now on, understand the own words of this home, and no other's. Raises: ConfigError; OSError."""
    path = home / FILE
    words = _read(path) if path.is_file() else {}
    try:
        vocabulary.use_own_words(words)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}.", hint=HINT) from None


def version(home: Path) -> int:
    """The version that the file says, 0 where it says none, or is not there. Raises: OSError."""
    path = home / FILE
    found = _VERSION.match(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    return int(found[1]) if found else 0


def add(home: Path, words: str, thing: str) -> int:
    """Add other words for a thing and use them from now on; returns the file's new version.

    Lines that a person wrote stay as they are. raises: ConfigError where they are no such words, or not of a thing that
    the vocabulary has; nothing is changed then. OSError
    """
    path, plain = home / FILE, " ".join(words.casefold().split())
    with file_lock.locked(home / f".{FILE}.lock"):
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        known = _read(path) if path.is_file() else {}
        try:
            vocabulary.use_own_words({**known, plain: thing})
        except ValueError as error:
            use(home)
            raise ConfigError(f"{plain!r:.60} cannot be another word: {error}.", hint=HINT) from None
        number = version(home) + 1
        lines = _VERSION.sub("", before)
        if plain not in known:
            lines = f"{lines.rstrip()}\n{_quoted(plain)} = {_quoted(thing)}\n".lstrip()
        atomic.write_bytes(path, f"# version {number}\n{lines}".encode())
    use(home)
    return number


@dataclass(slots=True)
class OwnWordsFile:
    """The own words of a home for a process that runs for long: read again where the file is another one."""

    home: Path
    _seen: tuple[int, int] | None = field(default=None, init=False)

    def refresh(self) -> bool:
        """Use them as they are now; whether the file is another one than the last time. A wrong one is reported once.

        raises: ConfigError; OSError
        """
        path = self.home / FILE
        found = path.stat() if path.is_file() else None
        seen = (found.st_mtime_ns, found.st_size) if found else (0, 0)
        if seen == self._seen:
            return False
        self._seen = seen
        use(self.home)
        return True


_VERSION = re.compile(r"# version (\d{1,9})\n")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML, for words without control characters


def _read(path: Path) -> dict[str, str]:
    try:
        words = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # tomllib's, and what is no UTF-8
        raise ConfigError(
            f"{path} cannot be read: {error}", hint='Write lines such as "wheelie bin" = "bin".'
        ) from None
    for text, name in words.items():
        if not isinstance(name, str):
            raise ConfigError(f"{path}: {text!r:.60} has no thing that it means.", hint=f'Write "{text:.60}" = "bin".')
    return words
