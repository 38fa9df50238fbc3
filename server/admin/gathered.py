"""What was found of the home: devices, ends of what it signs with, what `health` judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509
from sqlalchemy import select

from server.admin import fleet, nights, storage, versions
from server.admin.fleet import FleetDevice
from server.admin.health import HealthFacts
from server.admin.storage import StorageOutlook
from server.broker.room import BrokerRoom
from server.database import store as db
from server.database.store import Store
from server.identity import certificates
from server.identity.authority import Authority
from server.identity.claims import Claims
from server.ingest import counters
from server.privacy import making_room
from server.privacy.space_settings import SpaceSettings
from server.releases.registry import Registry
from server.releases.signing import Release
from server.review import order
from shared.clock import Clock
from shared.errors import ConfigError


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
    space: SpaceSettings
    reserve: int
    """Bytes free on the disk at which devices have to wait."""
    broker_room: Callable[[int], BrokerRoom | None] = lambda enrolled: None
    """The broker's limits beside so many enrolled devices; None = nobody can be enrolled."""

    def outlook(self) -> StorageOutlook:
        """The disk, and until when it is enough. Raises: OSError, SQLAlchemyError."""
        return storage.outlook(self.store, reserve=self.reserve, warn_days=self.space.warn_days)

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
        now_utc, disk = self.clock.utc_s(), self.outlook()
        waiting, oldest = _queue(self.store)
        room = self.broker_room(certificates.count_admitted(self.store, now_s=now_utc))
        return HealthFacts(
            now_utc=now_utc,
            broker=self.broker,
            broker_reached=self.broker_reached(),
            free=disk.free,
            total=disk.total,
            full_in_days=disk.days_left if disk.full_soon else None,
            space=tuple(making_room.trouble(making_room.standing(self.store), self.space)),
            waiting=waiting,
            oldest_waiting_utc=oldest,
            devices=self.devices(),
            nights=nights.runs(self.store.home, self.store, most=1),
            ends=self.ends(),
            broker_lacks=room.trouble if room else None,
            quarantined=counters.figures(self.store, now_s=now_utc).quarantined,
            never_judged=tuple(line.version for line in versions.listed(self.registry) if line.never_judged),
        )


def authority_end(authority: Authority) -> float:
    """When the authority's own certificate ends."""
    return x509.load_pem_x509_certificate(authority.ca_pem).not_valid_after_utc.timestamp()


def _queue(store: Store) -> tuple[int, float | None]:
    """(moments to review, when the oldest of them last changed)"""
    table = db.samples.c
    oldest = select(table.changed_at).where(table.state == "pending").order_by(table.changed_at).limit(1)
    with store.reading() as connection:
        return order.counts(connection)["pending"], connection.execute(oldest).scalar()
