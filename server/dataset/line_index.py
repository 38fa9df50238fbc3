"""The newest line about each thing of a log, with flat memory: where it stands, in a database on disk that is nobody's.

A log of a million moments has four million lines about two million things: as objects they take gigabytes. SQLite keeps
a key, an offset and a length in a file without a name, which ends with this object.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from server.dataset.line_log import LineReader

_CACHE_KB = 32_000
_NOTE = """
INSERT INTO lines VALUES (?, ?, ?, ?, 0) ON CONFLICT (key) DO UPDATE
SET rank = excluded.rank, at = excluded.at, size = excluded.size WHERE excluded.rank >= rank
"""


class LineIndex:
    """Key → the newest line about it. A context manager. One thread."""

    def __init__(self, log: Path) -> None:
        self._log = LineReader(log)
        self._lines = sqlite3.connect("", isolation_level=None)  # "" = on disk, deleted when it is closed
        for statement in (
            f"PRAGMA cache_size = -{_CACHE_KB}",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE lines (key TEXT PRIMARY KEY, rank INTEGER, at INTEGER, size INTEGER, seen INTEGER) "
            "WITHOUT ROWID",
        ):
            self._lines.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._lines.close()
        self._log.__exit__(*_exc)

    @property
    def size(self) -> int:
        """Bytes of the log of which lines may be noted: as long as it is now."""
        return self._log.size

    def add(self, lines: Iterable[tuple[str, int, int, int]]) -> None:
        """Note lines in the order of the log: (key, rank, offset, length). One takes the place of an earlier one of the
        same or a lower rank."""
        self._lines.execute("BEGIN")
        self._lines.executemany(_NOTE, lines)
        self._lines.execute("COMMIT")

    def take(self, key: str) -> bytes | None:
        """The newest line about a thing, which counts as seen from then on; None where there is none."""
        found = self._lines.execute("SELECT at, size FROM lines WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        self._lines.execute("UPDATE lines SET seen = 1 WHERE key = ?", (key,))
        return self._log.read(*found)

    def unseen(self) -> Iterator[bytes]:
        """The newest lines about all that nobody asked for, by key."""
        for at, size in self._lines.execute("SELECT at, size FROM lines WHERE seen = 0 ORDER BY key"):
            yield self._log.read(at, size)

    def newest(self) -> Iterator[bytes]:
        """The newest line about each thing, in the order of the log."""
        for at, size in self._lines.execute("SELECT at, size FROM lines ORDER BY at"):
            yield self._log.read(at, size)
