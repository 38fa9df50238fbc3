"""Models to devices: the retained offer, and the blocks that a device asks for.

The device pulls: it knows what it has, and a push would overrun the broker's queue of a device that is slow or away.

    wc/v1/<device>/up/want                         Want: ranges of a file known by its SHA-256
    wc/v1/<device>/down/block/<sha256>/<offset>    at most 8 blocks per Want, none over 256 KiB
    wc/v1/<device>/down/offer                      retained Offer, with a revision that only rises

Who should run what is decided in `server.releases.rollout_rules`; with a `Release` it is signed before it is offered,
the offer names the signed metadata, and devices pull these as blocks too.

A device that was offered a version on trial and may run nothing any more is offered that version once more, under
metadata that no longer name the device: what is signed takes the trial back, and the offer only brings it.

Rules kept here:

1. Only files of registered bundles and the signed metadata can be read, and only by the hash of their content: there is
   no path in a request.
2. A Want is read strictly; anything else, an unknown hash included, is answered with nothing and counted.
3. Per device at most `bytes_per_s`: a device gone wrong does not starve the others.
4. An offer's revision is kept in the `offers` table before it is sent. It is at least the time in seconds, so that it
   rises above what the devices have seen even when the database had to be restored.
5. With a `Release` nothing is offered unsigned: where signing fails, offers wait, and that is logged and counted.
"""

from __future__ import annotations

import io
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from server.database import store as tables
from server.releases.registry import ON_TRIAL, Model, Registry
from server.releases.rollout_rules import Grant
from server.releases.rollouts import Rollouts
from server.releases.signing import Release, Target
from shared import assignment, bundle, messages, topics
from shared.clock import Clock, SystemClock
from shared.errors import BundleError, MessageError, WaycueError
from shared.messages import MetadataFile, Offer, Want
from shared.transfer import MAX_PART_BYTES, Ranges

MAX_BLOCKS = 8
MIN_BLOCK_BYTES = 1024  # smaller ones cost more in headers than they carry
MAX_DEVICES = 10_000
KEPT_GENERATIONS = 4  # of signed metadata: a device may be half-way through the one before
LOOK_AGAIN_S = 1.0  # how often an unknown hash may make us look for models that another process registered
_log = logging.getLogger(__name__)

Reply = tuple[str, bytes]


@dataclass(slots=True)
class _Allowance:
    left_bytes: float
    at_s: float


class Push:
    """Answers devices. Any thread.

    max_block_bytes: the largest block that the broker lets through.
    bytes_per_s: what one device may pull; twice a 100 Mbit/s network by default.
    release: signs what is offered; None only where devices come without an identity, over a broker on this machine.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Clock | None = None,
        max_block_bytes: int = MAX_PART_BYTES,
        bytes_per_s: int = 32 * 1024**2,
        release: Release | None = None,
    ) -> None:
        self._registry, self._release = registry, release
        self._clock = clock or SystemClock()
        self.rollouts = Rollouts(registry, clock=self._clock)
        self._max_block_bytes = min(max_block_bytes, MAX_PART_BYTES)
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        self._indexed: set[str] = set()
        self._looked_at_s: float | None = None
        self._allowances: dict[str, _Allowance] = {}
        self._signed: list[dict[str, bytes]] = []
        self._greeted: set[str] = set()
        self._offered: dict[str, tuple[str, tuple[MetadataFile, ...]]] = {}
        self.counters: Counter[str] = Counter()
        """wants, blocks, bytes, malformed, unknown (hash), limited (by rate), unreadable (our own file), unsigned
        (times that offers waited because signing failed)"""

        try:
            self._metadata()  # a device may be half-way through what was signed before this start
        except (WaycueError, OSError) as error:
            _log.warning("The signed metadata cannot be read now: %s", error)

    # --- blocks ---

    def handle(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        """Answer one Want. levels: ["up", "want"]. Raises nothing: what cannot be answered is counted."""
        try:
            want = messages.decode(Want, payload)
            if levels != ["up", "want"] or want.block_bytes < MIN_BLOCK_BYTES:
                raise MessageError("Want: not a request for blocks.")
            spans = list(self._spans(want))
        except MessageError as error:
            _log.debug("%s: %s", device, error)
            return self._none("malformed")
        with self._lock:
            source = self._source(want.sha256)
            if source is None:
                return self._none("unknown")
            if not self._allowed(device, sum(stop - start for start, stop in spans)):
                return self._none("limited")
        try:
            replies = [(topics.block(device, want.sha256, start), data) for start, data in _read(source, spans) if data]
        except OSError as error:
            _log.error("%s cannot be read for %s: %s", source, device, error)
            return self._none("unreadable")
        self.counters["wants"] += 1
        self.counters["blocks"] += len(replies)
        self.counters["bytes"] += sum(len(data) for _, data in replies)
        return replies

    def _spans(self, want: Want) -> Iterator[tuple[int, int]]:
        """The first blocks of what is wanted. Raises: MessageError for a range that is none."""
        block_bytes = min(want.block_bytes, self._max_block_bytes)
        wanted = Ranges.of(want.ranges[:MAX_BLOCKS])
        for count, span in enumerate(wanted.parts(block_bytes)):
            if count == MAX_BLOCKS:
                return
            yield span

    def _source(self, sha256: str) -> Path | bytes | None:
        for generation in self._signed:
            if sha256 in generation:
                return generation[sha256]
        if sha256 not in self._files and self._may_look():
            for model in self._registry.list():
                self._index(model)
        return self._files.get(sha256)

    def _may_look(self) -> bool:
        now_s = self._clock.monotonic_s()
        if self._looked_at_s is not None and now_s - self._looked_at_s < LOOK_AGAIN_S:
            return False
        self._looked_at_s = now_s
        return True

    def _index(self, model: Model) -> None:
        if model.version in self._indexed:
            return
        folder = model.bundle_folder
        try:
            manifest = bundle.read_manifest(folder)
        except BundleError as error:
            _log.error("Model %s cannot be sent to devices: %s", model.version, error)
            return
        self._indexed.add(model.version)
        self._files.setdefault(model.manifest_sha256, folder / bundle.MANIFEST_NAME)
        for entry in manifest.files:
            self._files.setdefault(entry.sha256, folder / entry.path)

    def _allowed(self, device: str, size_bytes: int) -> bool:
        """A token bucket of one second."""
        now_s = self._clock.monotonic_s()
        if len(self._allowances) >= MAX_DEVICES:
            self._allowances.clear()  # names come from outside: they must not fill the memory
        mine = self._allowances.setdefault(device, _Allowance(self._bytes_per_s, now_s))
        mine.left_bytes = min(self._bytes_per_s, mine.left_bytes + (now_s - mine.at_s) * self._bytes_per_s)
        mine.at_s = now_s
        if size_bytes > mine.left_bytes:
            return False
        mine.left_bytes -= size_bytes
        return True

    def _none(self, counter: str) -> list[Reply]:
        self.counters[counter] += 1
        return []

    # --- offers ---

    def make_offer(self, device: str, version: str) -> Reply:
        """The offer of a version to a device, to be published retained. The same version again gives the same bytes;
        another one gets a higher revision.

        raises: Refused where there is no such version.
        """
        model = self._registry.get(version)
        with self._lock:
            self._index(model)
        with self._registry.store.writing() as connection:
            revision, issued_at = self._revision(connection, device, version)
        metadata = self._metadata()
        self._offered[device] = (version, metadata)
        offer = Offer(version, model.manifest_sha256, model.manifest_size, issued_at, revision, metadata)
        return topics.offer(device), messages.encode(offer)

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

    def offer_for(self, device: str) -> Reply | None:
        """The offer that this device should have now; None while there is none for it, or it cannot be signed."""
        offers = self._offers([device])
        return offers[0] if offers else None

    def greet(self, device: str, *, online: bool) -> Reply | None:
        """A device's status came. The offer to publish where it has just come online, or never had one from this
        process: the broker may have lost what it retained. What changes later comes from `due_offers`."""
        with self._lock:
            here = device in self._greeted
            if len(self._greeted) >= MAX_DEVICES:
                self._greeted.clear()
            (self._greeted.add if online else self._greeted.discard)(device)
        return None if here or not online else self.offer_for(device)

    def offer_all(self, devices: Iterable[str] = ()) -> list[Reply]:
        """Offers for every device ever seen, and `devices`. Publish them retained, at start."""
        return self._offers({*self._known(), *devices})

    def due_offers(self) -> list[Reply]:
        """Offers for devices that should have another one than this process gave them last: a command in another
        process promoted a version or started a rollout, a rollout halted, or what is signed was renewed.

        Call it every second; empty nearly always.
        """
        devices = self._known()
        self.rollouts.watch(devices)
        return self._offers(devices, due=True)

    def _offers(self, devices: Iterable[str], *, due: bool = False) -> list[Reply]:
        granted, trials = self.rollouts.granted(), self._on_trial() if self._release is not None else {}
        if not (granted or trials) or not self._sign(granted):
            return []
        metadata, assignments, offers = self._metadata(), [grant.assignment() for grant in granted], []
        for device in sorted(devices):
            version = assignment.assigned(assignments, device) or trials.get(device)
            if version is not None and not (due and self._offered.get(device) == (version, metadata)):
                offers.append(self.make_offer(device, version))
        return offers

    def _on_trial(self) -> dict[str, str]:
        """Device → version, where the last that it was offered is on trial."""
        offers, models = tables.offers, tables.models
        query = select(offers.c.device, offers.c.version).join(models, models.c.version == offers.c.version)
        with self._registry.store.reading() as connection:
            return {row.device: row.version for row in connection.execute(query.where(models.c.state == ON_TRIAL))}

    def _known(self) -> set[str]:
        """Devices that were let in, and all that ever came or were offered something: their offer waits for them."""
        with self._registry.store.reading() as connection:
            let_in = select(tables.enrolments.c.device).where(tables.enrolments.c.revoked_at.is_(None))
            seen = set(connection.execute(let_in).scalars())
            seen |= set(connection.execute(select(tables.devices.c.device)).scalars())
            return seen | set(connection.execute(select(tables.offers.c.device)).scalars())

    # --- signing ---

    def _sign(self, granted: Iterable[Grant]) -> bool:
        """Sign who may run what, where that changed or its signatures are half over. False = offers wait."""
        if self._release is None:
            return True
        try:
            self._release.publish([self._target(grant) for grant in granted])
        except (WaycueError, OSError) as error:
            if not self.counters["unsigned"]:
                _log.error("No model can be offered: %s", error)
            self.counters["unsigned"] += 1
            return False
        self.counters.pop("unsigned", None)
        return True

    def _target(self, grant: Grant) -> Target:
        model = self._registry.get(grant.version)
        return Target(
            grant.version,
            model.manifest_sha256,
            model.manifest_size,
            grant.order,
            grant.percent,
            grant.devices,
            grant.supervised,
        )

    def _metadata(self) -> tuple[MetadataFile, ...]:
        """What an offer names, and devices may pull from now on."""
        if self._release is None:
            return ()
        files = self._release.files()
        generation = {entry.sha256: data for entry, data in files}
        with self._lock:
            if not self._signed or self._signed[0] != generation:
                self._signed = [generation, *self._signed][:KEPT_GENERATIONS]
        return tuple(entry for entry, _ in files)


def _read(source: Path | bytes, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        for start, stop in spans:
            file.seek(start)
            yield start, file.read(stop - start)
