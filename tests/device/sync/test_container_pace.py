"""Containers fill the window of a fast link: a device that has much to send does not send one a round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from device.outbox.outbox import OutboxItem
from device.sync import uploads
from device.sync.uploads import Answered, AskCredit, Claimed, Granted, SendMessage, Uploads, UploadsEvent
from shared.credit import Purse
from shared.link_speed import LinkSpeed
from shared.messages import Ack, CreditGrant
from shared.transfer import (
    MAX_PART_BYTES,
    PATIENCE_S,
    WINDOW_BYTES,
    Online,
    SendAsk,
    SendBegin,
    Sender,
    SenderTick,
    SendPart,
)

SIZE = 220_000
ROUND_TRIP_S = 0.02


def item(number: int) -> OutboxItem:
    own = f"pi-1-b1-{number:06d}"
    return OutboxItem(own, "container", Path("record.json"), SIZE, "0" * 64, False, False, (0, 1, number, 0))


def test_the_speed_of_a_link_is_told_by_containers_that_wait_for_credit() -> None:
    state, now_s, number, most = Uploads(containers=True), 0.0, 0, 0
    events: list[UploadsEvent] = [Online(MAX_PART_BYTES), Claimed(tuple(map(item, range(200))))]
    while state.active or events:
        came: list[UploadsEvent] = []
        for event in events:
            state, actions = uploads.step(replace(state, wire_bytes=0), event, now_s)  # the broker has it at once
            most = max(most, state.flying_bytes)
            for action in actions:
                match action:
                    case SendMessage(item=sent, what=SendPart(end=end)):
                        state_of = "merged" if end == SIZE else "receiving"
                        came.append(Answered(sent.name, Ack(state_of, ((0, end),), grants=True, containers=True)))
                    case SendMessage(item=sent):
                        came.append(
                            Answered(sent.name, Ack("receiving", answers="begin", grants=True, containers=True))
                        )
                    case AskCredit(wish=wish):
                        number += 1
                        came.append(Granted(CreditGrant(wish.units, number)))
        events, now_s = came, now_s + ROUND_TRIP_S
        assert events or not state.active
    assert most > 1_000_000
    assert now_s < 200 * ROUND_TRIP_S / 2


def sent_beside(bytes_per_s: float) -> tuple[list[SendPart], int]:
    """What of three containers goes out at once, and how many are begun in parts. Two fill most of the wire."""
    pace = LinkSpeed(bytes_per_s)
    state = Uploads(containers=True, pace=pace, purse=Purse("unbounded"), online=True, part_bytes=MAX_PART_BYTES)
    state, actions = uploads.step(state, Claimed(tuple(map(item, range(3)))), 0.0)
    said = [action.what for action in actions if isinstance(action, SendMessage)]
    begun = sum(isinstance(one, SendBegin) for one in said)
    return [one for one in said if isinstance(one, SendPart)], begun


def test_on_a_fast_link_a_container_waits_for_room_and_is_not_cut_to_fill_the_wire() -> None:
    assert sent_beside(100e6) == ([SendPart(0, SIZE)] * 2, 0)
    radio, begun = sent_beside(12.5e6)  # 100 Mbit/s: an empty wire would cost more than the cut
    assert radio[:2] == [SendPart(0, SIZE)] * 2
    assert (begun, sum(part.end - part.start for part in radio)) == (1, WINDOW_BYTES)


def test_who_waits_for_room_goes_first_when_there_is_some() -> None:
    state = Uploads(containers=True, pace=LinkSpeed(100e6), purse=Purse("unbounded"), part_bytes=MAX_PART_BYTES)
    small = replace(item(7), size_bytes=50_000)
    state, _ = uploads.step(replace(state, online=True), Claimed((*map(item, range(3)), small)), 0.0)
    assert [one.item.order[2] for one in state.active if one.machine.phase == "new"] == [2, 7]
    _, actions = uploads.step(replace(state, wire_bytes=SIZE), SenderTick(), 0.0)
    assert [action.item.order[2] for action in actions if isinstance(action, SendMessage)] == [2, 7]


def test_what_was_never_answered_is_asked_about_though_something_more_important_waits_for_its_room() -> None:
    state = Uploads(containers=True, pace=LinkSpeed(25e6), purse=Purse("unbounded"), part_bytes=MAX_PART_BYTES)
    many = tuple(replace(item(number), size_bytes=216_000) for number in range(38))
    state, _ = uploads.step(replace(state, online=True), Claimed(many), 0.0)
    for _ in many:
        state, _ = uploads.step(replace(state, wire_bytes=0), SenderTick(), 0.0)
    state, _ = uploads.step(replace(state, wire_bytes=0), Claimed((replace(item(99), order=(0, 0, 99, 0)),)), 0.0)
    assert [one.machine.phase for one in state.active] == ["new"] + ["ending"] * 38
    _, actions = uploads.step(replace(state, wire_bytes=0), SenderTick(), PATIENCE_S)
    assert [action.what for action in actions if isinstance(action, SendMessage)] == [SendAsk()] * 38


def test_more_is_claimed_by_tens_while_much_is_under_way() -> None:
    sender = Sender(SIZE, phase="ending", online=True)
    under_way = tuple(uploads.Upload(item(number), sender) for number in range(40))
    assert not Uploads(active=under_way[:31]).runs_low
    assert Uploads(active=under_way[:30]).runs_low
    waits = tuple(replace(one, machine=replace(sender, paused=True)) for one in under_way)
    assert Uploads(active=waits[:31]).runs_low  # what the server wants later must not keep the rest from going
    unsent = replace(under_way[0], machine=replace(sender, phase="new"))
    assert not Uploads(active=(*waits[:30], unsent)).runs_low
