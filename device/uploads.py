"""Which of the claimed items send what, when: the transfers of one device, sharing one window. Pure.

    step(state, event, now_s) -> (state, actions)

Several small files are on their way at once, because each costs a round trip to the server's disk; together they keep
to the window of shared.transfer. The most important one fills the window first. At most BULK clips are open, so that a
correction sealed now never waits behind a row of clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from device.outbox import Item
from device.outbox_folder import RECORD_KIND
from shared.messages import Ack
from shared.transfer import (
    PART_BYTES,
    WINDOW_BYTES,
    WINDOW_PARTS,
    Heard,
    Letter,
    Offline,
    Online,
    Sender,
    SenderAction,
    SenderEvent,
    Tick,
    post_step,
    send_step,
)

SMALL = 8
BULK = 2


@dataclass(frozen=True, slots=True)
class Upload:
    """One item and how far it is."""

    item: Item
    machine: Sender | Letter


@dataclass(frozen=True, slots=True)
class Uploads:
    """Everything on its way, most important first."""

    active: tuple[Upload, ...] = ()
    online: bool = False
    part_bytes: int = PART_BYTES

    @property
    def wanted(self) -> tuple[int, int]:
        """How many more small items and clips there is room for."""
        bulk = sum(upload.item.bulk for upload in self.active)
        return SMALL - (len(self.active) - bulk), BULK - bulk

    @property
    def flying_parts(self) -> int:
        """Parts sent and not acknowledged, of all files."""
        return sum(len(u.machine.flying) for u in self.active if isinstance(u.machine, Sender))

    @property
    def flying_bytes(self) -> int:
        return sum(u.machine.flying_bytes for u in self.active if isinstance(u.machine, Sender))


@dataclass(frozen=True, slots=True)
class Took:
    """More items were claimed from the outbox."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The server said something about a record or a transfer."""

    name: str
    ack: Ack


@dataclass(frozen=True, slots=True)
class Failed:
    """An item cannot be sent at all, for a reason on this side."""

    name: str
    reason: str


UploadsEvent = Online | Offline | Tick | Took | Answered | Failed


@dataclass(frozen=True, slots=True)
class Say:
    """Send this message of an item."""

    item: Item
    what: SenderAction


@dataclass(frozen=True, slots=True)
class Merged:
    """The server has the item durably."""

    item: Item


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will never take the item."""

    item: Item
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """The item need not be sent any more: its record was refused."""

    item: Item


UploadsAction = Say | Merged | Refused | Released


def step(state: Uploads, event: UploadsEvent, now_s: float) -> tuple[Uploads, list[UploadsAction]]:
    """What happens next. Pure."""
    match event:
        case Online(part_bytes=part_bytes):
            state, actions = _tell(replace(state, online=True, part_bytes=part_bytes), event, now_s)
        case Offline():
            return _tell(replace(state, online=False), event, now_s)
        case Took(items=items):
            state, actions = _take(state, items, now_s)
        case Answered(name=name, ack=ack):
            state, actions = _tell(state, Heard(ack), now_s, only=name)
        case Failed(name=name, reason=reason):
            state, actions = _tell(state, Heard(Ack("refused", reason=reason)), now_s, only=name)
        case Tick():
            actions = []
        case _:
            assert_never(event)
    state, over = _take_out_what_is_over(state)
    state, more = _fill(state, now_s)
    return state, [*actions, *over, *more]


def _tell(
    state: Uploads, event: SenderEvent, now_s: float, *, only: str | None = None
) -> tuple[Uploads, list[UploadsAction]]:
    active, actions = [], list[UploadsAction]()
    for upload in state.active:
        if only is None or upload.item.name == only:
            upload, said = _advance(upload, event, now_s)
            actions += said
        active.append(upload)
    return replace(state, active=tuple(active)), actions


def _advance(upload: Upload, event: SenderEvent, now_s: float) -> tuple[Upload, list[UploadsAction]]:
    machine: Sender | Letter
    said: list[SenderAction]
    if isinstance(upload.machine, Letter):
        machine, said = post_step(upload.machine, event, now_s)
    else:
        machine, said = send_step(upload.machine, event, now_s)
    return replace(upload, machine=machine), [Say(upload.item, what) for what in said]


def _take(state: Uploads, items: Iterable[Item], now_s: float) -> tuple[Uploads, list[UploadsAction]]:
    actions: list[UploadsAction] = []
    active = list(state.active)
    for item in items:
        upload = Upload(item, _machine(item))
        if state.online:
            upload, said = _advance(upload, Online(state.part_bytes), now_s)
            actions += said
        active.append(upload)
    active.sort(key=lambda upload: upload.item.order)
    return replace(state, active=tuple(active)), actions


def _machine(item: Item) -> Sender | Letter:
    if item.kind == RECORD_KIND:
        return Letter()
    return Sender(item.size_bytes, phase="asking" if item.resumed else "new")


def _take_out_what_is_over(state: Uploads) -> tuple[Uploads, list[UploadsAction]]:
    actions: list[UploadsAction] = []
    doomed = set()
    for upload in state.active:
        if upload.machine.phase == "merged":
            actions.append(Merged(upload.item))
        elif upload.machine.phase == "refused":
            actions.append(Refused(upload.item, upload.machine.reason))
            if upload.item.kind == RECORD_KIND:
                doomed.add(upload.item.record_id)
    left = [upload for upload in state.active if not upload.machine.over]
    actions += [Released(upload.item) for upload in left if upload.item.record_id in doomed]
    return replace(state, active=tuple(u for u in left if u.item.record_id not in doomed)), actions


def _fill(state: Uploads, now_s: float) -> tuple[Uploads, list[UploadsAction]]:
    if not state.online:
        return state, []
    actions: list[UploadsAction] = []
    active = list(state.active)
    room_parts, room_bytes = WINDOW_PARTS - state.flying_parts, WINDOW_BYTES - state.flying_bytes
    for at, upload in enumerate(active):
        before = upload.machine
        active[at], said = _advance(upload, Tick(room_parts, room_bytes), now_s)
        after = active[at].machine
        actions += said
        if isinstance(before, Sender) and isinstance(after, Sender):
            room_parts -= len(after.flying) - len(before.flying)
            room_bytes -= after.flying_bytes - before.flying_bytes
    return replace(state, active=tuple(active)), actions
