"""How a file crosses the link in parts: the rules of both sides, and every decision of the sender (the receiver:
shared.receiving), without any I/O.

Rules that it keeps, whatever is lost, repeated, reordered or cut:

1. The receiver acknowledges only bytes that are durable on its side (`Synced`). A broker's PUBACK counts for nothing.
2. Parts are named by byte offset, so that the part size may change in the middle of a file and repeats do no harm.
3. At most WINDOW_BYTES are on their way to the broker, and at most the window (shared.link_speed) to the receiver.
4. After a cut the sender asks what is there before it sends again: at most WINDOW_BYTES go twice per cut, since the
   broker still brings what it had acknowledged. Where it dies and forgets, at most the window does.
5. `begin` and `end` may be repeated at any time. What is merged is answered with `merged` for ever.
6. An answer `unknown` means: the receiver has nothing, start over. Only that takes acknowledged bytes back, and an
   answer to a question behind something that was sent in vain: a receiver may have been put back from a backup.
7. An answer `paused` means: not now. Nothing of the file goes out until the pause is over, and then a question first.
8. What the receiver keeps nothing of is sent again twice at once, and then as after `paused`: one whose disk fails must
   not have a file sent for ever, as fast as the link carries it.

A new file is not asked about: begin, parts and end go out at once, so that a small file costs one round trip. A
container (shared.container) says by itself what it is: where it fits into one part, this goes without begin and end.
What has to be sent again goes in parts.
The same interval set, `Ranges`, says on both sides and in both directions which bytes are there.

Derived from EMQX EIP-0021 (file transfer over MQTT), which has no question for missing ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from shared.backoff import exponential_s
from shared.credit import UNBOUNDED, UNIT_BYTES, units_of
from shared.errors import Permanent
from shared.messages import Ack
from shared.ranges import Ranges as Ranges
from shared.ranges import Span as Span

PART_BYTES = 64 * 1024
WINDOW_PARTS = 8
WINDOW_BYTES = 512 * 1024  # to the broker, and to the server where the link does not bear more
MAX_WINDOW_BYTES = 8 * 1024 * 1024  # to the server; shared.link_speed says how much of it
MAX_PART_BYTES = 256 * 1024  # half a window: fewer than two parts in flight would idle the link
PACKET_OVERHEAD_BYTES = 256  # MQTT header, longest topic of ours (151) and properties
MIN_PART_BYTES = 256
PATIENCE_S = 5.0  # a full window takes 8 s at 64 kB/s, but acknowledgements of its first parts come before that
PATIENCE_MAX_S = 60.0
PAUSE_S = 15.0
PAUSE_MAX_S = 300.0
NO_REASON = "no reason was given"
MOST_FRUITLESS = 2  # what a broker drops, or a kill takes along, is sent again at once; more often it is a fault
KEPT_NOTHING = "nothing of it was kept"
_ANSWERED_BY = {"asking": "ask", "beginning": "begin", "ending": "end"}


def part_bytes(configured: int, max_packet_bytes: int | None) -> int:
    """The part size to use on this connection.

    max_packet_bytes: the broker's Maximum Packet Size, None where it named none. A larger packet would end the
    connection, be sent again after the reconnect, and so loop for ever.
    raises: Permanent where the broker allows packets too small to carry anything.
    """
    wanted = min(max(configured, MIN_PART_BYTES), MAX_PART_BYTES)
    if max_packet_bytes is None:
        return wanted
    room = max_packet_bytes - PACKET_OVERHEAD_BYTES
    if room < MIN_PART_BYTES:
        raise Permanent(
            f"The broker takes packets of at most {max_packet_bytes} bytes, which is too small for waycue.",
            hint="Set max_packet_size in the broker's configuration to 100000 or more.",
        )
    return min(wanted, room)


def patience_s(tries: int) -> float:
    """Seconds without any answer after which the sender asks again: 5, 10, 20, 40, 60, 60 …"""
    return exponential_s(tries, base_s=PATIENCE_S, max_s=PATIENCE_MAX_S)


def pause_s(tries: int) -> float:
    """Seconds that a sender keeps still after `paused`: 15, 30, 60 … 300."""
    return exponential_s(tries, base_s=PAUSE_S, max_s=PAUSE_MAX_S)


# --- events and actions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Online:
    """A connection is up and subscribed."""

    part_bytes: int = PART_BYTES


@dataclass(frozen=True, slots=True)
class Offline:
    """The connection is gone; nobody knows what of the last window arrived."""


@dataclass(frozen=True, slots=True)
class AckCame:
    """The receiver answered."""

    ack: Ack


@dataclass(frozen=True, slots=True)
class SenderTick:
    """Time passed, or there is room in the window that several files share."""

    room_parts: int = WINDOW_PARTS
    room_bytes: int = WINDOW_BYTES
    part_bytes: int | None = None  # size to cut by from now on; None = as before
    heard_s: float = float("inf")  # when the receiver last said anything, about whatever file
    credit: int = UNBOUNDED  # units that may be spent (shared.credit)
    alone_bytes: int = 0  # a container of at most so many bytes goes as one part; of others parts may be as large


SenderEvent = Online | Offline | AckCame | SenderTick


@dataclass(frozen=True, slots=True)
class SendBegin:
    """Say what is about to come (of a record: send the record itself)."""


@dataclass(frozen=True, slots=True)
class SendPart:
    """Send the bytes [start, end)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SendEnd:
    """Say that everything was sent."""


@dataclass(frozen=True, slots=True)
class SendAsk:
    """Ask which ranges are there."""


SenderAction = SendBegin | SendPart | SendEnd | SendAsk


# --- sender -----------------------------------------------------------------------------------------------------------

Phase = Literal["new", "asking", "beginning", "sending", "ending", "merged", "refused"]


@dataclass(frozen=True, slots=True)
class Sender:
    """One file on its way out. Resume after a restart with phase="asking": the receiver may have some of it."""

    size_bytes: int
    phase: Phase = "new"
    online: bool = False
    part_bytes: int = PART_BYTES
    acked: Ranges = field(default_factory=Ranges)  # durable at the receiver
    flying: tuple[Span, ...] = ()  # sent on this connection and not acknowledged
    tries: int = 0
    due_s: float = 0.0  # when the patience with the receiver, or the pause that it asked for, ends
    reason: str = ""  # why it was refused, or is paused
    paused: bool = False  # the receiver said: not now; or it was sent in vain too often
    contained: bool = False  # it is a container
    reached_bytes: int = 0  # the most that was durable at the receiver since it last had nothing
    unproven: bool = False  # something was sent since then on this connection
    fruitless: int = 0  # how often that had brought nothing more, when it was answered
    forgotten: int = 0  # how often the receiver had nothing any more

    @property
    def over(self) -> bool:
        return self.phase in ("merged", "refused")

    @property
    def is_in_vain(self) -> bool:
        """Whether to send it once more would lead to nothing, as far as anybody can tell."""
        return max(self.fruitless, self.forgotten) > MOST_FRUITLESS

    @property
    def flying_bytes(self) -> int:
        return sum(end - start for start, end in self.flying)

    def waits_for_room(self, tick: SenderTick) -> bool:
        """Whether it is a container that is to go whole, and there was no room for that."""
        return self.phase == "new" and self.contained and tick.room_bytes < self.size_bytes <= tick.alone_bytes


def send_step(state: Sender, event: SenderEvent, now_s: float) -> tuple[Sender, list[SenderAction]]:
    """What the sender of a file does next. Pure."""
    if state.over:
        return state, []
    match event:
        case Online():
            return _went_online(state, event.part_bytes, now_s)
        case Offline():
            return replace(state, online=False, flying=(), unproven=False), []
        case AckCame():
            return _ack_came(state, event.ack, now_s)
        case SenderTick():
            return _ticked(state, event, now_s) if state.online else (state, [])
        case _:
            assert_never(event)


def _went_online(state: Sender, size: int, now_s: float) -> tuple[Sender, list[SenderAction]]:
    due_s = now_s + patience_s(0)
    state = replace(state, online=True, part_bytes=size, flying=(), tries=0, due_s=due_s, paused=False, unproven=False)
    # The pause was cut short: the next one is not longer for it.
    fruitless, forgotten = (min(times, MOST_FRUITLESS) for times in (state.fruitless, state.forgotten))
    state = replace(state, fruitless=fruitless, forgotten=forgotten)
    if state.phase == "new":
        return state, []
    if state.phase == "beginning":
        return state, [SendBegin()]
    return replace(state, phase="asking"), [SendAsk()]


def _ack_came(state: Sender, ack: Ack, now_s: float) -> tuple[Sender, list[SenderAction]]:
    match ack.state:
        case "merged":
            return replace(state, phase="merged", flying=()), []
        case "refused":
            return replace(state, phase="refused", flying=(), reason=ack.reason or NO_REASON), []
        case "paused":
            # Parts that were on their way each bring one of these: only the first begins the pause.
            if state.paused or state.phase == "new":
                return state, []
            return _paused(_in_vain(state), now_s, ack.reason), []
        case "unknown":
            return _start_over(state, now_s)
        case "receiving":
            return _received(state, ack, now_s), []
        case _:
            return state, []  # a word of a newer receiver


def _answered(state: Sender, now_s: float) -> Sender:
    return replace(state, tries=0, due_s=now_s + patience_s(0), paused=False)


def _start_over(state: Sender, now_s: float) -> tuple[Sender, list[SenderAction]]:
    # Parts that were on their way to a forgotten file each bring one of these: only the first starts over.
    if state.phase == "beginning":
        return state, []
    had = state.unproven or bool(state.acked.spans)
    state = replace(state, acked=Ranges(), reached_bytes=0, unproven=False, forgotten=state.forgotten + had)
    if state.paused:
        return state, []
    if had and state.is_in_vain:
        return _paused(state, now_s, KEPT_NOTHING), []
    # What was on its way keeps its place in the window until `begin` is answered: other files that the receiver
    # forgot at the same moment must not send more in that place before they hear of it.
    state = replace(_answered(state, now_s), phase="beginning")
    return state, [SendBegin()] if state.online else []


def _in_vain(state: Sender) -> Sender:
    """Where it was sent, the receiver has no more of it than before."""
    if not state.unproven:
        return state
    return replace(state, fruitless=state.fruitless + 1, unproven=False)


def _paused(state: Sender, now_s: float, reason: str) -> Sender:
    times = max(state.fruitless, state.forgotten) - MOST_FRUITLESS - 1
    due_s = now_s + pause_s(max(state.tries, times, 0))
    return replace(state, phase="asking", paused=True, flying=(), due_s=due_s, reason=reason)


def _received(state: Sender, ack: Ack, now_s: float) -> Sender:
    there = Ranges.of(ack.ranges)
    state = state if state.paused else _answered(state, now_s)
    if not there.within(state.size_bytes):
        return state  # nonsense: not about this file
    state = _kept(state, state.acked.union(there))
    if state.paused:
        return state
    if ack.answers and ack.answers == _ANSWERED_BY.get(state.phase):
        return _lost_the_rest(state, there, now_s)
    flying = tuple(span for span in state.flying if not state.acked.covers(*span))
    if ack.answers == "gap" and state.phase == "sending":
        flying = _sent_after(state.flying, there)
    return replace(state, flying=flying)


def _kept(state: Sender, acked: Ranges) -> Sender:
    if acked.total <= state.reached_bytes:
        return replace(state, acked=acked)
    return replace(state, acked=acked, reached_bytes=acked.total, fruitless=0, unproven=False)


def _lost_the_rest(state: Sender, there: Ranges, now_s: float) -> Sender:
    """The answer to a question comes after everything that was sent before the question: what it lacks is lost."""
    if state.unproven:
        state = _in_vain(state)
        if state.acked.minus(there).total:
            forgotten = state.forgotten + 1
            state = replace(state, acked=there, reached_bytes=there.total, forgotten=forgotten)
        if state.is_in_vain:
            return _paused(state, now_s, KEPT_NOTHING)
    return replace(state, phase="sending", flying=())


def _sent_after(flying: tuple[Span, ...], there: Ranges) -> tuple[Span, ...]:
    """What is on its way behind the last part that came; what was sent before that part and did not come is lost."""
    came = [at for at, span in enumerate(flying) if there.covers(*span)]
    return flying[came[-1] + 1 :] if came else flying


def _ticked(state: Sender, tick: SenderTick, now_s: float) -> tuple[Sender, list[SenderAction]]:
    if tick.part_bytes is not None and tick.part_bytes != state.part_bytes:
        state = replace(state, part_bytes=tick.part_bytes)
    if state.phase in ("new", "sending"):
        state, actions = _fill_window(state, tick, now_s)
        if actions:
            return state, actions
        if not state.flying:
            return state, []  # no room in the shared window: that is not the receiver's silence
    if now_s < state.due_s:
        return state, []
    waited = replace(state, tries=state.tries + 1, due_s=now_s + patience_s(state.tries + 1), paused=False)
    if state.phase == "beginning":
        return replace(waited, flying=()), [SendBegin()]
    # Asked in vain before: leave the window to files that get answers. Where none gets any, the receiver is away, and
    # more in its place would be lost with the rest when the connection breaks.
    asked_s = state.due_s - patience_s(state.tries)
    flying = () if state.phase == "asking" and tick.heard_s >= asked_s else state.flying
    return replace(waited, phase="asking", flying=flying), [SendAsk()]


def _fill_window(state: Sender, tick: SenderTick, now_s: float) -> tuple[Sender, list[SenderAction]]:
    size = state.size_bytes
    if state.phase == "new" and state.contained and size <= tick.alone_bytes:
        if tick.room_parts < 1 or tick.room_bytes < size or tick.credit < units_of(size):
            return state, []
        due_s = now_s + patience_s(0)
        sent = replace(state, phase="ending", flying=((0, size),), tries=0, due_s=due_s, unproven=True)
        return sent, [SendPart(0, size)]
    return _fill_with_parts(state, tick, now_s)


def _cut_bytes(state: Sender, tick: SenderTick) -> int:
    return max(state.part_bytes, tick.alone_bytes) if state.contained else state.part_bytes


def _fill_with_parts(state: Sender, tick: SenderTick, now_s: float) -> tuple[Sender, list[SenderAction]]:
    actions: list[SenderAction] = []
    flying = list(state.flying)
    room_parts, room_bytes, credit = tick.room_parts, tick.room_bytes, tick.credit - (state.phase == "new")
    todo = state.acked.union(Ranges.of(flying)).missing(state.size_bytes)
    for start, end in todo.parts(min(_cut_bytes(state, tick), max(credit, 1) * UNIT_BYTES)):
        if room_parts < 1 or room_bytes < end - start or credit < units_of(end - start):
            break
        actions.append(SendPart(start, end))
        flying.append((start, end))
        room_parts, room_bytes, credit = room_parts - 1, room_bytes - (end - start), credit - units_of(end - start)
    else:
        actions += [SendEnd()] * (credit > 0)
    # Not before its first bytes can go too, unless they wait for credit: a begin that waits alone may be forgotten.
    begins = state.phase == "new" and bool(actions or credit == 0)
    actions = [SendBegin()] * begins + actions
    if not actions:
        return state, []
    phase: Phase = "ending" if isinstance(actions[-1], SendEnd) else "sending"
    due_s = now_s + patience_s(0)
    return replace(state, phase=phase, flying=tuple(flying), tries=0, due_s=due_s, unproven=True), actions


# --- sender of a record: one message, one answer ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordSender:
    """A record on its way out: small enough for one message, repeated until it is answered."""

    phase: Literal["new", "sent", "merged", "refused"] = "new"
    online: bool = False
    tries: int = 0
    due_s: float = 0.0
    reason: str = ""
    paused: bool = False

    @property
    def over(self) -> bool:
        return self.phase in ("merged", "refused")


def send_record_step(state: RecordSender, event: SenderEvent, now_s: float) -> tuple[RecordSender, list[SenderAction]]:
    """What the sender of a record does next. Pure."""
    if state.over:
        return state, []
    match event:
        case Online():
            sent = replace(state, phase="sent", online=True, tries=0, due_s=now_s + patience_s(0), paused=False)
            return sent, [SendBegin()]
        case Offline():
            return replace(state, online=False), []
        case AckCame():
            return _record_answered(state, event.ack, now_s), []
        case SenderTick():
            if not state.online or now_s < state.due_s:
                return state, []
            tries = state.tries + 1
            waited = replace(state, tries=tries, due_s=now_s + patience_s(tries), paused=False)
            return waited, [SendBegin()]
        case _:
            assert_never(event)


def _record_answered(state: RecordSender, ack: Ack, now_s: float) -> RecordSender:
    if ack.state == "merged":
        return replace(state, phase="merged")
    if ack.state == "refused":
        return replace(state, phase="refused", reason=ack.reason or NO_REASON)
    if ack.state == "paused" and not state.paused:
        return replace(state, paused=True, due_s=now_s + pause_s(state.tries), reason=ack.reason)
    return state
