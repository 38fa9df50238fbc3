"""What is stored, what is free, and until when that is enough, by how it grew. Pure but for `noted` and `days`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, insert, select, update

from server.database import store as db
from server.database.store import Store
from server.review import stats

KEPT_DAYS, WINDOW_DAYS = 400, 28
FULL_BYTES = 5_000_000_000
"""With less free than this a night may fail: a base, its exports and the features of a night take a few GB."""
NEARLY_SHARE = 0.1
MADE_AGAIN = ("nights", "features", "cache", "incoming")
"""Folders of what comes and goes: it tells nothing of how what is kept grows."""


@dataclass(frozen=True, slots=True)
class StorageDay:
    """What was stored at the end of a UTC day."""

    day: str
    used: int
    free: int


@dataclass(frozen=True, slots=True)
class StorageForecast:
    """How it will go on."""

    a_day: float
    """Bytes that come in a day; below zero, it shrinks."""
    days_left: float | None
    """Until it is full; None where it does not grow, or there are too few days to say."""


def is_nearly_full(free: int, total: int) -> bool:
    """Whether an admin must make room now."""
    return free < FULL_BYTES or (total > 0 and free / total < NEARLY_SHARE)


def forecast(days: Sequence[StorageDay]) -> StorageForecast | None:
    """From the newest WINDOW_DAYS days, by least squares; None with fewer than three. days: oldest first"""
    window = days[-WINDOW_DAYS:]
    if len(window) < 3:
        return None
    n = len(window)
    middle_x, middle_y = (n - 1) / 2, sum(day.used for day in window) / n
    over = sum((x - middle_x) * (day.used - middle_y) for x, day in enumerate(window))
    a_day = over / sum((x - middle_x) ** 2 for x in range(n))
    left = window[-1].free / a_day if a_day > 0 else None
    return StorageForecast(a_day, left)


def noted(store: Store, used: Mapping[str, int], *, day: str) -> StorageDay:
    """Write down what is used on this UTC day. used: as `parts` gives it. Raises: OSError, SQLAlchemyError."""
    total, free = sum(size for part, size in used.items() if part not in MADE_AGAIN), shutil.disk_usage(store.home).free
    table = db.storage_days
    with store.writing() as connection:
        if not connection.execute(update(table).where(table.c.day == day).values(used=total, free=free)).rowcount:
            connection.execute(insert(table).values(day=day, used=total, free=free))
            first = select(table.c.day).order_by(table.c.day.desc()).offset(KEPT_DAYS).limit(1)
            connection.execute(delete(table).where(table.c.day <= first.scalar_subquery()))
    return StorageDay(day, total, free)


def days(store: Store) -> tuple[StorageDay, ...]:
    """All that were noted, oldest first."""
    with store.reading() as connection:
        rows = connection.execute(select(db.storage_days).order_by(db.storage_days.c.day))
        return tuple(StorageDay(*row) for row in rows)


def parts(home: Path) -> dict[str, int]:
    """Part → bytes: what `stats` counts, and what nights and caches hold. Raises: OSError."""
    return {**stats.storage(home), **{name: stats.size_of(home / name) for name in MADE_AGAIN}}
