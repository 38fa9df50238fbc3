"""`paused` is neither a refusal nor an answer to send on: nothing goes out until the pause is over, then a question."""

from __future__ import annotations

from shared.messages import Ack
from shared.transfer import (
    PAUSE_MAX_S,
    AckCame,
    Online,
    RecordSender,
    SendAsk,
    SendBegin,
    Sender,
    SenderTick,
    SendPart,
    pause_s,
    send_record_step,
    send_step,
)

PAUSED = AckCame(Ack("paused", reason="too much today"))


def sending() -> Sender:
    state, _ = send_step(Sender(1000), Online(100), 0.0)
    state, _ = send_step(state, SenderTick(room_parts=3), 0.0)
    assert state.flying_bytes == 300
    return state


def test_a_paused_file_keeps_still_gives_its_window_free_and_then_asks() -> None:
    state, actions = send_step(sending(), PAUSED, 1.0)
    assert (actions, state.paused, state.reason, state.flying) == ([], True, "too much today", ())
    for now_s in (1.1, 5.0, 15.9):
        state, actions = send_step(state, SenderTick(), now_s)
        assert actions == []
    state, actions = send_step(state, SenderTick(), 16.1)
    assert actions == [SendAsk()]
    state, actions = send_step(state, AckCame(Ack("receiving", ranges=((0, 300),), answers="ask")), 16.2)
    state, actions = send_step(state, SenderTick(room_parts=1), 16.2)
    assert actions == [SendPart(300, 400)]
    assert not state.paused


def test_each_part_that_is_answered_so_begins_one_pause_only_and_pauses_grow() -> None:
    state = sending()
    now_s, waits = 0.0, []
    for _ in range(7):
        for _ in range(3):
            state, _ = send_step(state, PAUSED, now_s)
        due_s = state.due_s
        state, actions = send_step(state, SenderTick(), due_s)
        assert actions == [SendAsk()]
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    assert pause_s(10**6) == PAUSE_MAX_S


def test_a_reconnect_asks_at_once() -> None:
    state, _ = send_step(sending(), PAUSED, 1.0)
    state, actions = send_step(state, Online(100), 2.0)
    assert (actions, state.paused) == ([SendAsk()], False)


def test_a_paused_record_is_sent_again_later_and_may_then_be_merged() -> None:
    letter, _ = send_record_step(RecordSender(), Online(), 0.0)
    letter, actions = send_record_step(letter, PAUSED, 1.0)
    assert (actions, letter.paused) == ([], True)
    assert send_record_step(letter, SenderTick(), 15.9)[1] == []
    letter, actions = send_record_step(letter, SenderTick(), 16.1)
    assert actions == [SendBegin()]
    letter, _ = send_record_step(letter, AckCame(Ack("merged")), 17.0)
    assert letter.over
