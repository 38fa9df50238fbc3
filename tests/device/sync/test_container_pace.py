"""Containers fill the window of a fast link: a device that has much to send does not send one a round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from device.outbox.outbox import OutboxItem
from device.sync import uploads
from device.sync.uploads import Answered, AskCredit, Claimed, Granted, SendMessage, Uploads, UploadsEvent
from shared.messages import Ack, CreditGrant
from shared.transfer import MAX_PART_BYTES, Online, SendPart

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
