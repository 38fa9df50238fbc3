"""Which of the claimed items send what, when: the transfers of one device, sharing one window. Pure.

    step(state, event, now_s) -> (state, actions)

Several small files are on their way at once, because each costs a round trip to the server's disk, and all of them keep
to the window of shared.transfer. The most important one fills the window first: a correction sealed now waits for what
is in the window, never for a row of clips; window and parts shrink with the link's speed (shared.link_speed).

A record and its files go as one container, where the server says that it takes these (`Ack.containers`). Before it has
said anything one goes, as the question: an older server refuses what it does not know, and is sent files. What was
refused in a container goes as files, too.

What may not be sent for now (a metered connection, heat) is to its machine the same as a lost connection: it keeps
still, and asks what is there when it may go on. That costs one question and needs no rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from device.outbox.folder import RECORD_KIND
from device.outbox.outbox import OutboxItem
from shared.credit import Purse, units_of
from shared.link_speed import (
    LinkSpeed,
    alone_bytes,
    observe,
    paced_part_bytes,
    waits_for_room,
    window_bytes,
    window_parts,
    wire_bytes,
)
from shared.messages import Ack, CreditGrant, CreditWish
from shared.transfer import (
    PART_BYTES,
    AckCame,
    Offline,
    Online,
    RecordSender,
    SendBegin,
    Sender,
    SenderAction,
    SenderEvent,
    SenderTick,
    SendPart,
    send_record_step,
    send_step,
)

SMALL = 40  # enough pictures and sounds of 60 KB, and their records, to fill the wire and keep the server busy
BULK = 16  # with the files among those well below the 64 unfinished ones that a server lets a device have
CLAIMED_AT_ONCE = 10  # the outbox looks through all that is under way for one as for ten

Allowed = Literal["all", "small", "none"]
"""What may be sent: everything, all but clips, nothing."""


@dataclass(frozen=True, slots=True)
class Upload:
    item: OutboxItem
    machine: Sender | RecordSender


@dataclass(frozen=True, slots=True)
class Uploads:
    """Everything on its way, most important first."""

    active: tuple[Upload, ...] = ()
    online: bool = False
    part_bytes: int = PART_BYTES
    """The most that settings and broker allow."""
    allowed: Allowed = "all"
    pace: LinkSpeed = field(default_factory=LinkSpeed)
    heard_s: float = float("-inf")
    """When the server last answered anything."""
    wire_bytes: int = 0
    """Bytes of files handed out and not yet acknowledged by the broker; told before each event."""
    purse: Purse = field(default_factory=Purse)
    """How much the server lets this device send."""
    aside: tuple[Upload, ...] = ()
    """Handed back while the server wanted them later: claimed again on this connection, they go on waiting."""
    containers: bool | None = None
    """Whether the server takes containers; None = it has not said anything yet."""

    def may(self, item: OutboxItem) -> bool:
        return self.allowed == "all" or (self.allowed == "small" and not item.has_clip)

    @property
    def wanted(self) -> tuple[int, int]:
        """How many more small items and clips there is room for."""
        bulk = sum(upload.item.bulk for upload in self.active)
        small = SMALL - (len(self.active) - bulk)
        return 0 if self.allowed == "none" else small, BULK - bulk if self.allowed == "all" else 0

    @property
    def spare(self) -> Upload | None:
        """Where all places of small items are taken, the least important of those that the server wants later."""
        if self.allowed == "none" or self.wanted[0] > 0:
            return None
        return next((one for one in reversed(self.active) if one.machine.paused and not one.item.bulk), None)

    @property
    def runs_low(self) -> bool:
        """Whether it is time to claim more: one costs the outbox as much as ten."""
        if self.wanted[0] >= CLAIMED_AT_ONCE:
            return True
        begun = [one for one in self.active if one.machine.phase != "new"]
        return len(begun) == len(self.active) and sum(not one.machine.paused for one in begun) < SMALL // 2

    @property
    def flying_parts(self) -> int:
        """Parts sent and not acknowledged, of all files."""
        return sum(len(u.machine.flying) for u in self.active if isinstance(u.machine, Sender))

    @property
    def flying_bytes(self) -> int:
        return sum(u.machine.flying_bytes for u in self.active if isinstance(u.machine, Sender))


@dataclass(frozen=True, slots=True)
class Claimed:
    items: tuple[OutboxItem, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The server said something about a record or a transfer."""

    name: str
    ack: Ack


@dataclass(frozen=True, slots=True)
class Granted:
    """The server lets the device send more."""

    grant: CreditGrant


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """An item cannot be sent at all, for a reason on this side."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Allow:
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class GiveWay:
    """Something was sealed, and there may be no place for it."""


UploadsEvent = Online | Offline | SenderTick | Claimed | Answered | Granted | ItemFailed | Allow | GiveWay


@dataclass(frozen=True, slots=True)
class SendMessage:
    item: OutboxItem
    what: SenderAction


@dataclass(frozen=True, slots=True)
class ItemMerged:
    item: OutboxItem


@dataclass(frozen=True, slots=True)
class ItemRefused:
    item: OutboxItem
    reason: str


@dataclass(frozen=True, slots=True)
class ItemReleased:
    """The item need not be sent any more, its record was refused; or it is a container that may not be sent now."""

    item: OutboxItem


@dataclass(frozen=True, slots=True)
class ItemApart:
    """A container cannot be sent as one: its record and files go by themselves, to find out which of them cannot."""

    item: OutboxItem
    reason: str


@dataclass(frozen=True, slots=True)
class ItemPaused:
    """The server takes the item, but not now."""

    item: OutboxItem
    reason: str


@dataclass(frozen=True, slots=True)
class AskCredit:
    """Ask the server to be let send more."""

    wish: CreditWish


UploadsAction = SendMessage | ItemMerged | ItemRefused | ItemReleased | ItemApart | ItemPaused | AskCredit


def step(state: Uploads, event: UploadsEvent, now_s: float) -> tuple[Uploads, list[UploadsAction]]:
    gained, actions = 0, list[UploadsAction]()
    match event:
        case Online(part_bytes=part_bytes):
            state = replace(state, online=True, part_bytes=part_bytes, purse=state.purse.opened(now_s))
        case Offline():
            pace = replace(state.pace, since_s=None, acked_bytes=0)
            return _advance_all(replace(state, online=False, pace=pace, aside=()), event, now_s)
        case Claimed(items=items):
            state = _add(state, items)
        case Granted(grant=grant):
            state = _granted(replace(state, heard_s=now_s), grant, now_s)
        case Answered(name=name, ack=ack):
            purse = state.purse.heard(ack.grants, now_s)
            before = state = replace(state, heard_s=now_s, purse=purse, containers=ack.containers)
            state, actions = _advance_all(state, AckCame(ack), now_s, which=lambda item: item.name == name)
            gained = _gained(before, state, name)
        case ItemFailed(name=name, reason=reason):
            refusal = AckCame(Ack("refused", reason=reason))
            state, actions = _advance_all(state, refusal, now_s, which=lambda item: item.name == name)
        case Allow(allowed=allowed):
            state = _allow(state, allowed, now_s)
        case GiveWay():
            state, actions = _give_way(state)
        case SenderTick():
            pass
        case _:
            assert_never(event)
    state, dropped = _drop_containers(state)
    state, over = _remove_finished(state)
    state = _rested(_spend(state, actions, now_s))
    state, begun = _begin(state, now_s)
    state, more = _fill(state, now_s)
    state = _paced(state, gained, now_s)
    state, wish = _ask_credit(state, now_s)
    return state, [*actions, *dropped, *over, *begun, *more, *wish]


def _granted(state: Uploads, grant: CreditGrant, now_s: float) -> Uploads:
    if not grant.anew:
        granted = state.purse.granted(grant.units, grant.number, now_s, standing=grant.standing)
        return replace(state, purse=granted)
    # As after a cut: what is there is asked of the one that takes in now, without waiting for a patience to end.
    return _advance_all(replace(state, purse=state.purse.anew(now_s)), Offline(), now_s)[0]


def _advance_all(
    state: Uploads, event: SenderEvent, now_s: float, *, which: Callable[[OutboxItem], bool] = lambda item: True
) -> tuple[Uploads, list[UploadsAction]]:
    active, actions = [], list[UploadsAction]()
    for upload in state.active:
        if which(upload.item):
            upload, said = _advance(upload, event, now_s)
            actions += said
        active.append(upload)
    return replace(state, active=tuple(active)), actions


def _allow(state: Uploads, allowed: Allowed, now_s: float) -> Uploads:
    state = replace(state, allowed=allowed)
    return _advance_all(state, Offline(), now_s, which=lambda item: not state.may(item))[0]


def _gained(before: Uploads, after: Uploads, name: str) -> int:
    """Bytes of a file that the server has newly acknowledged."""
    gained = 0
    for old, new in zip(before.active, after.active, strict=True):
        if old.item.name == name and isinstance(old.machine, Sender) and isinstance(new.machine, Sender):
            there = new.item.size_bytes if new.machine.phase == "merged" else new.machine.acked.total
            gained += max(0, there - old.machine.acked.total)
    return gained


def _paced(state: Uploads, acked_bytes: int, now_s: float) -> Uploads:
    size = paced_part_bytes(state.pace, state.part_bytes)
    room_parts, room_bytes = _room(state, size)
    return replace(state, pace=observe(state.pace, acked_bytes, now_s, full=room_parts < 1 or room_bytes < size))


def _room(state: Uploads, size: int, windows: int = 1) -> tuple[int, int]:
    """(parts, bytes) that may go out now, in parts of `size`; windows: of more than one, what may go out by and by."""
    most = window_bytes(state.pace, size)
    parts, room = windows * window_parts(most) - state.flying_parts, windows * most - state.flying_bytes
    return parts, room if windows > 1 else min(room, wire_bytes(state.pace, size) - state.wire_bytes)


def _advance(upload: Upload, event: SenderEvent, now_s: float) -> tuple[Upload, list[UploadsAction]]:
    machine: Sender | RecordSender
    said: list[SenderAction]
    if isinstance(upload.machine, RecordSender):
        machine, said = send_record_step(upload.machine, event, now_s)
    else:
        machine, said = send_step(upload.machine, event, now_s)
    actions: list[UploadsAction] = [SendMessage(upload.item, what) for what in said]
    if machine.paused and not upload.machine.paused:
        actions.append(ItemPaused(upload.item, machine.reason))
    return replace(upload, machine=machine), actions


def _add(state: Uploads, items: Iterable[OutboxItem]) -> Uploads:
    aside = {(one.item.name, one.item.size_bytes): one.machine for one in state.aside}
    fresh = [Upload(item, aside.get((item.name, item.size_bytes)) or _machine(item)) for item in items]
    names = {item.name for item in items}
    active = sorted([*state.active, *fresh], key=lambda upload: upload.item.order)
    left = tuple(one for one in state.aside if one.item.name not in names)
    return replace(state, active=tuple(active), aside=left)


def _give_way(state: Uploads) -> tuple[Uploads, list[UploadsAction]]:
    """What the server wants later holds no place that a call for help or an erasure needs now: where all are taken, the
    least important of it is handed back."""
    spare = state.spare
    if spare is None:
        return state, []
    active = tuple(one for one in state.active if one is not spare)
    return replace(state, active=active, aside=(*state.aside, spare)[-SMALL:]), [ItemReleased(spare.item)]


def _machine(item: OutboxItem) -> Sender | RecordSender:
    if item.kind == RECORD_KIND:
        return RecordSender()
    return Sender(item.size_bytes, phase="asking" if item.resumed else "new", contained=item.is_container)


def _drop_containers(state: Uploads) -> tuple[Uploads, list[UploadsAction]]:
    """Hand back what must go as files: the server takes no containers, or clips may not be sent."""
    gone = [one for one in state.active if one.item.is_container and not _may_be_whole(state, one)]
    if not gone:
        return state, []
    left = tuple(one for one in state.active if one not in gone)
    return replace(state, active=left), [ItemReleased(upload.item) for upload in gone]


def _may_be_whole(state: Uploads, upload: Upload) -> bool:
    if upload.machine.phase == "merged":
        return True
    return state.containers is not False and not (state.allowed == "small" and upload.item.has_clip)


def _remove_finished(state: Uploads) -> tuple[Uploads, list[UploadsAction]]:
    """Take out what is merged or refused, and the payload files of refused records."""
    finished = [upload for upload in state.active if upload.machine.over]
    actions = list[UploadsAction](map(_outcome, finished))
    gone = {upload.item.record_id for upload in finished if _is_refused_record(upload)}
    left = [upload for upload in state.active if not upload.machine.over]
    actions += [ItemReleased(upload.item) for upload in left if upload.item.record_id in gone]
    return replace(state, active=tuple(upload for upload in left if upload.item.record_id not in gone)), actions


def _outcome(upload: Upload) -> UploadsAction:
    if upload.machine.phase == "refused" and upload.item.is_container:
        return ItemApart(upload.item, upload.machine.reason)
    if upload.machine.phase == "refused":
        return ItemRefused(upload.item, upload.machine.reason)
    return ItemMerged(upload.item)


def _is_refused_record(upload: Upload) -> bool:
    return upload.machine.phase == "refused" and upload.item.kind == RECORD_KIND


def _cost(action: UploadsAction) -> int:
    """Units that it takes to send this."""
    match action:
        case SendMessage(what=SendPart(start=start, end=end)):
            return units_of(end - start)
        case SendMessage(item=item, what=SendBegin()) if item.kind == RECORD_KIND:
            return units_of(item.size_bytes)
        case SendMessage():
            return 1
    return 0


def _spend(state: Uploads, actions: Iterable[UploadsAction], now_s: float) -> Uploads:
    units = sum(map(_cost, actions))
    return replace(state, purse=state.purse.spent(units, now_s)) if units else state


def _rested(state: Uploads) -> Uploads:
    """Where nothing that was sent waits for an answer, there is the whole standing credit again."""
    if state.purse.rest == state.purse.standing or any(upload.machine.online for upload in state.active):
        return state
    return replace(state, purse=state.purse.rested())


def _begin(state: Uploads, now_s: float) -> tuple[Uploads, list[UploadsAction]]:
    """Tell the machines of what may be sent that there is a connection, as far as credit goes for their first word."""
    if not state.online or all(upload.machine.online or not state.may(upload.item) for upload in state.active):
        return state, []
    actions, active, credit = list[UploadsAction](), list(state.active), state.purse.available(now_s)
    for at, upload in enumerate(active):
        if not upload.machine.online and state.may(upload.item) and credit >= _first_cost(upload):
            active[at], said = _advance(upload, Online(state.part_bytes), now_s)
            actions += said
            credit -= sum(map(_cost, said))
    return _spend(replace(state, active=tuple(active)), actions, now_s), actions


def _first_cost(upload: Upload) -> int:
    return units_of(upload.item.size_bytes) if upload.item.kind == RECORD_KIND else 1


def _rests(machine: Sender | RecordSender, room_parts: int, now_s: float) -> bool:
    """Whether a tick would change nothing: most of what waits, most of the time."""
    sends = isinstance(machine, Sender) and machine.phase in ("new", "sending") and room_parts > 0
    return not sends and now_s < machine.due_s


def _fill(state: Uploads, now_s: float, *, windows: int = 1) -> tuple[Uploads, list[UploadsAction]]:
    if not state.online:
        return state, []
    actions: list[UploadsAction] = []
    active = list(state.active)
    size = paced_part_bytes(state.pace, state.part_bytes)
    room_parts, room_bytes = _room(state, size, windows)
    credit, alone = state.purse.available(now_s), _alone(state, room_bytes)
    for at, upload in enumerate(active):
        before = upload.machine
        if not before.online or credit < 1 or _rests(before, room_parts, now_s):
            continue
        tick = SenderTick(room_parts, room_bytes, size, state.heard_s, credit, alone)
        active[at], said = _advance(upload, tick, now_s)
        after = active[at].machine
        actions += said
        credit -= sum(map(_cost, said))
        if isinstance(before, Sender) and isinstance(after, Sender):
            room_parts -= len(after.flying) - len(before.flying)
            room_bytes -= after.flying_bytes - before.flying_bytes
            alone = _alone(state, room_bytes)
        if isinstance(after, Sender) and after.waits_for_room(tick):
            room_parts = room_bytes = 0  # what is less important must not take it, and goes on asking
    sent = replace(state, active=tuple(active), wire_bytes=state.wire_bytes + _bytes_of(actions))
    return _spend(sent, actions, now_s), actions


def _alone(state: Uploads, room_bytes: int) -> int:
    """How large a container may be that goes as one part."""
    if state.purse.mode == "unknown":
        return 0
    most = alone_bytes(state.pace, state.part_bytes)
    return most if waits_for_room(state.pace) else min(most, max(0, room_bytes))


def _bytes_of(actions: Iterable[UploadsAction]) -> int:
    """Of files, in what is to be sent."""
    parts = [action.what for action in actions if isinstance(action, SendMessage)]
    return sum(part.end - part.start for part in parts if isinstance(part, SendPart))


def _ask_credit(state: Uploads, now_s: float) -> tuple[Uploads, list[UploadsAction]]:
    """Ask for what it would take to send, now, all that the window and the next one let go. The first window holds one
    container: three more are asked for, since the link's speed is told by a window that is full."""
    if not state.online or not state.purse.may_ask(now_s):
        return state, []
    free, begun = _begin(replace(state, purse=Purse()), now_s)
    _, more = _fill(free, now_s, windows=2 if state.pace.bytes_per_s or not state.containers else 4)
    purse, units = state.purse.asked(sum(map(_cost, (*begun, *more))), now_s)
    state = replace(state, purse=purse)
    return state, [] if units is None else [AskCredit(CreditWish(units, purse.held(now_s), purse.number))]
