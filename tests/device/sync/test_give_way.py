"""What gave its place to something else, and is claimed again, goes on waiting where it stood."""

from __future__ import annotations

from pathlib import Path

from device.outbox.outbox import OutboxItem
from device.sync import uploads
from device.sync.uploads import Answered, Claimed, GiveWay, ItemReleased, SendMessage, Uploads, UploadsEvent
from shared.credit import Purse
from shared.messages import Ack
from shared.transfer import PATIENCE_S, Offline, Online, SenderTick, pause_s

PAUSED = Ack("paused", reason="the server could not write it", containers=True)


def item(number: int) -> OutboxItem:
    own = f"pi-1-b1-{number:06d}"
    return OutboxItem(own, "audio", Path("audio.wav"), 9_000, "0" * 64, False, False, (0, 1, number, 0))


def told(state: Uploads, *events: UploadsEvent, at_s: float) -> tuple[Uploads, list[uploads.UploadsAction]]:
    said: list[uploads.UploadsAction] = []
    for event in events:
        state, actions = uploads.step(state, event, at_s)
        said += actions
    return state, said


def all_are_paused() -> Uploads:
    state = Uploads(containers=True, purse=Purse(mode="unbounded"))
    some = [item(number) for number in range(uploads.SMALL)]
    state, _ = told(state, Online(), Claimed(tuple(some)), at_s=0.0)
    for one in some:
        state, _ = told(state, Answered(one.name, PAUSED), SenderTick(), at_s=0.1)
    assert all(one.machine.paused for one in state.active if one.machine.phase != "new")
    return state


def test_a_file_that_gives_way_is_not_sent_anew_when_it_is_claimed_again() -> None:
    state = all_are_paused()
    for second in range(1, 14):
        state, said = told(state, GiveWay(), at_s=float(second))
        (released,) = (one.item for one in said if isinstance(one, ItemReleased))
        state, said = told(state, Claimed((released,)), SenderTick(), at_s=float(second))
        assert [one for one in said if isinstance(one, SendMessage) and one.item == released] == []
    assert not state.aside
    state, said = told(state, SenderTick(), at_s=pause_s(0) + PATIENCE_S)
    assert any(isinstance(one, SendMessage) for one in said), "and asks when its time has come"


def test_after_a_lost_connection_it_asks_as_all_do() -> None:
    state, said = told(all_are_paused(), GiveWay(), Offline(), Online(), at_s=1.0)
    (released,) = (one.item for one in said if isinstance(one, ItemReleased))
    assert not state.aside
    state, _ = told(state, Claimed((released,)), SenderTick(), at_s=1.1)
    assert [one.machine.paused for one in state.active if one.item == released] == [False]
