"""What came in, by device and UTC day: counted in memory, kept in the database, of all processes that take in.

Counts are for people and for daily limits: a crash may lose up to FLUSH_EVERY_S of them, and none is counted twice.

    messages, received_bytes    whatever came, as far as it was read
    records, parts, bytes       merged for the first time
    repeated                    merged before
    declined                    answered as merged and not kept: the wearer has not agreed to it
    refused, paused, foreign, unknown, wrong_hash, abandoned, limited, errors    what went otherwise
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, func, insert, select, true, update
from sqlalchemy.exc import SQLAlchemyError

from server.database import store as db
from server.database.store import Store
from shared.clock import Clock

NAMES = (
    "messages", "received_bytes", "records", "parts", "bytes", "repeated", "refused", "paused", "foreign", "unknown",
    "wrong_hash", "abandoned", "limited", "errors",
    "declined",
)  # fmt: skip
FLUSH_EVERY_S = 5.0
KEPT_DAYS = 90
_WEEK_DAYS = 7
_MOST_NAMED = 1000  # devices in one statement
_DAY_S = 86_400

Key = tuple[str, str, str]
"""(device, UTC day, name)"""


class DailyCounts:
    """The counts of one process. One thread. store: None = in memory only."""

    def __init__(self, clock: Clock, store: Store | None = None) -> None:
        self.clock = clock
        self.totals: Counter[str] = Counter()
        """Since this process began, of all devices."""
        self._store = store
        self._unwritten: Counter[Key] = Counter()
        self._written: dict[tuple[str, str], dict[str, int]] = {}
        """(UTC day, name) → device → count, as the database said after the last flush: of what was asked for since."""
        self._next_flush_s = clock.monotonic_s() + FLUSH_EVERY_S

    def add(self, device: str, name: str, count: int = 1) -> None:
        """Count something."""
        self.totals[name] += count
        self._unwritten[device, self._today(), name] += count

    def today(self, device: str, name: str) -> int:
        """The count of this UTC day, with what other workers had written at the last flush."""
        day = self._today()
        of_all = self._written.get((day, name))
        if of_all is None:
            of_all = self._written[day, name] = self._read(day, name)
        return of_all.get(device, 0) + self._unwritten[device, day, name]

    def flush(self, *, now: bool = False) -> None:
        """Write the counts, where it is time. While the database is away they wait."""
        if self._store is None or (not now and self.clock.monotonic_s() < self._next_flush_s):
            return
        self._next_flush_s = self.clock.monotonic_s() + FLUSH_EVERY_S
        counts = {key: count for key, count in self._unwritten.items() if count}
        if not counts:
            return
        try:
            self._write(self._store, counts)
        except SQLAlchemyError:  # full or busy: the next flush has them all
            return
        self._unwritten.clear()
        self._written.clear()

    def _write(self, store: Store, counts: Mapping[Key, int]) -> None:
        """A thousand devices have some 5,000 counts: three statements for all, not two for each."""
        table = db.intake
        key = tuple(table.c[name] == bindparam(f"own_{name}") for name in ("device", "day", "name"))
        raised = update(table).where(*key).values(value=table.c.value + bindparam("more"))
        with store.writing() as connection:
            known = self._known(connection, counts)
            if old := [_bound(own) | {"more": count} for own, count in counts.items() if own in known]:
                connection.execute(raised, old)
            if new := [_row(own, count) for own, count in counts.items() if own not in known]:
                connection.execute(insert(table), new)
            connection.execute(delete(table).where(table.c.day < _day(self.clock.utc_s() - KEPT_DAYS * _DAY_S)))

    @staticmethod
    def _known(connection: Connection, counts: Mapping[Key, int]) -> set[Key]:
        """Those that have a row."""
        table = db.intake.c
        devices, days = sorted({device for device, _, _ in counts}), sorted({day for _, day, _ in counts})
        query = select(table.device, table.day, table.name).where(table.day.in_(days))
        some = (devices[at : at + _MOST_NAMED] for at in range(0, len(devices), _MOST_NAMED))
        return {(*row,) for names in some for row in connection.execute(query.where(table.device.in_(names)))}

    def _read(self, day: str, name: str) -> dict[str, int]:
        """Of all devices: one after the other they would each cost a statement after every flush."""
        if self._store is None:
            return {}
        table = db.intake.c
        query = select(table.device, table.value).where(table.day == day, table.name == name)
        with self._store.reading() as connection:
            return dict(connection.execute(query).all())

    def _today(self) -> str:
        return _day(self.clock.utc_s())


@dataclass(frozen=True, slots=True)
class Figures:
    """What came in, for people: the counts by name."""

    today: dict[str, int]
    week: dict[str, int]
    """Today and the six days before."""
    devices: dict[str, dict[str, int]]
    """The week, by device."""
    quarantined: int
    """Files and records in quarantine, also those for which there was no room."""


def figures(store: Store, *, now_s: float, devices: Collection[str] | None = None) -> Figures:
    """What came in today and in the week, of all workers. devices: of these only, None = of all"""
    table, aside = db.intake, db.quarantine
    first = _day(now_s - (_WEEK_DAYS - 1) * _DAY_S)
    today, week = Counter[str](), Counter[str]()
    found: dict[str, Counter[str]] = {}
    with store.reading() as connection:
        lately = select(table).where(table.c.day >= first, _of(table, devices))
        for device, day, name, value in connection.execute(lately):
            week[name] += value
            found.setdefault(device, Counter())[name] += value
            if day == _day(now_s):
                today[name] += value
        put_aside = select(func.count()).select_from(aside).where(_of(aside, devices))
        quarantined = int(connection.execute(put_aside).scalar() or 0)
    by_device = {name: _complete(counts) for name, counts in sorted(found.items())}
    return Figures(_complete(today), _complete(week), by_device, quarantined)


def _bound(own: Key) -> dict[str, object]:
    """What the statement that raises a count calls its key."""
    return dict(zip(("own_device", "own_day", "own_name"), own, strict=True))


def _row(own: Key, count: int) -> dict[str, object]:
    device, day, name = own
    return {"device": device, "day": day, "name": name, "value": count}


def _of(table: Table, devices: Collection[str] | None) -> ColumnElement[bool]:
    return true() if devices is None else table.c.device.in_(devices)


def _complete(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in NAMES}


def _day(utc_s: float) -> str:
    return _day_number(int(min(max(utc_s, 0.0), 4e9)) // _DAY_S)  # a wild clock of this machine must not end the intake


@lru_cache(maxsize=8)
def _day_number(days: int) -> str:
    return datetime.fromtimestamp(days * _DAY_S, UTC).date().isoformat()
