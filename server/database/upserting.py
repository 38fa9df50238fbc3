"""INSERT that takes the place of a row of the same key, in the words of the database."""

from __future__ import annotations

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Upsert = sqlite.Insert | postgresql.Insert


def upsert(connection: Connection, table: Table) -> Upsert:
    """An insert that takes `on_conflict_do_update`, which both databases have."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def replace(connection: Connection, table: Table) -> Upsert:
    """An insert of whole rows: one of the same primary key goes."""
    statement, key = upsert(connection, table), [column.name for column in table.primary_key]
    rest = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=rest)
