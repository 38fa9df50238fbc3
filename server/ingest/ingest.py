"""Takes in what devices send and answers it: the only code that reads their messages on `up/`.

    up/event            a record or telemetry   → merged | refused
    up/<t>/begin        a file is announced     → receiving (with ranges) | merged | refused | paused
    up/<t>/<offset>     its bytes               → receiving, once they are durable
    up/<t>/ask          what do you have?       → receiving | unknown
    up/<t>/end          that was all            → merged | refused | receiving (with what is there) | unknown

Promises:

1. `receiving` names only ranges that survive a power cut; `merged` is said only after Merge said so.
2. Every message may come any number of times, in any order, before and after any restart, and, where several workers
   share the devices' messages (`shared`), in any of them.
3. Anything that is not ours is counted and, where it names a record or transfer, refused. It raises nothing.
4. When this machine fails (disk full, database away) nothing is answered; the device asks again later.
5. No device gets more than its share (server.ingest.limits): `paused` says so, and what it keeps it may send later.

`handle` only writes bytes and collects; `settle` makes a whole batch durable at once, merges it in one transaction, and
answers. One thread. Decisions are in shared.transfer and server.ingest.limits; what workers share is in
server.ingest.coordination.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, assert_never

from server.dataset.merge import Came, FileCame, Merged, RecordCame
from server.ingest import decode as reading
from server.ingest import limits as bounds
from server.ingest.arrivals import Arrival, Incoming
from server.ingest.coordination import Questions, Strays, still_merging
from server.ingest.counters import Tally
from server.ingest.limits import LimitsSettings, Load, Pace
from shared import messages, topics
from shared.atomic import Step, no_step
from shared.clock import Clock, SystemClock
from shared.errors import MessageError
from shared.messages import PART_KINDS, Ack, Begin, Envelope, Part
from shared.transfer import (
    WINDOW_BYTES,
    BeginCame,
    PartCame,
    ReceiverEvent,
    Refuse,
    SendAck,
    Synced,
    Verify,
    Write,
    receive_step,
)

Reply = tuple[str, bytes]
"""Topic and payload to publish."""

CLEARING_EVERY_S = 3600.0
PAUSED_EVERY_S = 1.0  # a device that floods is told once a second
MAX_HASH_TRIES = 3  # then the device's own copy is damaged, and sending it again changes nothing
MOST_DOUBTED = 10_000
STEPS = ("ingest:verified", "ingest:merged", "ingest:answered")
_log = logging.getLogger(__name__)


class Merge(Protocol):
    """Where whole records and files go: server.dataset.merge.Merge."""

    def put(self, entries: Sequence[Came]) -> list[Merged]:
        """Take these in, in order; files are moved. Durable when it returns."""
        ...

    def find_parts(self, parts: Sequence[tuple[str, str, Part]]) -> list[bool]:
        """Which of (device, record id, part) were merged before with these very bytes."""
        ...


class Ingest:
    """One server's intake. incoming: folder for unfinished files. Raises: OSError where that cannot be used.

    on_telemetry(device, record_id, body): keeps a telemetry event durably; None = telemetry is refused.
    limits: what one device may ask. tally: counts by device and day; None = in memory only.
    shared: other workers take in the same devices' messages, on the same folder and database.
    clock: None = the machine's. step: called with the name of each durable step (STEPS and
    server.ingest.arrivals.STEPS) right after it.
    """

    def __init__(
        self,
        incoming: Path,
        merge: Merge,
        *,
        on_telemetry: Callable[[str, str, Mapping[str, Any]], object] | None = None,
        limits: LimitsSettings | None = None,
        tally: Tally | None = None,
        shared: bool = False,
        clock: Clock | None = None,
        step: Step = no_step,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """Since this process began, of all devices: server.ingest.counters.NAMES."""
        self._merge = merge
        self._on_telemetry = on_telemetry
        self._limits = limits or LimitsSettings()
        self._shared = shared
        self._step = step
        self._clock = clock or SystemClock()
        self._tally = tally or Tally(self._clock)
        self._incoming = Incoming(incoming, clock=self._clock, shared=shared, step=step)
        self._strays = Strays()
        self._questions = Questions()
        self._paces: dict[str, Pace] = {}
        self._told_paused_s: dict[str, float] = {}
        self._next_clearing_s = 0.0
        self._records: list[RecordCame] = []
        self._unsettled: dict[tuple[str, str], Arrival] = {}
        self._fresh: dict[tuple[str, str], Arrival] = {}
        """Begun in this batch: whether they were merged before is asked once for all."""
        self._complete: dict[tuple[str, str], Arrival] = {}
        """Every byte came: to be verified and merged."""
        self._told_unknown: set[tuple[str, str]] = set()
        self._doubted: set[tuple[str, str]] = set()  # told unknown, also in earlier batches
        self._hash_tries: Counter[tuple[str, str]] = Counter()

    @property
    def open_transfers(self) -> int:
        """How many files are on their way in."""
        return len(self._incoming)

    @property
    def waits(self) -> bool:
        """Whether something waits for another worker: `settle` is then to be called soon, also where nothing comes."""
        return bool(self._strays or self._questions or self._complete)

    def close(self) -> None:
        """Write the counts down and give everything back. Idempotent."""
        self._tally.flush(now=True)
        self._incoming.close()

    def handle(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        """Take one message in; what is not answered here is answered by the next `settle`. levels: of the topic after
        the device's name."""
        try:
            return self._route(device, levels, payload)
        except OSError as error:
            self._trouble(device, "A message", error)
            return []

    def settle(self) -> list[Reply]:
        """Make everything handled so far durable, and answer it. Call after each batch of messages."""
        replies = self._take_in_strays()
        replies += self._answer_known()
        replies += self._settle_bytes()
        replies += self._merge_whole()
        self._told_unknown.clear()
        self._clear_abandoned()
        self._tally.flush()
        self._step("ingest:answered")
        return replies

    def _route(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        if not topics.DEVICE_NAME.match(device):
            return self._foreign(device, levels)
        self._count(device, "messages")
        self._count(device, "received_bytes", len(payload))
        now_s = self._clock.monotonic_s()
        record_bytes = len(payload) if levels == ["up", "event"] else 0
        self._paces[device], fits = bounds.paced(
            self._paces.get(device), now_s, self._limits, record_bytes=record_bytes
        )
        if not fits:
            return self._too_many(device, levels, now_s)
        match levels:
            case ["up", "event"]:
                return self._event(device, payload)
            case ["up", name, verb] if topics.NAME.match(name) and name.rpartition(".")[2] in PART_KINDS:
                return self._transfer(device, name, verb, payload)
        return self._foreign(device, levels)

    def _count(self, device: str, name: str, count: int = 1) -> None:
        self.counters[name] += count
        self._tally.add(device, name, count)

    def _trouble(self, device: str, what: str, error: OSError) -> None:
        self._count(device, "errors")
        _log.error("%s of %s could not be stored and will be asked for again: %s", what, device, error)

    def _too_many(self, device: str, levels: list[str], now_s: float) -> list[Reply]:
        self._count(device, "limited")
        named = len(levels) == 3 and topics.NAME.match(levels[1])
        if not named or now_s - self._told_paused_s.get(device, -PAUSED_EVERY_S) < PAUSED_EVERY_S:
            return []
        self._told_paused_s[device] = now_s
        return self._pause(device, levels[1], f"more than {self._limits.messages_per_s} messages a second")

    def _foreign(self, device: str, levels: list[str]) -> list[Reply]:
        ours = bool(topics.DEVICE_NAME.match(device))
        self.counters["foreign"] += 1
        if ours:
            self._tally.add(device, "foreign")
        _log.warning("Not ours: a message of %.40r on %.120r.", device, "/".join(levels))
        if ours and len(levels) == 3 and topics.NAME.match(levels[1]):
            return [_reply(device, levels[1], Ack("refused", reason="this is no message that this server knows"))]
        return []

    def _refuse(self, device: str, name: str, reason: str) -> list[Reply]:
        self._count(device, "refused")
        _log.warning("Refused %s of %s: %s", name, device, reason)
        return [_reply(device, name, Ack("refused", reason=reason[:500]))]

    def _pause(self, device: str, name: str, reason: str) -> list[Reply]:
        self._count(device, "paused")
        _log.warning("Paused %s of %s: %s", name, device, reason)
        return [_reply(device, name, Ack("paused", reason=reason))]

    # records

    def _event(self, device: str, payload: bytes) -> list[Reply]:
        try:
            envelope = messages.decode(Envelope, payload)
        except MessageError as error:
            self._count(device, "foreign")
            _log.warning("Not ours: an event of %s: %s", device, error)
            return []
        reason = bounds.pause(len(payload), replace(self._load(device), open_bytes=0), self._limits)
        if reason:
            return self._pause(device, envelope.record_id, reason)
        try:
            if envelope.kind == "telemetry" and self._on_telemetry is not None:
                self._on_telemetry(device, envelope.record_id, envelope.body)
                self._count(device, "records")
                return [_reply(device, envelope.record_id, Ack("merged"))]
            self._records.append(RecordCame(device, envelope.kind, reading.record_in(envelope)))
        except MessageError as error:
            return self._refuse(device, envelope.record_id, str(error))
        return []

    # files

    def _transfer(self, device: str, name: str, verb: str, payload: bytes) -> list[Reply]:
        if verb == "begin":
            return self._begin(device, name, payload)
        event = reading.event_of(verb, payload)
        arrival = self._incoming.get(device, name)
        if event is None:
            return self._foreign(device, ["up", name, verb]) if arrival is None else self._count_foreign(device)
        if arrival is not None:
            return self._advance(arrival, event, payload)
        if self._shared and self._strays.keep((device, name), event, payload, self._clock.monotonic_s()):
            return []
        return self._unknown(device, name)

    def _count_foreign(self, device: str) -> list[Reply]:
        self._count(device, "foreign")  # to refuse would end a transfer that may well be sound
        return []

    def _unknown(self, device: str, name: str) -> list[Reply]:
        self._count(device, "unknown")
        if (device, name) in self._told_unknown:
            return []  # eight parts on their way to a forgotten file need one answer
        self._told_unknown.add((device, name))
        if len(self._doubted) >= MOST_DOUBTED:
            self._doubted.clear()
        self._doubted.add((device, name))
        return [_reply(device, name, Ack("unknown"))]

    def _begin(self, device: str, name: str, payload: bytes) -> list[Reply]:
        arrival = self._incoming.get(device, name)
        try:
            begin = messages.decode(Begin, payload)
        except MessageError as error:
            return self._count_foreign(device) if arrival else self._refuse(device, name, str(error))
        size = begin.part.size_bytes
        problem = reading.problem(begin, device, name) or bounds.refusal(size, self._limits)
        if problem:
            return self._refuse(device, name, problem)
        if arrival is None:
            self._make_room(device)
            reason = bounds.pause(size, self._load(device), self._limits)
            if reason:
                return self._pause(device, name, reason)
            arrival = self._incoming.add(device, name, begin)
            # Less than a window is sent with its beginning anyway, unless the device has asked first and now waits.
            if size > WINDOW_BYTES or (device, name) in self._doubted:
                self._fresh[device, name] = arrival
            self._doubted.discard((device, name))
            self._told_unknown.discard((device, name))
        if arrival.begin.part != begin.part:
            return self._refuse(device, name, "another file of this name is on its way")
        return self._advance(arrival, BeginCame(), b"")

    def _load(self, device: str) -> Load:
        return Load(
            open_bytes=self._incoming.load_of(device)[1],
            bytes_today=self._tally.today(device, "received_bytes"),
            free_bytes=shutil.disk_usage(self._incoming.folder).free,
        )

    def _make_room(self, device: str) -> None:
        """A file too many puts the longest silent one out; should its device come back to it, it begins again."""
        excess = self._incoming.load_of(device)[0] - self._limits.open_files + 1
        if excess <= 0 or not self._limits.open_files:
            return
        for arrival in list(self._incoming.of(device))[:excess]:
            self._give_up(arrival, "too many unfinished files")

    def _give_up(self, arrival: Arrival, why: str) -> None:
        _log.warning("%s of %s is given up: %s.", arrival.name, arrival.device, why)
        self._count(arrival.device, "abandoned")
        self._drop(arrival)

    def _advance(self, arrival: Arrival, event: ReceiverEvent, payload: bytes) -> list[Reply]:
        state, actions = receive_step(arrival.state, event)
        for action in actions:
            match action:
                case Write():
                    assert isinstance(event, PartCame)
                    if not arrival.write(event.offset, payload):
                        return []  # another worker has every byte already, and answers
                case Verify():
                    self._complete[arrival.device, arrival.name] = arrival
                case Refuse(reason=reason):
                    return self._refuse_file(arrival, reason)
                case SendAck():
                    raise AssertionError("only Synced is answered here")  # pragma: no cover
                case _:
                    assert_never(action)
        if arrival.too_scattered:
            return self._refuse_file(arrival, "it came in too many small pieces")
        arrival.state = state
        if state.dirty:
            self._unsettled[arrival.device, arrival.name] = arrival
        return []

    def _refuse_file(self, arrival: Arrival, reason: str) -> list[Reply]:
        self._drop(arrival)
        return self._refuse(arrival.device, arrival.name, reason)

    # a batch

    def _take_in_strays(self) -> list[Reply]:
        """Messages that came before the file's beginning did, in another worker."""
        replies: list[Reply] = []
        now_s = self._clock.monotonic_s()
        for key in self._strays.names:
            arrival = self._incoming.get(*key)
            if arrival is not None:
                for event, payload in self._strays.take(key):
                    replies += self._advance(arrival, event, payload)
            elif self._strays.too_old(key, now_s):
                self._strays.take(key)
                replies += self._unknown(*key)
        return replies

    def _answer_known(self) -> list[Reply]:
        """Files begun in this batch that were merged long ago need not come again."""
        fresh, self._fresh = list(self._fresh.values()), {}
        asked = [(arrival.device, arrival.begin.record_id, arrival.begin.part) for arrival in fresh]
        known = self._merge.find_parts(asked) if asked else []
        replies: list[Reply] = []
        for arrival, merged in zip(fresh, known, strict=True):
            if merged:
                self._count(arrival.device, "repeated")
                self._drop(arrival)
                replies.append(_reply(arrival.device, arrival.name, Ack("merged")))
        return replies

    def _settle_bytes(self) -> list[Reply]:
        """Make bytes durable, and answer those who are not complete by that."""
        for arrival in self._questions.arrivals:
            self._unsettled[arrival.device, arrival.name] = arrival
        dirty = [arrival for key, arrival in self._unsettled.items() if key not in self._complete]
        self._unsettled.clear()
        replies: list[Reply] = []
        for arrival, failed in zip(dirty, self._incoming.settle(dirty), strict=True):
            arrival.close()
            if failed is not None:
                self._trouble(arrival.device, arrival.name, failed)
            elif self._shared and not arrival.refresh():
                self._leave(arrival)  # another worker has merged it, and answers
            elif self._shared and arrival.whole:
                self._complete[arrival.device, arrival.name] = arrival
            else:
                replies += self._answer(arrival)
        return replies

    def _answer(self, arrival: Arrival) -> list[Reply]:
        waiting = self._questions.held_back(arrival, self._clock.monotonic_s()) if self._shared else ()
        arrival.state, actions = receive_step(arrival.state, Synced())
        self._questions.put_back(arrival, waiting)
        return [_reply(arrival.device, arrival.name, action.ack) for action in actions if isinstance(action, SendAck)]

    def _merge_whole(self) -> list[Reply]:
        """Verify what is complete, and merge it together with the records of the batch."""
        complete, self._complete = list(self._complete.values()), {}
        records, self._records = self._records, []
        replies: list[Reply] = []
        right: list[Arrival] = []
        for arrival, verdict in zip(complete, self._incoming.verify(complete), strict=True):
            match verdict:
                case "moved" if self._shared and still_merging(arrival, self._clock.monotonic_s()):
                    self._complete[arrival.device, arrival.name] = arrival
                case "right" | "moved":
                    right.append(arrival)
                case "busy":
                    self._complete[arrival.device, arrival.name] = arrival
                case "taken":
                    self._leave(arrival)
                case "wrong":
                    replies += self._wrong_hash(arrival)
                case OSError():
                    self._trouble(arrival.device, arrival.name, verdict)
                    replies += self._not_merged(arrival)
        if not (records or right):
            return replies
        self._step("ingest:verified")
        files = [FileCame(a.device, a.begin.record_id, a.begin.part, a.data) for a in right]
        outcomes = self._put([*records, *files])
        self._step("ingest:merged")
        for came, outcome in zip(records, outcomes[: len(records)], strict=True):
            replies += self._record_merged(came, outcome)
        for arrival, outcome in zip(right, outcomes[len(records) :], strict=True):
            replies += self._file_merged(arrival, outcome)
        return replies

    def _put(self, entries: list[Came]) -> list[Merged | None]:
        """Merge them; None for what could not be. One that fails must not cost the others: then each on its own."""
        try:
            return list(self._merge.put(entries))
        except Exception as error:  # noqa: BLE001  whatever it is, the others' records are not to wait for its repair
            if len(entries) == 1:
                unforeseen = None if isinstance(error, OSError) else error
                _log.error("%s of %s cannot be merged: %s", *reversed(entries[0].key), error, exc_info=unforeseen)
                self._count(entries[0].device, "errors")
                return [None]
        return [outcome for entry in entries for outcome in self._put([entry])]

    def _record_merged(self, came: RecordCame, outcome: Merged | None) -> list[Reply]:
        if outcome is None:
            return []
        device, record_id = came.key
        if outcome.state == "refused":
            return self._refuse(device, record_id, outcome.reason)
        self._count(device, "records" if outcome.new else "repeated")
        return [_reply(device, record_id, Ack("merged"))]

    def _file_merged(self, arrival: Arrival, outcome: Merged | None) -> list[Reply]:
        device, name = arrival.device, arrival.name
        if outcome is None:
            return self._not_merged(arrival)
        self._drop(arrival)
        if outcome.state == "gone":
            _log.warning("The bytes of %s are gone; its device sends them again.", name)
            return self._unknown(device, name)
        if outcome.state == "refused":
            return self._refuse(device, name, outcome.reason)
        if outcome.new:
            self._count(device, "parts")
            self._count(device, "bytes", arrival.begin.part.size_bytes)
        else:
            self._count(device, "repeated")
        return [_reply(device, name, Ack("merged"))]

    def _not_merged(self, arrival: Arrival) -> list[Reply]:
        """It stays as it is, and its device, which hears how far it came, ends it again."""
        (failed,) = self._incoming.settle([arrival])
        arrival.close()
        return [] if failed is not None else self._answer(arrival)

    def _wrong_hash(self, arrival: Arrival) -> list[Reply]:
        self._drop(arrival)
        key = (arrival.device, arrival.name)
        if len(self._hash_tries) > 1000:
            self._hash_tries.clear()
        self._hash_tries[key] += 1
        self._count(arrival.device, "wrong_hash")
        if self._hash_tries[key] < MAX_HASH_TRIES:
            _log.warning("%s of %s arrived with other bytes than announced; once more.", arrival.name, arrival.device)
            return self._unknown(*key)
        del self._hash_tries[key]
        return self._refuse(*key, "its bytes are not those that were announced: the device's copy is damaged")

    def _clear_abandoned(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._next_clearing_s or not self._limits.abandoned_hours:
            return
        self._next_clearing_s = now_s + CLEARING_EVERY_S
        for arrival in self._incoming.silent_since(now_s - self._limits.abandoned_hours * 3600.0):
            self._give_up(arrival, f"nothing came for {self._limits.abandoned_hours} hours")

    def _drop(self, arrival: Arrival) -> None:
        self._leave(arrival)
        try:
            self._incoming.drop(arrival)
        except OSError as error:
            self._count(arrival.device, "errors")
            _log.error("%s cannot be deleted: %s", arrival.data, error)

    def _leave(self, arrival: Arrival) -> None:
        for waiting in (self._unsettled, self._fresh, self._complete):
            waiting.pop((arrival.device, arrival.name), None)
        self._questions.drop(arrival)
        self._incoming.forget(arrival)


def _reply(device: str, name: str, ack: Ack) -> Reply:
    return topics.ack(device, name), messages.encode(ack)
