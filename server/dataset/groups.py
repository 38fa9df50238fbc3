"""Which walks belong together when sides are drawn: each alone, all at one place, or all of one wearer.

A model that learnt a place is judged too kindly there, and one that learnt a wearer's way of walking on that wearer.
With a setting (`dataset.split_by`) no place, or no wearer, stands on two sides: the first of its walks draws a side by
the hash of its name, and all others take it. What a person decides about one of them moves all.

The place is what the device calls its surroundings (`context`), as it was written, without case and blanks around it.
A walk that does not say it stands alone. A walk has one place and one wearer: what one of its chunks says, all do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, ScalarSelect, Select, select
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
    return WalkGroup(by, _plain({"walk": "", "place": place, "wearer": wearer}[by]))


def group_in(connection: Connection, walk_id: str, by: SplitBy) -> WalkGroup:
    """The group of a walk that is there."""
    if by == "walk":
        return WalkGroup()
    said = connection.execute(select(_said(by)).where(db.walks.c.walk_id == walk_id)).scalar()
    return WalkGroup(by, _plain(said))


def walks_of(connection: Connection, group: WalkGroup) -> list[tuple[str, str]]:
    """(walk, its side) of all known walks of a group, the first seen first. Of each walk one record is looked at, by an
    index: of 2,000 walks that takes 4 ms, however many moments they have, once for each new walk."""
    if group.alone:
        return []
    rows = connection.execute(said_by_all(group.by)).all()
    return [(str(walk), str(split)) for walk, split, said in rows if _plain(said) == group.name]


def said_by_all(by: SplitBy) -> Select[Any]:
    """(walk, its side, what one of its chunks says), the first seen first."""
    table = db.walks.c
    return select(table.walk_id, table.split, _said(by)).order_by(table.first_seen_at, table.walk_id)


def _said(by: SplitBy) -> ScalarSelect[Any]:
    one = select(_COLUMNS[by]).where(db.records.c.walk_id == db.walks.c.walk_id, db.records.c.kind == "chunk").limit(1)
    return one.correlate(db.walks).scalar_subquery()


def _plain(said: str | None) -> str:
    """Not in SQL: SQLite knows no capital but those of ASCII."""
    return (said or "").strip().lower()
