"""The leases of partitions, in the dataset's database: one transaction a round, whatever became of the others.

A process renews its leases every round. One that dies, hangs or cannot reach the database for `lease_s` has none any
more: the others take over what was its own. It knows that itself, by a clock that nobody sets, before they do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select, update

from server.database import store as db
from server.database.store import Store
from server.ingest.partitions import PARTITIONS, Division, PartitionLease, divide, runs
from shared.clock import Clock

EARLIER = 0.9
"""Of a lease: when its holder stops. Others wait for its end, by another clock."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process has, and until when."""

    division: Division = field(default_factory=Division)
    until_s: float = float("-inf")
    """Monotonic."""


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """Who has a partition, for people."""

    partition: int
    holder: str
    """"" = nobody."""
    runs_s: float
    """For so long still; 0 = it has ended."""


class Leases:
    """Those of one process. One thread."""

    def __init__(self, store: Store, clock: Clock, name: str, *, lease_s: float) -> None:
        self.name, self.lease_s = name, lease_s
        self.clock, self._store = clock, store

    def round(self, released: Collection[int] = ()) -> Held:
        """Renew, take and give back. released: partitions that it has settled and given up. Raises: SQLAlchemyError."""
        started_s = self.clock.monotonic_s()
        with self._store.writing() as connection:
            now_s = self.clock.utc_s()
            own = db.ingest_leases.c.holder == self.name
            if released:
                connection.execute(delete(db.ingest_leases).where(own, db.ingest_leases.c.number.in_(released)))
            division = self._divide(connection, now_s)
            self._write(connection, division, now_s + self.lease_s)
        return Held(division, started_s + EARLIER * self.lease_s)

    def end(self) -> None:
        """Give all of it back, at an orderly end. Raises: SQLAlchemyError."""
        with self._store.writing() as connection:
            connection.execute(delete(db.ingest_leases).where(db.ingest_leases.c.holder == self.name))
            connection.execute(delete(db.ingest_workers).where(db.ingest_workers.c.name == self.name))

    def _divide(self, connection: Connection, now_s: float) -> Division:
        workers = dict(connection.execute(select(db.ingest_workers.c.name, db.ingest_workers.c.until)).all())
        return divide(self.name, workers, _leases(connection), now_s=now_s, lease_s=self.lease_s)

    def _write(self, connection: Connection, division: Division, until_s: float) -> None:
        workers, leases = db.ingest_workers, db.ingest_leases
        renewed = update(workers).where(workers.c.name == self.name).values(until=until_s)
        if connection.execute(renewed).rowcount == 0:
            connection.execute(insert(workers).values(name=self.name, until=until_s))
        kept = division.held - division.taken
        connection.execute(update(leases).where(leases.c.number.in_(kept)).values(until=until_s))
        if division.taken:
            connection.execute(delete(leases).where(leases.c.number.in_(division.taken)))
            rows = [{"number": one, "holder": self.name, "until": until_s} for one in sorted(division.taken)]
            connection.execute(insert(leases), rows)


def listing(store: Store, *, now_s: float, lease_s: float) -> list[PartitionRow]:
    """Who has which partition."""
    with store.reading() as connection:
        found = _leases(connection)
    nobody = PartitionLease("", 0.0)
    rows = [(number, found.get(number, nobody)) for number in range(PARTITIONS)]
    return [
        PartitionRow(number, lease.holder, max(0.0, lease.until_s - now_s))
        if runs(lease.until_s, now_s, lease_s)
        else PartitionRow(number, "", 0.0)
        for number, lease in rows
    ]


def _leases(connection: Connection) -> dict[int, PartitionLease]:
    table = db.ingest_leases.c
    rows = connection.execute(select(table.number, table.holder, table.until))
    return {number: PartitionLease(holder, until_s) for number, holder, until_s in rows}
