"""What a person skipped lately, as conditions of a query: those moments come behind the others for them, the longest
skipped first, and after a day as if they had not been skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, ScalarSelect, Select, exists, func, select

from server.database import review_tables as tables
from server.database import store as db

SKIPPED_S = 86_400.0
_SKIPS = tables.review_skips.c


@dataclass(frozen=True, slots=True)
class SkippedBy:
    """What this person skipped and what is not new to them again."""

    person: str
    """"" = nobody."""
    now_s: float
    """Wall time, seconds since 1970 in UTC."""

    def number(self, connection: Connection) -> int:
        """How many they skipped."""
        if not self.person:
            return 0
        return int(connection.execute(select(func.count()).select_from(self.ids().subquery())).scalar_one())

    def ids(self) -> Select[Any]:
        """Of the moments."""
        return select(_SKIPS.sample_id).where(*self._lately())

    def about_it(self) -> Exists:
        """That a moment of `samples` is one of them."""
        return exists().where(_SKIPS.sample_id == db.samples.c.sample_id, *self._lately())

    def at(self) -> ScalarSelect[Any]:
        """When a moment of `samples` was skipped."""
        own = _SKIPS.sample_id == db.samples.c.sample_id
        return select(func.max(_SKIPS.at)).where(own, *self._lately()).scalar_subquery()

    def _lately(self) -> tuple[ColumnElement[bool], ...]:
        return _SKIPS.person == self.person, _SKIPS.at > self.now_s - SKIPPED_S
