"""The receiver: each question is answered once, with what is durable, and repeats of durable bytes are answered too."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.messages import Ack
from shared.transfer import (
    MAX_PART_BYTES,
    MIN_PART_BYTES,
    PACKET_OVERHEAD_BYTES,
    PART_BYTES,
    AskCame,
    BeginCame,
    EndCame,
    PartCame,
    Receiver,
    ReceiverEvent,
    SendAck,
    Synced,
    Write,
    part_bytes,
    receive_step,
)


def after(state: Receiver, *events: ReceiverEvent) -> Receiver:
    for event in events:
        state, _ = receive_step(state, event)
    return state


@pytest.mark.parametrize(
    ("event", "question"), [(BeginCame(), "begin"), (AskCame(), "ask"), (EndCame(), "end")], ids=str
)
def test_a_question_is_answered_once_after_the_sync(event: ReceiverEvent, question: str) -> None:
    state = after(Receiver(100), PartCame(0, 40), event, event)
    state, actions = receive_step(state, Synced())
    assert actions == [SendAck(Ack("receiving", ranges=((0, 40),), answers=question))]
    assert not state.dirty
    assert receive_step(state, Synced()) == (state, [])


def test_different_questions_get_one_answer_each_in_their_order() -> None:
    state = after(Receiver(100), BeginCame(), AskCame(), BeginCame())
    answers = [action.ack.answers for action in receive_step(state, Synced())[1] if isinstance(action, SendAck)]
    assert answers == ["begin", "ask"]


def test_parts_that_nobody_asked_about_are_acknowledged_once_they_are_durable() -> None:
    state, actions = receive_step(Receiver(100), PartCame(10, 20))
    assert actions == [Write()]
    assert state.durable.total == 0
    state, actions = receive_step(state, Synced())
    assert actions == [SendAck(Ack("receiving", ranges=((10, 30),), answers=""))]
    assert state.durable == state.written


def test_a_repeat_of_durable_bytes_is_not_written_and_is_answered() -> None:
    state = after(Receiver(100), PartCame(10, 20), Synced())
    state, actions = receive_step(state, PartCame(15, 10))
    assert (actions, state.dirty) == ([], True)
    assert receive_step(state, Synced())[1] == [SendAck(Ack("receiving", ranges=((10, 30),), answers=""))]


def test_a_repeat_of_bytes_that_are_not_durable_yet_is_written_again() -> None:
    state = after(Receiver(100), PartCame(10, 20))
    assert receive_step(state, PartCame(10, 20))[1] == [Write()]


def test_the_smallest_packet_that_carries_anything_is_used_and_one_byte_less_is_named() -> None:
    least = PACKET_OVERHEAD_BYTES + MIN_PART_BYTES
    assert part_bytes(PART_BYTES, least) == MIN_PART_BYTES
    with pytest.raises(Permanent, match=f"at most {least - 1} bytes.*Set max_packet_size .* to 100000"):
        part_bytes(PART_BYTES, least - 1)
    assert part_bytes(1, None) == MIN_PART_BYTES
    assert part_bytes(10**9, None) == MAX_PART_BYTES
