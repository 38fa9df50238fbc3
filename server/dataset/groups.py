"""Which walks belong together when sides are drawn: each alone, all at one place, or all of one wearer.

A model that learnt a place is judged too kindly there, and one that learnt a wearer's way of walking on that wearer.
With a setting (`dataset.split_by`) no place, or no wearer, stands on two sides: the first of its walks draws a side by
the hash of its name, and all others take it. What a person decides about one of them moves all.

The place is what the device calls its surroundings (`context`), as it was written, without case and blanks around it.
A walk that does not say it stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.sql.elements import ColumnElement

from server.database import store as db

SplitBy = Literal["walk", "place", "wearer"]
_COLUMNS: Mapping[str, ColumnElement[str]] = {"place": db.records.c.context, "wearer": db.records.c.wearer}
"""Of a chunk's record."""


@dataclass(frozen=True, slots=True)
class WalkGroup:
    """What a walk belongs to."""

    by: SplitBy = "walk"
    name: str = ""
    """Of the place or wearer, in lower case; "" = it stands alone."""

    @property
    def alone(self) -> bool:
        return self.by == "walk" or not self.name

    def lot(self, walk_id: str) -> str:
        """What a side is drawn by."""
        return walk_id if self.alone else f"{self.by} {self.name}"


def group_of(by: SplitBy, *, place: str, wearer: str) -> WalkGroup:
    """The group of a walk. Pure."""
    said = {"walk": "", "place": place, "wearer": wearer}[by]
    return WalkGroup(by, said.strip().lower())


def group_in(connection: Connection, walk_id: str, by: SplitBy) -> WalkGroup:
    """The group of a walk that is there, by the first of its chunks that names it."""
    if by == "walk":
        return WalkGroup()
    named = _said(by)
    query = select(named).where(db.records.c.walk_id == walk_id, db.records.c.kind == "chunk", named != "").limit(1)
    return WalkGroup(by, connection.execute(query).scalar() or "")


def walks_of(connection: Connection, group: WalkGroup) -> list[tuple[str, str]]:
    """(walk, its side) of all known walks of a group, the first seen first. All records are looked at: 100,000 take
    half a second, once for each new walk."""
    if group.alone:
        return []
    mine = select(db.records.c.walk_id).where(db.records.c.kind == "chunk", _said(group.by) == group.name)
    table = db.walks
    query = select(table.c.walk_id, table.c.split).where(table.c.walk_id.in_(mine))
    rows = connection.execute(query.order_by(table.c.first_seen_at, table.c.walk_id)).all()
    return [(str(walk), str(split)) for walk, split in rows]


def _said(by: SplitBy) -> ColumnElement[Any]:
    return func.lower(func.trim(_COLUMNS[by]))
