"""The receiver: each question is answered once, with what is durable, and repeats of durable bytes are answered too."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.messages import Ack
from shared.receiving import (
    MAX_SPANS,
    AskCame,
    BeginCame,
    EndCame,
    PartCame,
    Receiver,
    ReceiverEvent,
    Refuse,
    SendAck,
    SyncBegan,
    Synced,
    SyncFailed,
    Verify,
    Write,
    receive_step,
)
from shared.transfer import MAX_PART_BYTES, MIN_PART_BYTES, PACKET_OVERHEAD_BYTES, PART_BYTES, Ranges, part_bytes


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
    state, actions = receive_step(Receiver(100), PartCame(0, 20))
    assert actions == [Write()]
    assert state.durable.total == 0
    state, actions = receive_step(state, Synced())
    assert actions == [SendAck(Ack("receiving", ranges=((0, 20),), answers=""))]
    assert state.durable == state.written


def test_bytes_that_lack_before_a_part_are_named_once_as_a_gap() -> None:
    state, _ = receive_step(Receiver(100), PartCame(10, 20))
    state, actions = receive_step(state, Synced())
    assert actions == [SendAck(Ack("receiving", ranges=((10, 30),), answers="gap"))]
    state = after(state, PartCame(30, 20))
    assert receive_step(state, Synced())[1] == [SendAck(Ack("receiving", ranges=((10, 50),), answers=""))]


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


@pytest.mark.parametrize("written", [((1, 100),), ((0, 99),), ((0, 50), (51, 100))])
def test_an_end_before_every_byte_is_here_is_answered_and_not_verified(written: tuple[tuple[int, int], ...]) -> None:
    state = Receiver(100, written=Ranges.of(written), durable=Ranges.of(written))
    state, actions = receive_step(state, EndCame())
    assert actions == []
    assert receive_step(state, Synced())[1] == [SendAck(Ack("receiving", ranges=written, answers="end"))]
    assert receive_step(after(state, PartCame(0, 100)), EndCame())[1] == [Verify()]


def test_one_byte_is_a_part_and_a_refusal_says_what_was_wrong() -> None:
    assert receive_step(Receiver(100), PartCame(99, 1))[1] == [Write()]
    (refused,) = receive_step(Receiver(100), PartCame(90, 11))[1]
    assert refused == Refuse("A part [90, 101) lies outside the declared 100 bytes.")


def test_exactly_as_many_holes_as_an_answer_can_name_are_taken() -> None:
    full = Receiver(10**6, written=Ranges(tuple((2 * at, 2 * at + 1) for at in range(MAX_SPANS - 1))))
    state, actions = receive_step(full, PartCame(2 * MAX_SPANS, 1))
    assert actions == [Write()]
    assert receive_step(state, PartCame(3 * MAX_SPANS, 1))[1] == [Refuse("The parts leave more than 1024 holes.")]


def test_what_comes_while_a_sync_runs_is_answered_by_the_next_one() -> None:
    state = after(Receiver(100), PartCame(0, 40), AskCame(), SyncBegan(), PartCame(40, 20), EndCame())
    assert state.to_record.spans == ((0, 40),)
    state, actions = receive_step(state, Synced())
    assert actions == [SendAck(Ack("receiving", ranges=((0, 40),), answers="ask"))]
    assert (state.durable.spans, state.dirty) == (((0, 40),), True)
    state, actions = receive_step(state, Synced())
    assert actions == [SendAck(Ack("receiving", ranges=((0, 60),), answers="end"))]


def test_a_sync_that_failed_answers_nothing_and_the_next_one_answers_all() -> None:
    state = after(Receiver(100), PartCame(0, 40), AskCame(), SyncBegan(), PartCame(40, 20), AskCame(), EndCame())
    state, actions = receive_step(state, SyncFailed())
    assert (actions, state.durable.total) == ([], 0)
    state, actions = receive_step(after(state, SyncBegan()), Synced())
    assert [(action.ack.ranges, action.ack.answers) for action in actions if isinstance(action, SendAck)] == [
        (((0, 60),), "ask"),
        (((0, 60),), "end"),
    ]
