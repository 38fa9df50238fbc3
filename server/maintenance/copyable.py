"""What of a SQLite database PostgreSQL could not take: it has no index of a key of more than 2,704 bytes; SQLite has.

It is looked for before anything is copied, in every index of every table; what is in a key of several columns counts
together. PostgreSQL packs what repeats itself, and may take some of what is named here: such a name is nobody's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.errors import Refused

KEY_BYTES = 2704  # a third of a page of its B-tree, with its head
_HEAD_BYTES, _NUMBER_BYTES, _TEXT_HEAD_BYTES = 8, 8, 8
_NAMES = ("sample_id", "record_id", "chunk_id", "row_id", "name", "id")
"""Columns that tell a person which row it is, the first that a table has."""
_MOMENT = ("sample_id", "record_id", "chunk_id")
MOST_TOLD = 5
_SHOWN = 24


@dataclass(frozen=True, slots=True)
class TooLongKey:
    """A row with a text that is too long."""

    table: str
    column: str
    row: str
    """Which one it is, as its table calls it; "" = by that text alone."""
    moment: bool
    """Whether `row` is a moment or a correction."""
    text: str

    def __str__(self) -> str:
        which = f" of {self.row}" if self.row else ""
        return f"{self.table}.{self.column}{which} ({self.text[:_SHOWN]!r}…, {len(self.text.encode())} bytes)"


def check(rows: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Raises: Refused naming what is too long, and what to do."""
    found = list(dict.fromkeys(one for table in tables for one in too_long(rows, table)))
    if not found:
        return
    found.sort(key=lambda one: (not one.moment, one.row))
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    moments = list(dict.fromkeys(one.row for one in found if one.moment))
    hint = f"Delete what has them, and copy again: waycue-server samples delete {' '.join(moments)}"
    raise Refused(
        f"PostgreSQL has no index of texts of more than some {KEY_BYTES} bytes, so nothing was copied: "
        f"{'; '.join(map(str, found[:MOST_TOLD]))}{more}.",
        hint=hint if moments else "No command of ours writes such a text: see where it came from.",
    )


def too_long(rows: sqlite3.Connection, table: str) -> Iterator[TooLongKey]:
    """Rows of a table with a key that is too long, by each index that it is too long for."""
    kinds = {name: kind for _, name, kind, *_ in rows.execute(f'PRAGMA table_xinfo("{table}")')}
    keys = [_columns(rows, index) for _, index, *_ in rows.execute(f'PRAGMA index_list("{table}")').fetchall()]
    for texts, numbers in sorted({_split(key, kinds) for key in keys}):
        if texts:
            yield from _longer(rows, table, texts, KEY_BYTES - _HEAD_BYTES - numbers * _NUMBER_BYTES, kinds)


def _longer(
    rows: sqlite3.Connection, table: str, texts: tuple[str, ...], room: int, kinds: dict[str, str]
) -> Iterator[TooLongKey]:
    """Rows with more bytes in these columns than there is room for."""
    told = next((name for name in _NAMES if name in kinds), texts[0])
    length = " + ".join(f"length(CAST(ifnull(\"{name}\", '') AS BLOB)) + {_TEXT_HEAD_BYTES}" for name in texts)
    columns = ", ".join(f'"{name}"' for name in (told, *texts))
    for row, *values in rows.execute(f'SELECT {columns} FROM "{table}" WHERE {length} > {room}'):  # noqa: S608
        column, text = max(zip(texts, values, strict=True), key=lambda one: len(one[1] or ""))
        yield TooLongKey(table, column, "" if told == column else str(row), told in _MOMENT and told != column, text)


def _columns(rows: sqlite3.Connection, index: str) -> list[str]:
    """Of an index, those that are columns and no expressions."""
    return [name for *_, name in rows.execute(f'PRAGMA index_info("{index}")') if name is not None]


def _split(key: Sequence[str], kinds: dict[str, str]) -> tuple[tuple[str, ...], int]:
    """(its columns of text, how many others)"""
    texts = tuple(name for name in key if kinds[name].startswith(("VARCHAR", "TEXT")))
    return texts, len(key) - len(texts)
