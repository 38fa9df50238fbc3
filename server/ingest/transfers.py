"""Files on their way in: announced, written, made durable, verified, and handed over to be merged.

`handle` only writes bytes; a settlement (server.ingest.settlement) makes a whole batch of files durable at once.
shared.transfer decides what each message means.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import assert_never

from sqlalchemy.exc import SQLAlchemyError

from server.dataset.came import Came, FileCame, Merged, together
from server.ingest import decode, limits
from server.ingest.arrival import Arrival, TransferId
from server.ingest.arrivals import Arrivals, Verdict
from server.ingest.limits import DeviceLoad, LimitsSettings
from server.ingest.replies import Replies
from server.ingest.settlement import Settlement
from server.ingest.unpacking import WholeContainer, clear
from shared import container, messages, receiving
from shared.errors import MessageError
from shared.messages import Ack, Begin, Part
from shared.receiving import ReceiverEvent, receive_step
from shared.topics import Reply
from shared.transfer import WINDOW_BYTES

CLEARING_EVERY_S = 3600.0
MAX_HASH_TRIES = 3  # then the device's own copy is damaged, and sending it again changes nothing
MAX_HASH_FAILURES = 1000
MAX_FORGOTTEN = 10_000
MAX_HELD_BYTES = 64 * 1024 * 1024  # of containers in memory; the broker has at most some 100 messages under way
MAX_REMEMBERED = 20_000  # six minutes of a thousand devices at a chunk a minute; answers are late by seconds
logger = logging.getLogger(__name__)

FindParts = Callable[[Sequence[tuple[str, str, Part]]], list[bool]]
"""Which of (device, record id, part) were merged before with these very bytes."""


class Transfers:
    """All files on their way in. One thread."""

    def __init__(self, arrivals: Arrivals, replies: Replies, settings: LimitsSettings, find_parts: FindParts) -> None:
        self._arrivals, self._replies, self._limits, self._find_parts = arrivals, replies, settings, find_parts
        self._counts = replies.counts
        self._clock = arrivals.clock
        self._unsettled: dict[TransferId, Arrival] = {}
        self._new: dict[TransferId, Arrival] = {}
        """Begun in this batch: whether they were merged before is asked once for all."""
        self._complete: dict[TransferId, Arrival] = {}
        """Every byte came: to be verified and merged."""
        self._containers: dict[TransferId, WholeContainer] = {}
        """Containers that came in one message: in memory until they are merged."""
        self._answered_unknown: set[TransferId] = set()
        """In this batch, as the next."""
        self._answered_merged: set[TransferId] = set()
        self._unwritten: set[TransferId] = set()
        """Answered paused in this batch: the disk did not take a part of them. What came behind it is not answered, for
        older devices would take that for the end of the pause."""
        self._forgotten: set[TransferId] = set()
        """Answered unknown, also in earlier batches, and not begun again."""
        self._merged: dict[TransferId, str] = {}
        """The hash of what came and was merged lately, the longest ago in front: its device may ask once more."""
        self._hash_failures: Counter[TransferId] = Counter()
        self._key = secrets.token_hex(4)
        self._free: int | None = None
        self._next_clearing_s = 0.0
        self.settlement: Settlement | None = None
        """The one that has begun and is not finished."""

    @property
    def waits(self) -> bool:
        """Whether a file waits for a process whose lease has ended."""
        return bool(self._complete)

    def load(self, device: str) -> DeviceLoad:
        """What counts against a device's next file."""
        return DeviceLoad(
            open_bytes=self._arrivals.load_of(device)[1],
            bytes_today=self._counts.today(device, "received_bytes"),
            free_bytes=self._free_bytes(),
        )

    def _free_bytes(self) -> int:
        """Of the disk, looked up once for a batch."""
        if self._free is None:
            self._free = shutil.disk_usage(self._arrivals.folder).free
        return self._free

    def handle(self, device: str, name: str, verb: str, payload: bytes) -> list[Reply]:
        """Take a message on up/<name>/<verb> in. Raises: OSError."""
        if verb == "begin":
            return self._begin(device, name, payload)
        event = decode.transfer_event(verb, payload)
        arrival = self._arrivals.get(device, name)
        if event is None:
            known = arrival is not None
            return self._replies.ignored(device) if known else self._replies.foreign(device, ["up", name, verb])
        if arrival is not None:
            return self._advance(arrival, event, payload)
        if container.is_name(name):
            return self._container(device, name, verb, payload)
        if (device, name) in self._merged:
            return self._merged_before(device, name)
        return self._unknown((device, name))

    def begin(self) -> list[Reply]:
        """Before a settlement: what was begun since the last one and was merged long ago need not come again. Then take
        `partial` and `whole`; in the end call `finish`."""
        new, self._new = list(self._new.values()), {}
        queries = [(arrival.device, arrival.begin.record_id, arrival.begin.part) for arrival in new]
        try:
            merged = self._find_parts(queries) if queries else []
        except (OSError, SQLAlchemyError) as error:  # then they come once more
            logger.error("Whether files were merged before could not be looked up: %s", error)
            return []
        replies: list[Reply] = []
        for arrival, was_merged in zip(new, merged, strict=True):
            if was_merged:
                self._drop(arrival)
                replies += self._replies.merged(*arrival.id, counted_as="repeated")
        return replies

    def partial(self) -> list[Arrival]:
        """Files of which something is to be made durable or to be answered, and which are not whole."""
        partial = [arrival for transfer_id, arrival in self._unsettled.items() if transfer_id not in self._complete]
        self._unsettled.clear()
        for arrival in partial:
            arrival.state, _ = receive_step(arrival.state, receiving.SyncBegan())
        return partial

    def whole(self) -> list[Arrival]:
        """Files of which every byte came. No message about them changes anything until the settlement ends."""
        whole, self._complete = list(self._complete.values()), {}
        return whole

    def containers(self) -> list[WholeContainer]:
        """Containers that came in one message since the last time."""
        containers, self._containers = list(self._containers.values()), {}
        return containers

    def finish(self, settlement: Settlement) -> list[Reply]:
        """Answers about what was not merged. Those that were: `merged`, `refused`."""
        replies: list[Reply] = []
        for arrival, error in zip(settlement.partial, settlement.errors, strict=True):
            if self._arrivals.holds(arrival):
                replies += self._synced(arrival, error)
        for arrival, verdict in zip(settlement.whole, settlement.verdicts, strict=True):
            if self._arrivals.holds(arrival):
                replies += self._judged(arrival, verdict)
        return replies

    def _synced(self, arrival: Arrival, error: OSError | None) -> list[Reply]:
        """Answer about a file that is not whole yet."""
        if error is not None:
            # It stays open: the next sync must be for these bytes, too.
            arrival.state, _ = receive_step(arrival.state, receiving.SyncFailed())
            return self._failed(arrival, error)
        replies = self._answer(arrival)
        if arrival.state.written == arrival.state.durable:  # else what came meanwhile is synced by this descriptor
            arrival.close()
        return replies

    def _failed(self, arrival: Arrival, error: OSError) -> list[Reply]:
        """It could not be made durable. Where another process has ended or begun it meanwhile, it is begun again."""
        if isinstance(error, FileExistsError | FileNotFoundError):
            self._forget(arrival)
            return self._unknown(arrival.id)
        self._replies.failed(arrival.device, arrival.name, error)
        return []

    def _judged(self, arrival: Arrival, verdict: Verdict | OSError) -> list[Reply]:
        """Answer about a whole file that cannot be merged, or not now."""
        match verdict:
            case Verdict.MATCHES | Verdict.MOVED:
                pass
            case Verdict.LOCKED:
                self._complete[arrival.id] = arrival
            case Verdict.FINISHED:
                self._forget(arrival)
            case Verdict.MISMATCH:
                return self._hash_mismatch(arrival)
            case OSError():
                replies = self._failed(arrival, verdict)
                return [*replies, *self._not_merged(arrival)] if self._arrivals.holds(arrival) else replies
            case _:
                assert_never(verdict)
        return []

    def merged(
        self, one: Arrival | WholeContainer, came: Sequence[Came], outcomes: Sequence[Merged | None]
    ) -> list[Reply]:
        """Answer about a verified file or container by what became of what is in it. None = it could not be merged
        now."""
        outcome = together(outcomes)
        if outcome is None or outcome.state != "merged":
            self._clear(one, came)
        if outcome is None:
            return self.not_merged(one)
        if isinstance(one, Arrival):
            self._drop(one)
        if outcome.state == "gone":
            logger.warning("The bytes of %s are gone; its device sends them again.", one.name)
            return self._unknown(one.id)
        if outcome.state == "refused":
            return self._replies.refused(*one.id, outcome.reason)
        return self._are_merged(one, came, outcomes)

    def _are_merged(
        self, one: Arrival | WholeContainer, came: Sequence[Came], outcomes: Sequence[Merged | None]
    ) -> list[Reply]:
        self._remember(one)
        for each in came if container.is_name(one.name) else ():
            if isinstance(each, FileCame):
                self.give_up(one.device, f"{each.record_id}.{each.part.kind}")
        *names, last = [self._counted(*each) for each in zip(came, outcomes, strict=True)]
        for name in names:
            self._counts.add(one.device, name)
        return self._replies.merged(*one.id, counted_as=last)

    def _counted(self, came: Came, outcome: Merged | None) -> str:
        """What a thing that was merged counts as."""
        assert outcome is not None
        if outcome.declined:
            return "declined"
        if not outcome.new:
            return "repeated"
        if isinstance(came, FileCame):
            self._counts.add(came.device, "bytes", came.part.size_bytes)
            return "parts"
        return "records"

    def _clear(self, one: Arrival | WholeContainer, came: Sequence[Came]) -> None:
        """Delete what was made of a container that is not merged. Of a file, what arrived is handed over itself."""
        if not container.is_name(one.name):
            return
        try:
            clear(came)
        except OSError as error:
            self._replies.failed(one.device, one.name, error)

    def not_merged(self, one: Arrival | WholeContainer) -> list[Reply]:
        """Keep an arrival and answer with its durable ranges; the device repeats `end`. Of a container in memory
        nothing is said: the device asks, and sends it again."""
        return self._not_merged(one) if isinstance(one, Arrival) else []

    def refused(self, one: Arrival | WholeContainer, reason: str) -> list[Reply]:
        """Answer about a verified file or container that cannot be used."""
        return self._refuse(one, reason) if isinstance(one, Arrival) else self._replies.refused(*one.id, reason)

    def give_up(self, device: str, name: str) -> None:
        """What has arrived of this is not wanted any more: a record came by itself and not in its container, or a file
        in a container and not by itself."""
        arrival = self._arrivals.get(device, name)
        if arrival is not None:
            self._drop(arrival)

    def drop_erased(self, device: str, record_ids: Collection[str]) -> None:
        """What has arrived so far of files of erased records is deleted."""
        for arrival in [one for one in self._arrivals.of(device) if one.begin.record_id in record_ids]:
            self._drop(arrival, whosever=True)

    def leave(self, mine: Callable[[str], bool]) -> None:
        """Another process goes on with what has arrived of these devices' files, and is sent their containers again."""
        for device in filter(mine, self._arrivals.devices):
            for arrival in list(self._arrivals.of(device)):
                self._forget(arrival)
        self._containers = {own: one for own, one in self._containers.items() if not mine(one.device)}

    def end_batch(self) -> None:
        """Delete files of which nothing came for long."""
        self._free = None
        self._answered_unknown.clear()
        self._answered_merged.clear()
        self._unwritten.clear()
        now_s, hours = self._clock.monotonic_s(), self._limits.abandoned_hours
        if now_s < self._next_clearing_s or not hours:
            return
        self._next_clearing_s = now_s + CLEARING_EVERY_S
        for arrival in self._arrivals.silent_since(now_s - hours * 3600.0):
            self._evict(arrival, f"nothing came for {hours} hours")

    # --- one message

    def _begin(self, device: str, name: str, payload: bytes) -> list[Reply]:
        arrival = self._arrivals.get(device, name)
        try:
            begin = messages.decode(Begin, payload)
        except MessageError as error:
            return self._replies.ignored(device) if arrival else self._replies.refused(device, name, str(error))
        problem = decode.contradiction(begin, device, name) or limits.refusal(begin.part.size_bytes, self._limits)
        if problem:
            return self._replies.refused(device, name, problem)
        if arrival is None:
            large = begin.part.size_bytes > WINDOW_BYTES  # what is smaller is sent with its beginning anyway
            if large and self._merged.get((device, name)) == begin.part.sha256:
                return self._merged_before(device, name)
            self._make_room(device)
            if reason := limits.pause(begin.part.size_bytes, self.load(device), self._limits):
                return self._replies.paused(device, name, reason)
            arrival = self._add(device, name, begin)
        if arrival.begin.part != begin.part:
            return self._replies.refused(device, name, "another file of this name is on its way")
        return self._advance(arrival, receiving.BeginCame(), b"")

    def _add(self, device: str, name: str, begin: Begin) -> Arrival:
        arrival = self._arrivals.add(device, name, begin)
        # Less than a window is sent with its beginning anyway, unless the device has asked first and now waits.
        if begin.part.size_bytes > WINDOW_BYTES or arrival.id in self._forgotten:
            self._new[arrival.id] = arrival
        self._merged.pop(arrival.id, None)
        self._forgotten.discard(arrival.id)
        self._answered_unknown.discard(arrival.id)
        return arrival

    def _remember(self, one: Arrival | WholeContainer) -> None:
        self._merged.pop(one.id, None)
        self._merged[one.id] = one.digest if isinstance(one, WholeContainer) else one.begin.part.sha256
        if len(self._merged) > MAX_REMEMBERED:
            del self._merged[next(iter(self._merged))]

    def _merged_before(self, device: str, name: str) -> list[Reply]:
        """A message about a file that was merged lately: once in a batch, eight parts of it may be on their way."""
        if (device, name) in self._answered_merged:
            return []
        self._answered_merged.add((device, name))
        return self._replies.merged(device, name, counted_as="repeated")

    def _make_room(self, device: str) -> None:
        """Evict the longest silent files of a device that has too many; should it come back to one, it begins again."""
        excess = self._arrivals.load_of(device)[0] - self._limits.open_files + 1
        if excess > 0 and self._limits.open_files:
            for arrival in [one for one in self._arrivals.of(device) if not self._under_work(one)][:excess]:
                self._evict(arrival, "too many unfinished files")

    def _advance(self, arrival: Arrival, event: ReceiverEvent, payload: bytes) -> list[Reply]:
        if self._is_being_merged(arrival) or arrival.id in self._unwritten:
            return []
        state, actions = receive_step(arrival.state, event)
        for action in actions:
            match action:
                case receiving.Write():
                    assert isinstance(event, receiving.PartCame)
                    if (why_not := self._write(arrival, event.offset, payload)) is not None:
                        return why_not
                case receiving.Verify():
                    self._complete[arrival.id] = arrival
                case receiving.Refuse(reason=reason):
                    return self._refuse(arrival, reason)
                case receiving.SendAck():
                    raise AssertionError("only Synced is answered here")  # pragma: no cover
                case _:
                    assert_never(action)
        if arrival.too_scattered:
            return self._refuse(arrival, "it came in too many small pieces")
        arrival.state = state
        if state.dirty:
            self._unsettled[arrival.id] = arrival
        return []

    def _write(self, arrival: Arrival, offset: int, payload: bytes) -> list[Reply] | None:
        """None = it is written; else what to answer."""
        try:
            if arrival.write(offset, payload):
                return None
        except OSError as error:
            self._unwritten.add(arrival.id)
            self._replies.failed(arrival.device, arrival.name, error)
            return self._replies.paused(*arrival.id, "the server could not write it")
        self._unsettled[arrival.id] = arrival  # the settlement finds whether it is gone
        return []

    def _is_held(self, transfer_id: TransferId) -> bool:
        """Whether a container in memory waits to be merged: the end of that is the answer."""
        return transfer_id in self._containers or (
            self.settlement is not None and transfer_id in self.settlement.whole_ids
        )

    def _container(self, device: str, name: str, verb: str, payload: bytes) -> list[Reply]:
        """A message about a container that is not on its way in parts. One that came whole is kept in memory: its files
        are written when it is taken apart."""
        key, merged = (device, name), self._merged.get((device, name))
        if self._is_held(key):
            return []
        if verb != "0" or not container.is_complete(payload):
            return self._unknown(key) if merged is None else self._merged_before(device, name)
        if merged == container.digest(payload[: container.head_bytes(payload)]):
            return self._merged_before(device, name)
        reason = limits.pause(len(payload), self.load(device), self._limits)
        if sum(len(one.data) for one in self._containers.values()) + len(payload) > MAX_HELD_BYTES:
            reason = "too much came at once"
        if reason:
            return self._replies.paused(device, name, reason)
        # A name of its own: a process that has lost its devices without knowing may be at the same container.
        stem = self._arrivals.folder / device / f"{name}.{self._key}"
        self._containers[key] = WholeContainer(device, name, payload, stem)
        return []

    def _refuse(self, arrival: Arrival, reason: str) -> list[Reply]:
        self._drop(arrival)
        return self._replies.refused(*arrival.id, reason)

    def _unknown(self, transfer_id: TransferId) -> list[Reply]:
        """Answer that the file must be begun again: once in a batch, eight parts of it may be on their way."""
        self._counts.add(transfer_id[0], "unknown")
        if transfer_id in self._answered_unknown:
            return []
        self._answered_unknown.add(transfer_id)
        if len(self._forgotten) >= MAX_FORGOTTEN:
            self._forgotten.clear()
        self._forgotten.add(transfer_id)
        return [self._replies.reply(*transfer_id, Ack("unknown"))]

    # --- a batch

    def _answer(self, arrival: Arrival) -> list[Reply]:
        arrival.state, actions = receive_step(arrival.state, receiving.Synced())
        acks = [action.ack for action in actions if isinstance(action, receiving.SendAck)]
        return [self._replies.reply(*arrival.id, ack) for ack in acks]

    def _not_merged(self, arrival: Arrival) -> list[Reply]:
        """Keep the arrival and answer with its durable ranges; the device repeats `end`."""
        ((error,), _) = self._arrivals.settle([arrival])
        arrival.close()
        return [] if error is not None else self._answer(arrival)

    def _hash_mismatch(self, arrival: Arrival) -> list[Reply]:
        """Have the device send the file again, or refuse it after MAX_HASH_TRIES."""
        self._drop(arrival)
        transfer_id = arrival.id
        if arrival.disturbed:
            logger.warning("Another process wrote into %s of %s; once more.", arrival.name, arrival.device)
            return self._unknown(transfer_id)
        if len(self._hash_failures) > MAX_HASH_FAILURES:
            self._hash_failures.clear()
        self._hash_failures[transfer_id] += 1
        self._counts.add(arrival.device, "wrong_hash")
        if self._hash_failures[transfer_id] < MAX_HASH_TRIES:
            logger.warning("%s of %s arrived with other bytes than announced; once more.", arrival.name, arrival.device)
            return self._unknown(transfer_id)
        del self._hash_failures[transfer_id]
        reason = "its bytes are not those that were announced: the device's copy is damaged"
        return self._replies.refused(*transfer_id, reason)

    def _evict(self, arrival: Arrival, why: str) -> None:
        logger.warning("%s of %s is given up: %s.", arrival.name, arrival.device, why)
        self._counts.add(arrival.device, "abandoned")
        self._drop(arrival)

    def _is_being_merged(self, arrival: Arrival) -> bool:
        """Whether a settlement has all of it: its end is the answer to whatever comes about it."""
        return self.settlement is not None and arrival.id in self.settlement.whole_ids

    def _under_work(self, arrival: Arrival) -> bool:
        return self.settlement is not None and arrival.id in self.settlement.ids

    def _drop(self, arrival: Arrival, *, whosever: bool = False) -> None:
        if self.settlement is not None and self._under_work(arrival):
            self.settlement.done.wait()
        try:
            self._arrivals.drop(arrival, whosever=whosever)
        except OSError as error:
            self._counts.add(arrival.device, "errors")
            logger.error("%s cannot be deleted: %s", arrival.data, error)
        self._forget(arrival)

    def _forget(self, arrival: Arrival) -> None:
        for pending in (self._unsettled, self._new, self._complete):
            pending.pop(arrival.id, None)
        self._arrivals.forget(arrival)
