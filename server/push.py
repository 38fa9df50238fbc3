"""Models to devices: the retained offer, and the blocks that a device asks for.

The device pulls: it knows what it has, and a push would overrun the broker's queue of a device that is slow or away.

    wc/v1/<device>/up/want                         Want: ranges of a file known by its SHA-256
    wc/v1/<device>/down/block/<sha256>/<offset>    at most 8 blocks per Want, none over 256 KiB
    wc/v1/<device>/down/offer                      retained Offer, with a revision that only rises

Rules kept here:

1. Only files of registered bundles can be read, and only by the hash of their content: there is no path in a request.
2. A Want is read strictly; anything else, an unknown hash included, is answered with nothing and counted.
3. Per device at most `bytes_per_s`: a device gone wrong does not starve the others.
4. An offer's revision is kept in the `offers` table before it is sent. It is at least the time in seconds, so that it
   rises above what the devices have seen even when the database had to be restored.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from server import store as tables
from server.registry import Model, Registry
from shared import bundle, messages, topics
from shared.clock import Clock, SystemClock
from shared.errors import BundleError, MessageError
from shared.messages import Offer, Want
from shared.transfer import MAX_PART_BYTES, Ranges

MAX_BLOCKS = 8
MIN_BLOCK_BYTES = 1024  # smaller ones cost more in headers than they carry
MAX_DEVICES = 10_000
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
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Clock | None = None,
        max_block_bytes: int = MAX_PART_BYTES,
        bytes_per_s: int = 32 * 1024**2,
    ) -> None:
        self._registry = registry
        self._clock = clock or SystemClock()
        self._max_block_bytes = min(max_block_bytes, MAX_PART_BYTES)
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        self._indexed: set[str] = set()
        self._looked_at_s: float | None = None
        self._allowances: dict[str, _Allowance] = {}
        self.counters: Counter[str] = Counter()
        """wants, blocks, bytes, malformed, unknown (hash), limited (by rate), unreadable (our own file)"""

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
            path = self._path(want.sha256)
            if path is None:
                return self._none("unknown")
            if not self._allowed(device, sum(stop - start for start, stop in spans)):
                return self._none("limited")
        try:
            replies = [(topics.block(device, want.sha256, start), data) for start, data in _read(path, spans) if data]
        except OSError as error:
            _log.error("%s cannot be read for %s: %s", path, device, error)
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

    def _path(self, sha256: str) -> Path | None:
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
        offer = Offer(version, model.manifest_sha256, model.manifest_size, issued_at, revision)
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
        """The offer that this device should have now: the champion; None while there is none."""
        champion = self._registry.champion()
        return None if champion is None else self.make_offer(device, champion)

    def offer_all(self, devices: Iterable[str] = ()) -> list[Reply]:
        """Offers for every device ever seen, and `devices`. Publish them at start, and after a promote or rollback."""
        with self._registry.store.reading() as connection:
            seen = set(connection.execute(select(tables.devices.c.device)).scalars())
            seen |= set(connection.execute(select(tables.offers.c.device)).scalars())
        offers = [self.offer_for(device) for device in sorted(seen | set(devices))]
        return [offer for offer in offers if offer is not None]

    def due_offers(self) -> list[Reply]:
        """Offers for devices that were offered another version than the champion: a command in another process may
        have promoted one. Cheap enough to call every second; empty nearly always."""
        champion = self._registry.champion()
        if champion is None:
            return []
        offers = tables.offers
        with self._registry.store.reading() as connection:
            behind = connection.execute(select(offers.c.device).where(offers.c.version != champion)).scalars().all()
        return [self.make_offer(device, champion) for device in behind]


def _read(path: Path, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as file:
        for start, stop in spans:
            file.seek(start)
            yield start, file.read(stop - start)
