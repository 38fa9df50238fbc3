"""Seals what was flagged into the outbox, on a thread of its own: an SD card may take a second for one fsync.

Promises: order is kept. A full or failing disk is announced once when it begins and once when it is over; what could
not be sealed is held in memory and tried again. The outbox is held to its size. On a full disk it evicts for what is
new: first what the server has, then what is less important than the new, least and oldest first. What is given up is
announced, counted, and named in the outbox's lost.jsonl as soon as the disk takes that. Guidance never waits.
"""

from __future__ import annotations

import errno
import logging
import queue
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from device.outbox.folder import importance
from device.outbox.outbox import Pruned
from shared import erasure
from shared.background import Background
from shared.errors import MessageError
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord, HelpRecord, Record, id_of

logger = logging.getLogger(__name__)

STORAGE_FULL = "Storage full."
STORAGE_FAILED = "Storage failed."
STORAGE_BACK = "Storage is working again."
STORAGE_LOST = "Storage full. Old moments were dropped."
NOT_ERASED_YET = "Not erased yet."
HELP_WAITS = "The call for help waits for the storage."
STORAGE_TEXTS = (NOT_ERASED_YET, HELP_WAITS, STORAGE_FULL, STORAGE_FAILED, STORAGE_BACK, STORAGE_LOST)
MOST_HELD = 64  # chunks of up to 1 MB, most 0.3: what a board of 1 GB can spare while its disk takes nothing
RECORD_BYTES = 4096
RETRY_S = 10.0
DRAIN_S = 30.0


class OutboxPort(Protocol):
    """What is used of device.outbox.outbox.Outbox; tests put a failing disk in its place."""

    def seal_chunk(self, record: ChunkRecord, payloads: Mapping[str, bytes]) -> ChunkRecord: ...
    def seal_correction(self, record: CorrectionRecord, wav: bytes) -> CorrectionRecord: ...
    def seal_erase(self, record: EraseRecord) -> EraseRecord: ...
    def seal_help(self, record: HelpRecord) -> HelpRecord: ...
    def forget_merged(self) -> tuple[str, ...]: ...
    def prune(self, limit_bytes: int) -> Pruned: ...
    def evict(self, need_bytes: int, importance: int) -> Pruned: ...
    def note_lost(self, record_ids: Iterable[str], why: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Parcel:
    """A record with its files; with EraseRecord, what is to be erased instead."""

    record: Record
    payloads: Mapping[str, bytes]
    say: str = ""
    """What the wearer hears once it is durable, each time."""

    @property
    def name(self) -> str:
        return id_of(self.record)

    @property
    def size_bytes(self) -> int:
        """Room that it needs; without files, that of its record."""
        return sum(map(len, self.payloads.values())) or RECORD_BYTES


def least(held: Iterable[Parcel]) -> Parcel:
    """The one to give up first: the least important, and of those the oldest; what is to be erased last of all."""
    return max(held, key=lambda parcel: (importance(parcel.record), not isinstance(parcel.record, EraseRecord)))


def _is_covered(wish: EraseRecord, record: Record) -> bool:
    return isinstance(record, ChunkRecord | CorrectionRecord) and erasure.covers(wish, record)


class Sealer:
    """announce(text): a change of state. answer(text): what the wearer asked for is done, or is not done yet.
    sealed(parcel): it is durable now. limit_bytes: of the whole outbox.
    check: raises OSError while the disk takes nothing; asked after `fail`, where nothing waits that could be tried."""

    def __init__(
        self,
        outbox: OutboxPort,
        *,
        announce: Callable[[str], None],
        answer: Callable[[str], None],
        sealed: Callable[[Parcel], None],
        limit_bytes: int,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.lost = 0
        """Flagged records that could not be stored."""
        self.trouble: str | None = None
        """Why nothing can be stored; None = all is well."""
        self._outbox = outbox
        self._limit_bytes = limit_bytes
        self._announce = announce
        self._answer = answer
        self._sealed = sealed
        self._check = check
        self._parcels: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        self._held: deque[Parcel] = deque()
        self._unnamed: list[tuple[str, str]] = []  # lost, and not in the outbox's list of what is lost yet: name, why
        self._lost_before = 0
        """Lost when the trouble began: one line in the log says how many went in it, and not a line for each."""
        self._work = Background(self._run, name="sealer", restart_s=RETRY_S, wake=lambda: self._parcels.put(None))

    def start(self) -> None:
        self._work.start()

    def fail(self, error: OSError) -> None:
        """The outbox could not be opened: announced before there is anything to seal. Before `start`."""
        self._failed("The outbox cannot be opened", error)

    def store(self, parcel: Parcel) -> None:
        """Seal it soon; returns at once."""
        self._parcels.put(parcel)

    def close(self) -> None:
        """Seal what is left, give up what cannot be. May be called again."""
        if not self._work.close(DRAIN_S):
            logger.error("The disk did not answer within %s s; flagged chunks may be lost.", DRAIN_S)

    @property
    def held(self) -> int:
        """Records in memory that the disk did not take yet."""
        return len(self._held)

    def _run(self) -> None:
        while True:
            try:
                parcel = self._parcels.get(timeout=RETRY_S)
            except queue.Empty:
                self._seal_held()
                self._look_again()
                continue
            if parcel is None:
                self._finish()
                return
            self._hold(parcel)
            self._seal_held()
            if parcel.say and parcel in self._held:
                self._answer(HELP_WAITS if isinstance(parcel.record, HelpRecord) else NOT_ERASED_YET)
            self._give_up_above(MOST_HELD)

    def _finish(self) -> None:
        self._seal_held()
        self._give_up_above(0)
        if self._unnamed:
            logger.error("Lost, and not named on the disk: %s", ", ".join(name for name, _ in self._unnamed))

    def _give_up_above(self, most: int) -> None:
        while len(self._held) > most:
            self._give_up(least(self._held))
        self._name_lost()

    def _hold(self, parcel: Parcel) -> None:
        """What is to be erased, and is not on disk yet, never gets there."""
        if isinstance(parcel.record, EraseRecord):
            wish = parcel.record
            covered = [held for held in self._held if _is_covered(wish, held.record)]
            for held in covered:
                self._held.remove(held)
        self._held.append(parcel)

    def _seal_held(self) -> None:
        while self._held and self._seal(self._held[0]):
            self._held.popleft()

    def _look_again(self) -> None:
        if self.trouble and not self._held:
            try:
                self._check()
            except OSError:
                return
            self._end_trouble()

    def _failed(self, what: str, error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        self._begin_trouble(STORAGE_FULL if full else STORAGE_FAILED, f"{what}: {error}")

    def _seal(self, parcel: Parcel) -> bool:
        """Whether it is dealt with."""
        try:
            record = self._try_twice(parcel)
        except OSError as error:
            self._failed(f"{parcel.name} could not be kept", error)
            return False
        except MessageError as error:
            logger.exception("%s cannot be sent and is not kept", parcel.name)
            self.lost += 1
            self._unnamed.append((parcel.name, f"it could not be sent: {error}"))
            return True
        except Exception as error:  # a fault in there must not end the thread that keeps all later moments
            logger.debug("%s could not be kept", parcel.name, exc_info=True)
            self._begin_trouble(STORAGE_FAILED, f"{parcel.name} could not be kept: {error!r}")
            return False
        self._end_trouble()
        self._report_sealed(replace(parcel, record=record))
        if parcel.say:
            self._answer(parcel.say)
        self._make_room()
        return True

    def _report_sealed(self, parcel: Parcel) -> None:
        try:
            self._sealed(parcel)
        except Exception:
            logger.exception("What is done once %s is kept has failed", parcel.name)

    def _make_room(self) -> None:
        try:
            self._report_dropped(self._outbox.prune(self._limit_bytes))
        except OSError as error:
            logger.error("Old records could not be deleted: %s", error)

    def _report_dropped(self, pruned: Pruned) -> bool:
        if pruned.lost:
            logger.error("Dropped unsent to make room: %s", ", ".join(pruned.lost))
            self.lost += len(pruned.lost)
            self._announce(STORAGE_LOST)
        return bool(pruned.lost)

    def _try_twice(self, parcel: Parcel) -> Record:
        """What the server already has, and then what matters less, gives way before a new chunk is turned down."""
        try:
            return self._put(parcel)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._make_way(parcel):
                raise
            return self._put(parcel)

    def _make_way(self, parcel: Parcel) -> bool:
        if self._outbox.forget_merged():
            return True
        return self._report_dropped(self._outbox.evict(parcel.size_bytes, importance(parcel.record)))

    def _put(self, parcel: Parcel) -> Record:
        """Seal it. Returns the record as it was stored."""
        match parcel.record:
            case ChunkRecord():
                return self._outbox.seal_chunk(parcel.record, parcel.payloads)
            case CorrectionRecord():
                return self._outbox.seal_correction(parcel.record, parcel.payloads["correction_audio"])
            case EraseRecord():
                return self._outbox.seal_erase(parcel.record)
            case HelpRecord():
                return self._outbox.seal_help(parcel.record)
            case _:
                assert_never(parcel.record)

    def _begin_trouble(self, text: str, why: str) -> None:
        if self.trouble == text:
            return
        logger.error("%s", why)
        if self.trouble is None:
            self._lost_before = self.lost
        self.trouble = text
        self._announce(text)

    def _end_trouble(self) -> None:
        if self.trouble:
            logger.warning("The storage works again; %d records were lost meanwhile.", self.lost - self._lost_before)
            self.trouble = None
            self._announce(STORAGE_BACK)

    def _give_up(self, parcel: Parcel) -> None:
        why = self.trouble or "the agent stopped"
        first = self.lost == self._lost_before
        logger.log(logging.ERROR if first else logging.DEBUG, "%s is lost: %s", parcel.name, why)
        self._held.remove(parcel)
        self.lost += 1
        self._unnamed.append((parcel.name, f"the disk did not take it: {why}"))

    def _name_lost(self) -> None:
        """A disk that has no room for a chunk often has some for its name; else it is tried again."""
        while self._unnamed:
            name, why = self._unnamed[0]
            try:
                self._outbox.note_lost([name], why)
            except OSError as error:
                logger.debug("That %s is lost could not be written down: %s", name, error)
                return
            self._unnamed.pop(0)
