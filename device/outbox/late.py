"""The outbox of an agent whose disk may not take it yet: read-only, not mounted, or broken.

Promise: nothing here keeps the agent from starting. Until the folder can be opened there is nothing to send, and
sealing raises OSError, so that the sealer holds what was flagged in memory; each such call tries to open it again.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from device.outbox.outbox import Counts, Outbox, OutboxItem, Pruned, Recovery
from shared.errors import InUse
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord, HelpRecord


class LateOutbox:
    """Used as an Outbox is. Any thread. trouble: why it is not open; None = it is.

    raises: InUse where another process has the folder open
    """

    def __init__(self, folder: Path, *, key: X25519PublicKey | None = None) -> None:
        """key: as an Outbox takes it."""
        self._folder = folder
        self._key = key
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.on_help: Callable[[str, bool], None] = lambda record_id, taken: None
        """As an Outbox calls it."""
        self._box: Outbox | None = None
        self._closed = False
        self.trouble: OSError | None = None
        try:
            self.check()
        except OSError as error:
            self.trouble = error

    def check(self) -> Outbox:
        """The outbox, opened now where it was not. Raises: OSError; InUse where it never was tried before."""
        with self._lock:
            if self._box is None:
                if self._closed:
                    raise OSError("the outbox is closed")
                self._box = self._opened()
                self.trouble = None
                self._box.on_help = lambda record_id, taken: self.on_help(record_id, taken)
                for listener in self._listeners:
                    self._box.on_change(listener)
            return self._box

    def use_key(self, key: X25519PublicKey | None) -> None:
        """Encrypt to this key from now on."""
        with self._lock:
            self._key = key
            if self._box is not None:
                self._box.use_key(key)

    def _opened(self) -> Outbox:
        try:
            return Outbox(self._folder, key=self._key)
        except InUse as error:
            if self.trouble is None:
                raise
            raise OSError(errno.EBUSY, str(error)) from error  # a walk goes on: what is flagged waits in memory

    @property
    def recovered(self) -> Recovery:
        return Recovery() if self._box is None else self._box.recovered

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._box is not None:
                self._box.close()

    def on_change(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners.append(listener)
            if self._box is not None:
                self._box.on_change(listener)

    # sealing: tries to open

    def seal_chunk(self, record: ChunkRecord, payloads: Mapping[str, bytes]) -> ChunkRecord:
        return self.check().seal_chunk(record, payloads)

    def seal_correction(self, record: CorrectionRecord, wav: bytes) -> CorrectionRecord:
        return self.check().seal_correction(record, wav)

    def hold(self, record_id: str) -> None:
        """As an Outbox does, and as quickly; while it is not open nothing is held."""
        if self._box is not None:
            self._box.hold(record_id)

    def let_go(self, record_id: str, heard: CorrectionRecord | None = None) -> None:
        if self._box is not None:
            self._box.let_go(record_id, heard)

    def seal_erase(self, record: EraseRecord) -> EraseRecord:
        return self.check().seal_erase(record)

    def seal_help(self, record: HelpRecord) -> HelpRecord:
        return self.check().seal_help(record)

    def note_lost(self, record_ids: Iterable[str], why: str) -> None:
        self.check().note_lost(record_ids, why)

    # sending and room: nothing is there before it is open

    def claim(self, count: int, *, bulk: bool = False) -> list[OutboxItem]:
        return [] if self._box is None else self._box.claim(count, bulk=bulk)

    def claim_whole(self, count: int, *, clips: bool) -> list[OutboxItem]:
        return [] if self._box is None else self._box.claim_whole(count, clips=clips)

    def apart(self, item: OutboxItem) -> None:
        if self._box is not None:
            self._box.apart(item)

    def release(self, items: Iterable[OutboxItem]) -> None:
        if self._box is not None:
            self._box.release(items)

    def merged(self, items: Iterable[OutboxItem]) -> None:
        if self._box is not None:
            self._box.merged(items)

    def refused(self, item: OutboxItem, reason: str) -> None:
        if self._box is not None:
            self._box.refused(item, reason)

    def forget_merged(self) -> tuple[str, ...]:
        return () if self._box is None else self._box.forget_merged()

    def retry_requested(self) -> None:
        if self._box is not None:
            self._box.retry_requested()

    def counts(self) -> Counts:
        return Counts() if self._box is None else self._box.counts()

    def prune(self, limit_bytes: int) -> Pruned:
        return Pruned() if self._box is None else self._box.prune(limit_bytes)

    def evict(self, need_bytes: int, importance: int) -> Pruned:
        return Pruned() if self._box is None else self._box.evict(need_bytes, importance)
