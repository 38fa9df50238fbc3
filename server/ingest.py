"""Takes in what devices send and answers it: the only code that reads their messages on `up/`.

    up/event            a record or telemetry   → merged | refused
    up/<t>/begin        a file is announced     → receiving (with ranges) | merged | refused
    up/<t>/<offset>     its bytes               → receiving, once they are durable
    up/<t>/ask          what do you have?       → receiving | unknown
    up/<t>/end          that was all            → merged | refused | receiving (with what is there) | unknown

Promises:

1. `receiving` names only ranges that survive a power cut; `merged` is said only after Merge said so.
2. Every message may come any number of times, in any order, before and after any restart.
3. Anything that is not ours is counted and, where it names a record or transfer, refused. It raises nothing.
4. When this machine fails (disk full, database away) nothing is answered; the device asks again later.

`handle` does the work; the answers about bytes come from `settle`, which makes a whole batch durable at once.
One thread. Decisions are in shared.transfer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, assert_never

from server.incoming import Arrival, Incoming
from server.merge import Merged
from shared import atomic, messages, topics
from shared.atomic import Step, no_step
from shared.clock import Clock, SystemClock
from shared.errors import MessageError
from shared.messages import PART_KINDS, Ack, Begin, ChunkRecord, CorrectionRecord, Envelope, Part
from shared.transfer import (
    WINDOW_BYTES,
    Answer,
    AskCame,
    BeginCame,
    EndCame,
    PartCame,
    ReceiverEvent,
    Refuse,
    Synced,
    Verify,
    Write,
    receive_step,
)

Reply = tuple[str, bytes]
"""Topic and payload to publish."""

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_OPEN_PER_DEVICE = 64  # a device has 8 on their way; the rest are files that it pruned or lost half-way
MAX_PART_MESSAGE_BYTES = 1024 * 1024
ABANDONED_S = 7 * 24 * 3600.0  # a device that comes back later begins the file again; nothing is lost
CLEARING_EVERY_S = 3600.0
MAX_HASH_TRIES = 3  # then the device's own copy is damaged, and sending it again changes nothing
STEPS = ("ingest:verified", "ingest:merged", "ingest:answered")
_log = logging.getLogger(__name__)


class Merge(Protocol):
    """Where whole records and files go: server.merge.Merge."""

    def put_record(self, device: str, kind: str, record: ChunkRecord | CorrectionRecord) -> Merged:
        """Durable when it returns."""
        ...

    def put_part(self, device: str, record_id: str, part: Part, path: Path) -> Merged:
        """`path` holds the verified bytes; it is moved. Durable when it returns."""
        ...

    def find_part(self, device: str, record_id: str, part: Part) -> Merged | None:
        """Merged (new = false) where it was merged before, None where its bytes are needed."""
        ...


class Ingest:
    """One server's intake. incoming: folder for unfinished files. Raises: OSError where that cannot be used.

    on_telemetry(device, record_id, body): keeps a telemetry event durably; None = telemetry is refused.
    clock: tells how long an unfinished file was silent; None = the machine's.
    step: called with the name of each durable step (STEPS and server.incoming.STEPS) right after it.
    """

    def __init__(
        self,
        incoming: Path,
        merge: Merge,
        *,
        on_telemetry: Callable[[str, str, Mapping[str, Any]], object] | None = None,
        clock: Clock | None = None,
        step: Step = no_step,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """records, parts, bytes: merged for the first time; repeated: merged before; refused; foreign; unknown;
        errors: this machine's own."""
        self._merge = merge
        self._on_telemetry = on_telemetry
        self._step = step
        self._clock = clock or SystemClock()
        self._incoming = Incoming(incoming, clock=self._clock, step=step)
        self._next_clearing_s = 0.0
        self._unsettled: dict[tuple[str, str], Arrival] = {}
        self._told_unknown: set[tuple[str, str]] = set()
        self._hash_tries: Counter[tuple[str, str]] = Counter()

    @property
    def open_transfers(self) -> int:
        """How many files are on their way in."""
        return len(self._incoming)

    def handle(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        """Take one message in. levels: of the topic after the device's name. Raises what Merge raises but OSError."""
        try:
            return self._route(device, levels, payload)
        except OSError as error:
            self.counters["errors"] += 1
            _log.error("A message of %s could not be stored and will be asked for again: %s", device, error)
            return []

    def settle(self) -> list[Reply]:
        """Make everything handled so far durable, and answer it. Call after each batch of messages."""
        replies: list[Reply] = []
        for arrival in self._unsettled.values():
            try:
                replies += self._settle(arrival)
            except OSError as error:
                self.counters["errors"] += 1
                _log.error("%s of %s could not be synced: %s", arrival.name, arrival.device, error)
            finally:
                arrival.close()
        self._unsettled.clear()
        self._told_unknown.clear()
        self._clear_abandoned()
        self._step("ingest:answered")
        return replies

    def _clear_abandoned(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._next_clearing_s:
            return
        self._next_clearing_s = now_s + CLEARING_EVERY_S
        for arrival in self._incoming.silent_since(now_s - ABANDONED_S):
            _log.warning("%s of %s is given up: nothing came for days.", arrival.name, arrival.device)
            try:
                self._forget(arrival)
            except OSError as error:
                self.counters["errors"] += 1
                _log.error("%s cannot be deleted: %s", arrival.data, error)

    def _route(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        if not topics.DEVICE_NAME.match(device):
            return self._foreign(device, levels)
        match levels:
            case ["up", "event"]:
                return self._event(device, payload)
            case ["up", name, verb] if topics.NAME.match(name) and name.rpartition(".")[2] in PART_KINDS:
                return self._transfer(device, name, verb, payload)
        return self._foreign(device, levels)

    def _foreign(self, device: str, levels: list[str]) -> list[Reply]:
        self.counters["foreign"] += 1
        _log.warning("Not ours: a message of %.40r on %.120r.", device, "/".join(levels))
        if len(levels) == 3 and topics.DEVICE_NAME.match(device) and topics.NAME.match(levels[1]):
            return [_reply(device, levels[1], Ack("refused", reason="this is no message that this server knows"))]
        return []

    def _refuse(self, device: str, name: str, reason: str) -> list[Reply]:
        self.counters["refused"] += 1
        _log.warning("Refused %s of %s: %s", name, device, reason)
        return [_reply(device, name, Ack("refused", reason=reason[:500]))]

    # records

    def _event(self, device: str, payload: bytes) -> list[Reply]:
        try:
            envelope = messages.decode(Envelope, payload)
        except MessageError as error:
            self.counters["foreign"] += 1
            _log.warning("Not ours: an event of %s: %s", device, error)
            return []
        name = envelope.record_id
        try:
            outcome = self._put_event(device, envelope)
        except MessageError as error:
            return self._refuse(device, name, str(error))
        if outcome.state == "refused":
            return self._refuse(device, name, outcome.reason)
        self.counters["records" if outcome.new else "repeated"] += 1
        return [_reply(device, name, Ack("merged"))]

    def _put_event(self, device: str, envelope: Envelope) -> Merged:
        record: ChunkRecord | CorrectionRecord
        match envelope.kind:
            case "chunk":
                record = messages.from_dict(ChunkRecord, envelope.body)
                own_id = record.chunk_id
            case "correction":
                record = messages.from_dict(CorrectionRecord, envelope.body)
                own_id = record.correction_id
            case "telemetry" if self._on_telemetry is not None:
                self._on_telemetry(device, envelope.record_id, envelope.body)
                return Merged("merged")
            case _:
                raise MessageError(f"This server takes no {envelope.kind[:40]!r} events.")
        if own_id != envelope.record_id:
            raise MessageError(f"The envelope says {envelope.record_id}, the record {own_id}.")
        return self._merge.put_record(device, envelope.kind, record)

    # files

    def _transfer(self, device: str, name: str, verb: str, payload: bytes) -> list[Reply]:
        if verb == "begin":
            return self._begin(device, name, payload)
        event = _event_of(verb, payload)
        arrival = self._incoming.get(device, name)
        if event is None:
            return self._foreign(device, ["up", name, verb]) if arrival is None else self._count_foreign()
        if arrival is None:
            return self._unknown(device, name)
        return self._advance(arrival, event, payload)

    def _count_foreign(self) -> list[Reply]:
        self.counters["foreign"] += 1  # to refuse would end a transfer that may well be sound
        return []

    def _unknown(self, device: str, name: str) -> list[Reply]:
        self.counters["unknown"] += 1
        if (device, name) in self._told_unknown:
            return []  # eight parts on their way to a forgotten file need one answer
        self._told_unknown.add((device, name))
        return [_reply(device, name, Ack("unknown"))]

    def _begin(self, device: str, name: str, payload: bytes) -> list[Reply]:
        try:
            begin = messages.decode(Begin, payload)
        except MessageError as error:
            return self._count_foreign() if self._incoming.get(device, name) else self._refuse(device, name, str(error))
        problem = _problem(begin, device, name)
        if problem:
            return self._refuse(device, name, problem)
        arrival = self._incoming.get(device, name)
        if arrival is not None and arrival.begin.part != begin.part:
            return self._refuse(device, name, "another file of this name is on its way")
        if arrival is None:
            known = self._merge.find_part(device, begin.record_id, begin.part)
            if known is not None:
                return self._answer_merged(device, name, known, size_bytes=0)
            self._make_room(device)
            arrival = self._incoming.add(device, name, begin)
            self._told_unknown.discard((device, name))
        return self._advance(arrival, BeginCame(), b"")

    def _make_room(self, device: str) -> None:
        """A file too many puts the longest silent one out; should its device come back to it, it begins again."""
        arrivals = list(self._incoming.of(device))
        for arrival in arrivals[: max(0, len(arrivals) - MAX_OPEN_PER_DEVICE + 1)]:
            _log.warning("%s of %s is given up: too many unfinished files.", arrival.name, device)
            self._forget(arrival)

    def _advance(self, arrival: Arrival, event: ReceiverEvent, payload: bytes) -> list[Reply]:
        state, actions = receive_step(arrival.state, event)
        for action in actions:
            match action:
                case Write():
                    assert isinstance(event, PartCame)
                    arrival.write(event.offset, payload)
                case Verify():
                    return self._verify(arrival)
                case Refuse(reason=reason):
                    self._forget(arrival)
                    return self._refuse(arrival.device, arrival.name, reason)
                case Answer():
                    raise AssertionError("only Synced is answered here")  # pragma: no cover
                case _:
                    assert_never(action)
        arrival.state = state
        if state.dirty:
            self._unsettled[arrival.device, arrival.name] = arrival
        return []

    def _settle(self, arrival: Arrival) -> list[Reply]:
        if arrival.state.written != arrival.state.durable:
            arrival.sync(step=self._step)
            arrival.record(step=self._step)
        arrival.state, actions = receive_step(arrival.state, Synced())
        return [_reply(arrival.device, arrival.name, action.ack) for action in actions if isinstance(action, Answer)]

    def _verify(self, arrival: Arrival) -> list[Reply]:
        """Everything is there. Where its bytes are gone, an earlier process had moved them: Merge finds them."""
        part = arrival.begin.part
        if arrival.data.exists() or part.size_bytes == 0:
            arrival.sync(step=self._step)
            if part.size_bytes > WINDOW_BYTES:
                arrival.record(step=self._step)  # a crash from here on must not cost more than a window
            arrival.close()
            if arrival.data.stat().st_size != part.size_bytes or atomic.sha256_file(arrival.data) != part.sha256:
                return self._wrong_hash(arrival)
        self._step("ingest:verified")
        try:
            outcome = self._merge.put_part(arrival.device, arrival.begin.record_id, part, arrival.data)
        except FileNotFoundError:
            _log.warning("The bytes of %s are gone; its device sends them again.", arrival.name)
            self._forget(arrival)
            return self._unknown(arrival.device, arrival.name)
        self._step("ingest:merged")
        self._forget(arrival)
        return self._answer_merged(arrival.device, arrival.name, outcome, size_bytes=part.size_bytes)

    def _answer_merged(self, device: str, name: str, outcome: Merged, *, size_bytes: int) -> list[Reply]:
        if outcome.state == "refused":
            return self._refuse(device, name, outcome.reason)
        if outcome.new:
            self.counters["parts"] += 1
            self.counters["bytes"] += size_bytes
        else:
            self.counters["repeated"] += 1
        return [_reply(device, name, Ack("merged"))]

    def _wrong_hash(self, arrival: Arrival) -> list[Reply]:
        self._forget(arrival)
        key = (arrival.device, arrival.name)
        if len(self._hash_tries) > 1000:
            self._hash_tries.clear()
        self._hash_tries[key] += 1
        self.counters["wrong_hash"] += 1
        if self._hash_tries[key] < MAX_HASH_TRIES:
            _log.warning("%s of %s arrived with other bytes than announced; once more.", arrival.name, arrival.device)
            return self._unknown(*key)
        del self._hash_tries[key]
        return self._refuse(*key, "its bytes are not those that were announced: the device's copy is damaged")

    def _forget(self, arrival: Arrival) -> None:
        self._unsettled.pop((arrival.device, arrival.name), None)
        self._incoming.drop(arrival)


def _event_of(verb: str, payload: bytes) -> ReceiverEvent | None:
    """What a message on up/<transfer>/<verb> means to the receiver; None = nothing that we know."""
    if verb == "end":
        return EndCame()
    if verb == "ask":
        return AskCame()
    offset = topics.parse_offset(verb)
    if offset is None or len(payload) > MAX_PART_MESSAGE_BYTES:
        return None
    return PartCame(offset, len(payload))


def _problem(begin: Begin, device: str, name: str) -> str:
    """What is wrong with an announcement, "" = nothing."""
    if begin.device != device:
        return f"the announcement names the device {begin.device}, the topic {device}"
    if name != f"{begin.record_id}.{begin.part.kind}":
        return f"the announcement is about {begin.record_id}.{begin.part.kind}"
    if begin.part.size_bytes > MAX_FILE_BYTES:
        return f"{begin.part.size_bytes} bytes, at most {MAX_FILE_BYTES} are taken"
    return ""


def _reply(device: str, name: str, ack: Ack) -> Reply:
    return topics.ack(device, name), messages.encode(ack)
