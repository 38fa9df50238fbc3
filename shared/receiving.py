"""How a file is taken in in parts: every decision of the receiver (the sender: shared.transfer), without any I/O.

It acknowledges only what is durable, has no timers, and remembers which questions it owes an answer. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from shared.messages import Ack
from shared.ranges import Ranges

MAX_SPANS = 1024  # as JSON in one acknowledgement: about 25 KB of the 64 KiB a message may have


@dataclass(frozen=True, slots=True)
class PartCame:
    """Bytes arrived for this offset."""

    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BeginCame:
    """The same file was announced (again)."""


@dataclass(frozen=True, slots=True)
class AskCame:
    """The sender wants to know what is there."""


@dataclass(frozen=True, slots=True)
class EndCame:
    """The sender has sent everything, as far as it knows."""


@dataclass(frozen=True, slots=True)
class SyncBegan:
    """What is written by now is being made durable; more may come meanwhile, which the next sync is for."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What was written when the sync began (without `SyncBegan`: all of it) is durable, the ranges included."""


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """The disk did not take it: nothing is answered, and the next sync is for all of it."""


ReceiverEvent = PartCame | BeginCame | AskCame | EndCame | SyncBegan | Synced | SyncFailed


@dataclass(frozen=True, slots=True)
class Write:
    """Write the bytes that just came at their offset."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Everything is here: check size and hash, merge, answer `merged` or `refused`."""


@dataclass(frozen=True, slots=True)
class SendAck:
    """Send this."""

    ack: Ack


@dataclass(frozen=True, slots=True)
class Refuse:
    """Drop the file and answer `refused` with this reason."""

    reason: str


ReceiverAction = Write | Verify | SendAck | Refuse


@dataclass(frozen=True, slots=True)
class Receiver:
    """One file on its way in. After a restart: Receiver(size, written=ranges on disk, durable=the same)."""

    size_bytes: int
    written: Ranges = field(default_factory=Ranges)
    durable: Ranges = field(default_factory=Ranges)
    owed: tuple[str, ...] = ()  # questions that wait for the next Synced
    syncing: Ranges | None = None  # what the sync under way is for; None = there is none
    asked: tuple[str, ...] = ()  # questions that its end answers
    told: Ranges = field(default_factory=Ranges)  # holes that the sender was told of

    @property
    def to_record(self) -> Ranges:
        """What is durable once the sync under way has ended."""
        return self.written if self.syncing is None else self.syncing

    @property
    def dirty(self) -> bool:
        """Something waits for Synced: bytes, an answer, or both."""
        return self.written != self.durable or bool(self.owed)


def receive_step(state: Receiver, event: ReceiverEvent) -> tuple[Receiver, list[ReceiverAction]]:
    """What the receiver of a file does next. Pure; it has no timers, the sender is the one who insists."""
    match event:
        case PartCame():
            return _part_came(state, event)
        case BeginCame():
            return _owe(state, "begin"), []
        case AskCame():
            return _owe(state, "ask"), []
        case EndCame():
            if state.written.covers(0, state.size_bytes):
                return state, [Verify()]
            return _owe(state, "end"), []
        case SyncBegan():
            return replace(state, syncing=state.written, asked=state.owed, owed=()), []
        case Synced():
            return _synced(state)
        case SyncFailed():
            return _not_synced(state), []
        case _:
            assert_never(event)


def _not_synced(state: Receiver) -> Receiver:
    again = tuple(question for question in state.asked if question not in state.owed)
    return replace(state, syncing=None, asked=(), owed=again + state.owed)


def _part_came(state: Receiver, part: PartCame) -> tuple[Receiver, list[ReceiverAction]]:
    end = part.offset + part.size_bytes
    if part.size_bytes < 1 or end > state.size_bytes:
        return state, [Refuse(f"A part [{part.offset}, {end}) lies outside the declared {state.size_bytes} bytes.")]
    written = state.written.add(part.offset, end)
    if len(written.spans) > MAX_SPANS:
        return state, [Refuse(f"The parts leave more than {MAX_SPANS} holes.")]
    state = _notice_gap(state, part.offset)
    # A repeat of durable bytes is answered too: its first acknowledgement may be what got lost.
    again = state.durable.covers(part.offset, end)
    return (_owe(state, "") if again else replace(state, written=written)), [] if again else [Write()]


def _notice_gap(state: Receiver, offset: int) -> Receiver:
    """The sender fills holes from the front, and what it sends keeps its order: bytes that lack before a part that came
    were lost on their way."""
    if state.written.covers(0, offset):
        return state
    holes = Ranges(((0, offset),)).minus(state.written)
    if not holes.minus(state.told).spans:
        return state
    return _owe(replace(state, told=state.told.union(holes)), "gap")


def _owe(state: Receiver, question: str) -> Receiver:
    return state if question in state.owed else replace(state, owed=(*state.owed, question))


def _synced(state: Receiver) -> tuple[Receiver, list[ReceiverAction]]:
    durable = state.to_record
    asked, owed = (state.owed, ()) if state.syncing is None else (state.asked, state.owed)
    if "end" in asked:
        asked = tuple(question for question in asked if question != "gap")
    if not asked and durable != state.durable:
        asked = ("",)
    answers: list[ReceiverAction] = [
        SendAck(Ack("receiving", ranges=durable.spans, answers=question)) for question in asked
    ]
    return replace(state, durable=durable, owed=owed, syncing=None, asked=()), answers
