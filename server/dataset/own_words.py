"""Other words that the wearers of one server have for things: `own_words.toml` in its home.

    "wheelie bin" = "bin"
    flowerbed = "obstacle"

They are understood like the table's own other words, in corrections and in what people type, and taught as the thing
that they mean once a person has confirmed it. What is said stays the table's; devices know nothing of them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared import vocabulary
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
