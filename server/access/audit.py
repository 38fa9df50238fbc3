"""The log of who looked at what, who decided, and who let whom in.

Entries wait in memory for at most FLUSH_S, so that a page of pictures costs one durable write; a power cut loses those
of that second. The same person at the same thing is written down once in AGAIN_S: a browser asks for a film in pieces.
What is older than the days that the settings give is deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select

from server.access import tables
from server.database.store import Store
from shared.clock import Clock

ACTIONS = (
    "looked",
    "listed",
    "opened",
    "decided",
    "logged in",
    "refused",
    "logged out",
    "let in",
    "changed",
    "removed",
)
FLUSH_S = 1.0
AGAIN_S = 60.0
MOST_WAITING = 500
PURGE_EVERY_S = 3600.0
_ONCE = ("looked", "listed", "opened")


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One line of the log."""

    at: float
    name: str
    """Of the person; of somebody who was refused, whose account they tried, "(unknown)" = nobody's."""
    action: str
    """One of ACTIONS."""
    about: str = ""
    """A moment, a file, a person."""
    detail: str = ""
    address: str = ""


class AuditLog:
    """Takes entries from any thread; somebody calls `tick` once in FLUSH_S, and `flush` at the end."""

    def __init__(self, store: Store, clock: Clock, *, days: Callable[[], float] = lambda: 90.0) -> None:
        self._store, self._clock, self._days = store, clock, days
        self._lock = threading.Lock()
        self._waiting: list[AccessEntry] = []
        self._noted: dict[tuple[str, str, str], float] = {}
        self._purged_s = float("-inf")

    def note(self, name: str, action: str, about: str = "", *, detail: str = "", address: str = "") -> None:
        """Write an entry down, soon."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            if action in _ONCE:
                key = (name, action, about)
                last_s = self._noted.pop(key, float("-inf"))
                self._noted[key] = last_s if now_s - last_s < AGAIN_S else now_s
                if len(self._noted) > 4096:
                    del self._noted[next(iter(self._noted))]
                if now_s - last_s < AGAIN_S:
                    return
            entry = AccessEntry(self._clock.utc_s(), name[:96], action, about[:200], detail[:500], address[:64])
            self._waiting.append(entry)
            full = len(self._waiting) >= MOST_WAITING
        if full:
            self.flush()

    def tick(self) -> None:
        """Write what waits, and delete what is too old."""
        self.flush()
        if self._clock.monotonic_s() - self._purged_s >= PURGE_EVERY_S:
            self._purged_s = self._clock.monotonic_s()
            oldest = self._clock.utc_s() - self._days() * 86400
            with self._store.writing() as connection:
                connection.execute(delete(tables.access_log).where(tables.access_log.c.at < oldest))

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            with self._store.writing() as connection:
                connection.execute(insert(tables.access_log), [asdict(entry) for entry in waiting])

    def newest(self, *, name: str = "", about: str = "", most: int = 100) -> list[AccessEntry]:
        """Entries, the newest first; of a person, or about a thing, where these are named."""
        table = tables.access_log
        query = select(table).order_by(table.c.id.desc()).limit(most)
        if name:
            query = query.where(table.c.name == name)
        if about:
            query = query.where(table.c.about == about)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        return [AccessEntry(row.at, row.name, row.action, row.about, row.detail, row.address) for row in rows]
