"""Offers of models: which version each device is offered now, signed, with a revision that only rises.

    wc/v1/<device>/down/offer                      retained Offer

Who should run what is decided in `server.releases.rollout_rules`; with a `Release` it is signed before it is offered,
the offer names the signed metadata, and devices pull these as blocks too (`server.releases.blocks`).

A device that was offered a version on trial and may run nothing any more is offered that version once more, under
metadata that no longer name the device: what is signed takes the trial back, and the offer only brings it.

Rules kept here:

1. An offer's revision is stored in the `offers` table before it is sent. It is at least the time in seconds, so that it
   rises above what the devices have seen even when the database had to be restored.
2. With a `Release` nothing is offered unsigned: where signing fails, offers wait, and that is logged and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, insert, select, union, update

from server.database import store as tables
from server.releases import wearers
from server.releases.blocks import BlockServer
from server.releases.registry import ON_TRIAL, Registry
from server.releases.rollout_rules import Grant
from server.releases.rollouts import Rollouts
from server.releases.signing import Release, ReleaseTarget
from shared import assignment, messages, topics
from shared.clock import Clock, SystemClock
from shared.errors import WaycueError
from shared.messages import MetadataFile, Offer
from shared.topics import Reply

MAX_DEVICES = 10_000
logger = logging.getLogger(__name__)


class Offers:
    """Offers to devices. Any thread.

    release: signs what is offered; None only where devices come without an identity, over a broker on this machine
    blocks: where devices pull what is offered; None = a new one
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Clock | None = None,
        release: Release | None = None,
        blocks: BlockServer | None = None,
    ) -> None:
        self._registry, self._release = registry, release
        self._clock = clock or SystemClock()
        self.blocks = blocks or BlockServer(registry, clock=self._clock)
        self.rollouts = Rollouts(registry, clock=self._clock)
        self.counters: Counter[str] = Counter()
        """unsigned: how often offers waited because signing failed"""
        self._lock = threading.Lock()
        self._online: set[str] = set()
        self._last: dict[str, tuple[str, tuple[MetadataFile, ...]]] = {}
        """Device → what this process offered it last."""
        try:
            self._metadata()  # a device may be half-way through what was signed before this start
        except (WaycueError, OSError) as error:
            logger.warning("The signed metadata cannot be read now: %s", error)

    def make(self, device: str, version: str) -> Reply:
        """The offer of a version to a device, to be published retained. The same version again gives the same bytes;
        another one gets a higher revision.

        raises: Refused where there is no such version.
        """
        (offer,) = self._make([(device, version)])
        return offer

    def _make(self, wanted: Sequence[tuple[str, str]]) -> list[Reply]:
        """The same for many (device, version), in one transaction."""
        if not wanted:
            return []
        models = {version: self._registry.get(version) for version in dict.fromkeys(version for _, version in wanted)}
        for model in models.values():
            self.blocks.add_model(model)
        with self._registry.store.writing() as connection:
            issued = [self._revision(connection, device, version) for device, version in wanted]
        metadata, made = self._metadata(), list[Reply]()
        for (device, version), (revision, issued_at) in zip(wanted, issued, strict=True):
            model = models[version]
            self._last[device] = (version, metadata)
            offer = Offer(version, model.manifest_sha256, model.manifest_size, issued_at, revision, metadata)
            made.append((topics.offer(device), messages.encode(offer)))
        return made

    def offer_for(self, device: str) -> Reply | None:
        """The offer that this device should have now; None while there is none for it, or it cannot be signed."""
        offers = self._offers([device])
        return offers[0] if offers else None

    def greet(self, devices: Mapping[str, bool]) -> list[Reply]:
        """Statuses came: device → whether it is online. The offers to publish to those that have just come online, or
        never had one from this process: the broker may have lost what it retained. What changes later comes from
        `due`."""
        with self._lock:
            came = [device for device, online in devices.items() if online and device not in self._online]
            if len(self._online) + len(came) > MAX_DEVICES:
                self._online.clear()
            self._online.difference_update(device for device, online in devices.items() if not online)
            self._online.update(came)
        return self._offers(came) if came else []

    def due(self) -> list[Reply]:
        """Offers for devices that should have another one than this process gave them last: a command in another
        process promoted a version or started a rollout, a rollout halted, or what is signed was renewed.

        Call it every second; empty nearly always.
        """
        wearers.sweep(self._registry)
        devices = self._devices()
        self.rollouts.watch(devices)
        return self._offers(devices, changed_only=True)

    def _offers(self, devices: Iterable[str], *, changed_only: bool = False) -> list[Reply]:
        granted, trials = self.rollouts.granted(), self._trials()
        if not self._sign(granted, trials):
            return []
        metadata, assignments = self._metadata(), [grant.assignment() for grant in granted]
        versions = {device: assignment.assigned(assignments, device) or trials.get(device) for device in devices}
        return self._make(
            [
                (device, version)
                for device, version in sorted(versions.items())
                if version is not None and (not changed_only or self._last.get(device) != (version, metadata))
            ]
        )

    def _revision(self, connection: Connection, device: str, version: str) -> tuple[int, float]:
        offers = tables.offers
        row = connection.execute(select(offers).where(offers.c.device == device)).first()
        if row is not None and row.version == version:
            return row.revision, row.issued_at
        issued_at = self._clock.utc_s()
        revision = max(int(issued_at), 1 if row is None else row.revision + 1)
        values = {"version": version, "revision": revision, "issued_at": issued_at}
        if row is None:
            connection.execute(insert(offers).values(device=device, **values))
        else:
            connection.execute(update(offers).where(offers.c.device == device).values(values))
        return revision, issued_at

    def _trials(self) -> dict[str, str]:
        """Device → version, where the last that it was offered is on trial and what is signed takes that back."""
        if self._release is None:
            return {}
        offers, models = tables.offers, tables.models
        query = select(offers.c.device, offers.c.version).join(models, models.c.version == offers.c.version)
        with self._registry.store.reading() as connection:
            return {row.device: row.version for row in connection.execute(query.where(models.c.state == ON_TRIAL))}

    def _devices(self) -> set[str]:
        """Devices that were let in, and all that ever came or were offered something: their offer waits for them."""
        enrolled = select(tables.enrolments.c.device).where(tables.enrolments.c.revoked_at.is_(None))
        seen, offered = select(tables.devices.c.device), select(tables.offers.c.device)
        with self._registry.store.reading() as connection:
            return set(connection.scalars(union(enrolled, seen, offered)))

    def _sign(self, granted: Sequence[Grant], trials: Mapping[str, str]) -> bool:
        """Sign who may run what, where that changed or its signatures are half over. False = offers wait, or there is
        nothing to offer."""
        if not (granted or trials):
            return False
        if self._release is None:
            return True
        try:
            self._release.publish([self._target(grant) for grant in granted])
        except (WaycueError, OSError) as error:
            if not self.counters["unsigned"]:
                logger.error("No model can be offered: %s", error)
            self.counters["unsigned"] += 1
            return False
        self.counters.pop("unsigned", None)
        return True

    def _target(self, grant: Grant) -> ReleaseTarget:
        model = self._registry.get(grant.version)
        return ReleaseTarget(grant, model.manifest_sha256, model.manifest_size)

    def _metadata(self) -> tuple[MetadataFile, ...]:
        """What an offer names, and devices may pull from now on."""
        if self._release is None:
            return ()
        files = self._release.files()
        self.blocks.add_metadata({entry.sha256: data for entry, data in files})
        return tuple(entry for entry, _ in files)
