"""What came in, by device and UTC day: counted in memory, kept in the database, shared by all ingest workers.

Counts are for people and for daily limits: up to FLUSH_EVERY_S of them may be lost in a crash, none is counted twice.

    messages, received_bytes    whatever came, as far as it was read
    records, parts, bytes       merged for the first time
    repeated                    merged before
    refused, paused, foreign, unknown, wrong_hash, abandoned, limited, errors    what went otherwise
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from server.database import store as db
from server.database.store import Store
from shared.clock import Clock

NAMES = (
    "messages", "received_bytes", "records", "parts", "bytes", "repeated", "refused", "paused", "foreign", "unknown",
    "wrong_hash", "abandoned", "limited", "errors",
)  # fmt: skip
FLUSH_EVERY_S = 5.0
KEPT_DAYS = 90
_WEEK_DAYS = 7

Key = tuple[str, str, str]
"""(device, UTC day, name)"""


class Tally:
    """The counts of one process. One thread. store: None = in memory only."""

    def __init__(self, clock: Clock, store: Store | None = None) -> None:
        self._clock = clock
        self._store = store
        self._new: Counter[Key] = Counter()
        self._kept: dict[Key, int] = {}
        self._next_flush_s = clock.monotonic_s() + FLUSH_EVERY_S

    def add(self, device: str, name: str, count: int = 1) -> None:
        """Count something."""
        self._new[device, self._today(), name] += count

    def today(self, device: str, name: str) -> int:
        """The count of this UTC day, with what other workers had written down at the last flush."""
        key = (device, self._today(), name)
        if key not in self._kept:
            self._kept[key] = self._read(key)
        return self._kept[key] + self._new[key]

    def flush(self, *, now: bool = False) -> None:
        """Write the counts down, where it is time. Where the database is away they wait."""
        if self._store is None or (not now and self._clock.monotonic_s() < self._next_flush_s):
            return
        self._next_flush_s = self._clock.monotonic_s() + FLUSH_EVERY_S
        news = {key: count for key, count in self._new.items() if count}
        if not news:
            return
        try:
            self._write(self._store, news)
        except SQLAlchemyError:  # full or busy: the next flush has them all
            return
        self._new.clear()
        self._kept.clear()

    def _write(self, store: Store, news: Mapping[Key, int]) -> None:
        table = db.intake
        oldest = _day(self._clock.utc_s() - KEPT_DAYS * 86400)
        with store.writing() as connection:
            for (device, day, name), count in news.items():
                key = (table.c.device == device, table.c.day == day, table.c.name == name)
                more = update(table).where(*key).values(value=table.c.value + count)
                if connection.execute(more).rowcount == 0:
                    connection.execute(insert(table).values(device=device, day=day, name=name, value=count))
            connection.execute(delete(table).where(table.c.day < oldest))

    def _read(self, key: Key) -> int:
        if self._store is None:
            return 0
        table = db.intake
        device, day, name = key
        query = select(table.c.value).where(table.c.device == device, table.c.day == day, table.c.name == name)
        with self._store.reading() as connection:
            return int(connection.execute(query).scalar() or 0)

    def _today(self) -> str:
        return _day(self._clock.utc_s())


@dataclass(frozen=True, slots=True)
class Figures:
    """What came in, for people."""

    today: dict[str, int]
    week: dict[str, int]
    """Today and the six days before."""
    devices: dict[str, dict[str, int]]
    """The week, by device."""
    quarantined: int
    """All that lies in quarantine, or would if there were room."""


def figures(store: Store, *, now_s: float) -> Figures:
    """What came in today and in the week, of all workers."""
    table = db.intake
    first = _day(now_s - (_WEEK_DAYS - 1) * 86400)
    today, week = Counter[str](), Counter[str]()
    devices: dict[str, Counter[str]] = {}
    with store.reading() as connection:
        for device, day, name, value in connection.execute(select(table).where(table.c.day >= first)):
            week[name] += value
            devices.setdefault(device, Counter())[name] += value
            if day == _day(now_s):
                today[name] += value
        quarantined = int(connection.execute(select(func.count()).select_from(db.quarantine)).scalar() or 0)
    return Figures(_plain(today), _plain(week), {name: _plain(found) for name, found in devices.items()}, quarantined)


def to_dict(found: Figures) -> dict[str, object]:
    """As the API and `stats --json` give it."""
    return {
        "today": found.today,
        "week": found.week,
        "devices": dict(sorted(found.devices.items())),
        "quarantined": found.quarantined,
    }


def _plain(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in NAMES}


def _day(utc_s: float) -> str:
    return _day_number(int(min(max(utc_s, 0.0), 4e9)) // 86400)  # a wild clock of this machine must not end the intake


@lru_cache(maxsize=8)
def _day_number(days: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)).date().isoformat()
