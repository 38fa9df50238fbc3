"""What is stored, what is free, and until when that is enough, by how it grew. Pure but for what takes a
store or a home."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, insert, select, update

from server.database import store as db
from server.database.store import Store
from server.ingest import counters
from server.review import stats
from shared.plural import several

KEPT_DAYS, WINDOW_DAYS, WEEK_DAYS = 400, 28, 7
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


def coming_a_day(store: Store, *, now_s: float) -> float:
    """Bytes that come in a day, for which room must be: how much it grew, or what devices brought in the last week
    where that is more, because what was deleted meanwhile hides it."""
    found = forecast(days(store))
    week = counters.figures(store, now_s=now_s).week
    return max(found.a_day if found else 0.0, week["bytes"] / WEEK_DAYS)


@dataclass(frozen=True, slots=True)
class StorageOutlook:
    """The disk, and until when it is enough."""

    free: int
    total: int
    forecast: StorageForecast | None = None
    warn_days: float = 0.0

    @property
    def nearly_full(self) -> bool:
        return is_nearly_full(self.free, self.total)

    @property
    def full_soon(self) -> bool:
        """Whether admins are told of it."""
        left = self.days_left
        return left is not None and left < self.warn_days

    @property
    def days_left(self) -> float | None:
        return self.forecast.days_left if self.forecast else None


def outlook(store: Store, *, reserve: int = 0, warn_days: float = 0.0) -> StorageOutlook:
    """As of now. reserve: bytes free at which devices have to wait. Raises: OSError, SQLAlchemyError."""
    disk, found = shutil.disk_usage(store.home), forecast(days(store))
    if found and found.a_day > 0:
        found = StorageForecast(found.a_day, max(0, disk.free - reserve) / found.a_day)
    return StorageOutlook(disk.free, disk.total, found, warn_days)


def in_words(found: StorageForecast | None) -> str:
    """The forecast, for people. Pure."""
    if found is None:
        return "How long the disk is enough cannot be told yet: it is measured once a day, and takes three days."
    if found.days_left is None:
        return "What is stored does not grow."
    return f"At {found.a_day / 1e9:.2f} GB a day it is full in {days_in_words(found.days_left)}."


def days_in_words(left: float) -> str:
    """Pure."""
    return "less than a day" if left < 1 else several(int(left), "day")


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
