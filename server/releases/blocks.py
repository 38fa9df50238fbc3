"""Blocks of model files and signed metadata, for devices that ask for them.

The device pulls: it knows what it has, and a push would overrun the broker's queue of a device that is slow or away.

    wc/v1/<device>/up/want                         Want: ranges of a file known by its SHA-256
    wc/v1/<device>/down/block/<sha256>/<offset>    at most 8 blocks per Want, none over 256 KiB

Rules kept here:

1. Only files of registered bundles and the signed metadata can be read, and only by the hash of their content: there is
   no path in a request. What is one wearer's alone is sent to their devices alone.
2. A Want is read strictly; anything else, an unknown hash included, is answered with nothing and counted.
3. Per device at most `bytes_per_s`: a device gone wrong does not starve the others.
"""

from __future__ import annotations

import io
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from server.releases import wearers
from server.releases.registry import RegisteredModel, Registry
from shared import bundle, messages, topics
from shared.clock import Clock, SystemClock
from shared.errors import BundleError, MessageError
from shared.messages import Want
from shared.token_bucket import RateLimiter
from shared.topics import Reply
from shared.transfer import MAX_PART_BYTES, Ranges

MAX_BLOCKS = 8
MIN_BLOCK_BYTES = 1024  # smaller ones cost more in headers than they carry
BYTES_PER_S = 32 * 1024**2  # twice a 100 Mbit/s network
KEPT_GENERATIONS = 4  # of signed metadata: a device may be half-way through the one before
LOOK_AGAIN_S = 1.0  # how often an unknown hash may make us look for models that another process registered
logger = logging.getLogger(__name__)


class BlockServer:
    """Answers devices' Wants. Any thread.

    max_block_bytes: the largest block that the broker lets through; bytes_per_s: what one device may pull
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Clock | None = None,
        max_block_bytes: int = MAX_PART_BYTES,
        bytes_per_s: int = BYTES_PER_S,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """wants, blocks, bytes, malformed, unknown (hash), limited (by rate), unreadable (our own file)"""
        self._registry = registry
        self._clock = clock or SystemClock()
        self._max_block_bytes = min(max_block_bytes, MAX_PART_BYTES)
        self._limiter = RateLimiter(rate_per_s=bytes_per_s, capacity=bytes_per_s)
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        self._only: dict[str, frozenset[str]] = {}
        """SHA-256 → the devices that may have it; all others are for everybody."""
        self._indexed: set[str] = set()
        self._looked_at_s: float | None = None
        self._metadata: list[Mapping[str, bytes]] = []

    def handle(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        """Answer one Want. levels: ["up", "want"]. Raises nothing: what cannot be answered is counted."""
        try:
            want, spans = self._decode(levels, payload)
        except MessageError as error:
            logger.debug("%s: %s", device, error)
            return self._no_answer("malformed")
        with self._lock:
            source = self._source(want.sha256, device)
            if source is None:
                return self._no_answer("unknown")
            size_bytes = sum(stop - start for start, stop in spans)
            if not self._limiter.allows(device, self._clock.monotonic_s(), size_bytes):
                return self._no_answer("limited")
        try:
            blocks = _read(source, spans)
        except OSError as error:
            logger.error("%s cannot be read for %s: %s", source, device, error)
            return self._no_answer("unreadable")
        self.counters.update(wants=1, blocks=len(blocks), bytes=sum(map(len, blocks.values())))
        return [(topics.block(device, want.sha256, start), data) for start, data in blocks.items()]

    def add_model(self, model: RegisteredModel) -> None:
        """Let devices pull a model's files."""
        with self._lock:
            self._index(model)

    def add_metadata(self, files: Mapping[str, bytes]) -> None:
        """Let devices pull signed metadata: by SHA-256, all that an offer names. The last KEPT_GENERATIONS are kept."""
        with self._lock:
            if files not in self._metadata[:1]:
                self._metadata = [files, *self._metadata][:KEPT_GENERATIONS]

    def _decode(self, levels: list[str], payload: bytes) -> tuple[Want, list[tuple[int, int]]]:
        """A request, and the first blocks of what it wants. Raises: MessageError."""
        want = messages.decode(Want, payload)
        if levels != ["up", "want"] or want.block_bytes < MIN_BLOCK_BYTES:
            raise MessageError("Want: not a request for blocks.")
        parts = Ranges.of(want.ranges[:MAX_BLOCKS]).parts(min(want.block_bytes, self._max_block_bytes))
        return want, list(islice(parts, MAX_BLOCKS))

    def _source(self, sha256: str, device: str) -> Path | bytes | None:
        for files in self._metadata:
            if sha256 in files:
                return files[sha256]
        if sha256 not in self._files and self._may_look():
            for model in self._registry.list():
                self._index(model)
        return self._files.get(sha256) if device in self._only.get(sha256, {device}) else None

    def _may_look(self) -> bool:
        now_s = self._clock.monotonic_s()
        if self._looked_at_s is not None and now_s - self._looked_at_s < LOOK_AGAIN_S:
            return False
        self._looked_at_s = now_s
        return True

    def _index(self, model: RegisteredModel) -> None:
        if model.version in self._indexed:
            return
        folder = model.bundle_folder
        try:
            manifest, whose = bundle.read_manifest(folder), wearers.of(model)
        except (BundleError, MessageError) as error:
            logger.error("Model %s cannot be sent to devices: %s", model.version, error)
            return
        self._indexed.add(model.version)
        files = {model.manifest_sha256: folder / bundle.MANIFEST_NAME}
        # Of a wearer's version all else is the champion's, and found there when its own folder is deleted.
        wanted = [entry for entry in manifest.files if whose is None or entry.path in wearers.PRIVATE]
        files |= {entry.sha256: folder / entry.path for entry in wanted}
        if whose is not None:
            self._only |= dict.fromkeys(files, frozenset(whose.devices))
        self._files = {**files, **self._files}

    def _no_answer(self, counter: str) -> list[Reply]:
        self.counters[counter] += 1
        return []


def _read(source: Path | bytes, spans: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    """Offset → bytes, without those past the end. Raises: OSError."""
    blocks = {}
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        for start, stop in spans:
            file.seek(start)
            blocks[start] = file.read(stop - start)
    return {start: data for start, data in blocks.items() if data}
