"""What the pages for admins read again and again, read once: the rows of the dataset, and what was found of the home.

Rows are read anew where the log has changed, and at most every AGAIN_S: a page that is opened ten times a minute must
not read 100,000 rows ten times. What a page shows may be that much behind.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from sqlalchemy import func, select

from server.admin import fleet, nights, versions
from server.admin.fleet import FleetDevice
from server.admin.health import HealthFacts
from server.database import store as db
from server.database.store import Store
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.identity.authority import Authority
from server.identity.claims import Claims
from server.ingest import counters
from server.releases.registry import Registry
from server.releases.signing import Release
from shared.clock import Clock
from shared.errors import BundleError, ConfigError, Refused

AGAIN_S = 60.0


class CachedRows:
    """The newest row of each moment. Any thread."""

    def __init__(self, dataset: Dataset, clock: Clock) -> None:
        self._dataset, self._clock, self._lock = dataset, clock, threading.Lock()
        self._rows: Sequence[SampleRow] = ()
        self._seen: tuple[int, int] | None = None
        self._read_s = float("-inf")

    def rows(self) -> Sequence[SampleRow]:
        """Raises: DatasetError, OSError."""
        with self._lock:
            seen = _stamp(self._dataset.log)
            if seen != self._seen and self._clock.monotonic_s() - self._read_s >= AGAIN_S:
                self._rows = self._dataset.rows() if seen is not None else ()
                self._seen, self._read_s = seen, self._clock.monotonic_s()
            return self._rows


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True, slots=True)
class WatchedHome:
    """One home, as what watches over it reads it."""

    store: Store
    registry: Registry
    claims: Claims
    clock: Clock
    broker: str
    """HOST:PORT"""
    broker_reached: Callable[[], bool | None]

    def devices(self) -> tuple[FleetDevice, ...]:
        """Every device, by name."""
        return fleet.devices(self.store, self.claims.devices())

    def ends(self) -> Mapping[str, float]:
        """What this server signs with → when it ends, in seconds since 1970. Raises: OSError."""
        found: dict[str, float] = {}
        authority = self.claims.certificates.authority
        found["The authority of the certificates"] = authority_end(authority)
        try:
            for role in Release(self.store.home, clock=self.clock).status():
                if role.role in ("root", "targets"):  # the others are signed anew by the running server
                    found[f"The release role {role.role}"] = role.expires_utc_s
        except ConfigError:  # `check` and `keys status` say what is wrong with them
            pass
        return found

    def facts(self) -> HealthFacts:
        """What `health` judges. Raises: OSError, SQLAlchemyError."""
        now_utc, disk = self.clock.utc_s(), shutil.disk_usage(self.store.home)
        waiting, oldest = _queue(self.store)
        return HealthFacts(
            now_utc=now_utc,
            broker=self.broker,
            broker_reached=self.broker_reached(),
            free=disk.free,
            total=disk.total,
            waiting=waiting,
            oldest_waiting_utc=oldest,
            devices=self.devices(),
            nights=nights.runs(self.store.home, self.store, most=1),
            ends=self.ends(),
            quarantined=counters.figures(self.store, now_s=now_utc).quarantined,
            never_judged=tuple(line.version for line in versions.listed(self.registry) if line.never_judged),
        )


class TaughtRows:
    """What taught the registered versions. A version never changes, so each list is read once. Any thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._lock = registry, threading.Lock()
        self._by_version: dict[str, frozenset[str]] = {}

    def rows(self) -> frozenset[str]:
        """row_ids; a list that cannot be read counts for none."""
        with self._lock:
            versions_now = {model.version for model in self._registry.list()}
            self._by_version = {name: rows for name, rows in self._by_version.items() if name in versions_now}
            for version in versions_now - self._by_version.keys():
                self._by_version[version] = self._read(version)
            return frozenset().union(*self._by_version.values())

    def _read(self, version: str) -> frozenset[str]:
        try:
            return frozenset(name.rpartition(":")[0] for name in self._registry.taught_by(version))
        except (BundleError, Refused, OSError, ValueError):
            return frozenset()


def authority_end(authority: Authority) -> float:
    """When the authority's own certificate ends."""
    return x509.load_pem_x509_certificate(authority.ca_pem).not_valid_after_utc.timestamp()


def _queue(store: Store) -> tuple[int, float | None]:
    """(moments to review, when the oldest of them last changed)"""
    table = db.samples.c
    with store.reading() as connection:
        row = connection.execute(select(func.count(), func.min(table.changed_at)).where(table.state == "pending")).one()
    return int(row[0]), None if row[1] is None else float(row[1])
