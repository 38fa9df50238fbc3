"""Many values as one parameter of a statement: SQLite takes 32,766 parameters or fewer, PostgreSQL 65,535."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Connection, Integer, Select, Text, cast, func, literal, select


def as_rows(connection: Connection, texts: Sequence[str]) -> Select[Any]:
    """A row for each of these texts."""
    return _rows(connection, texts)


def numbers_as_rows(connection: Connection, numbers: Sequence[int]) -> Select[Any]:
    """A row for each of these numbers, INTEGER."""
    query = _rows(connection, numbers)
    return query if connection.dialect.name == "sqlite" else select(cast(query.subquery().c.value, Integer))


def _rows(connection: Connection, values: Sequence[str] | Sequence[int]) -> Select[Any]:
    value = literal(json.dumps(list(values)), Text)
    if connection.dialect.name == "sqlite":
        return select(func.json_each(value).table_valued("value").c.value)
    return select(func.json_array_elements_text(cast(value, JSON)).table_valued("value").c.value)
