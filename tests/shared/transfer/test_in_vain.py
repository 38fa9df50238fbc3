"""A receiver that keeps nothing, whatever it says, has no file sent to it as fast as the link carries it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.messages import Ack
from shared.transfer import (
    MOST_FRUITLESS,
    AckCame,
    Offline,
    Online,
    Ranges,
    SendAsk,
    SendBegin,
    SendEnd,
    Sender,
    SenderAction,
    SenderTick,
    SendPart,
    pause_s,
    send_step,
)
from tests.shared.transfer.model import FileTransfer

SIZE = 700_000
HOUR_S = 3600.0
Answers = Callable[[SenderAction], list[Ack]]


def receiving(answers: str, *ranges: tuple[int, int]) -> Ack:
    return Ack("receiving", ranges=ranges, answers=answers)


def keeps_nothing(action: SenderAction) -> list[Ack]:
    return {SendBegin: [receiving("begin")], SendEnd: [receiving("end")], SendAsk: [receiving("ask")]}.get(
        type(action), []
    )


def forgets_it(action: SenderAction) -> list[Ack]:
    return [receiving("begin")] if isinstance(action, SendBegin) else [Ack("unknown")]


def forgets_it_in_the_end(action: SenderAction) -> list[Ack]:
    if isinstance(action, SendEnd):
        return [Ack("unknown")]
    return (
        [receiving("", (0, 300_000))]
        if isinstance(action, SendPart) and action.end > 300_000
        else keeps_nothing(action)
    )


def has_the_first_half(action: SenderAction) -> list[Ack]:
    return [replace(one, ranges=((0, 350_000),)) for one in keeps_nothing(action)]


def cannot_merge_it(action: SenderAction) -> list[Ack]:
    return [replace(one, ranges=((0, SIZE),)) for one in keeps_nothing(action)]


def cannot_write(action: SenderAction) -> list[Ack]:
    return (
        [Ack("paused", reason="the server could not write it")]
        if isinstance(action, SendPart)
        else keeps_nothing(action)
    )


def has_nothing_when_asked(action: SenderAction) -> list[Ack]:
    if isinstance(action, SendAsk):
        return [Ack("unknown")]
    return [receiving("begin")] if isinstance(action, SendBegin) else []


class AnswersSometimes:
    """Of two questions one, by these words; of anything else nothing."""

    def __init__(self, *words: list[Ack]) -> None:
        self._words, self._asked = words, 0
        self.__name__ = f"answers {words[0]} in turns"

    def __call__(self, action: SenderAction) -> list[Ack]:
        if not isinstance(action, SendAsk):
            return []
        self._asked += 1
        return self._words[self._asked % len(self._words)]


def loses_half_of_it_in_the_end(action: SenderAction) -> list[Ack]:
    if isinstance(action, SendPart):
        return [receiving("", (0, min(action.end, 650_000)))]
    return [replace(one, ranges=((0, 100_000),)) for one in keeps_nothing(action)]


def talked(answers: Answers, *, seconds: float, state: Sender | None = None) -> tuple[Sender, int, int]:
    """(the sender, bytes that it sent, messages)"""
    now_s, sent, messages = 0.0, 0, 0
    state, actions = send_step(state or Sender(SIZE), Online(), now_s)
    while now_s < seconds:
        said = [ack for action in actions for ack in answers(action)]
        sent += sum(action.end - action.start for action in actions if isinstance(action, SendPart))
        messages += len(actions)
        now_s += 0.01 if actions else max(0.01, min(state.due_s - now_s, 1.0))
        actions = []
        for ack in said:
            state, more = send_step(state, AckCame(ack), now_s)
            actions += more
        state, more = send_step(state, SenderTick(room_bytes=SIZE, room_parts=64, heard_s=now_s), now_s)
        actions += more
    return state, sent, messages


@pytest.mark.parametrize(
    "answers",
    [
        keeps_nothing,
        forgets_it,
        forgets_it_in_the_end,
        has_the_first_half,
        cannot_merge_it,
        cannot_write,
        has_nothing_when_asked,
        loses_half_of_it_in_the_end,
        AnswersSometimes([], [receiving("ask")]),
        AnswersSometimes([Ack("paused")], [receiving("ask")]),
    ],
    ids=lambda answers: str(answers.__name__),
)
def test_in_an_hour_a_file_goes_a_few_times_and_not_without_end(answers: Answers) -> None:
    state, sent, messages = talked(answers, seconds=HOUR_S)
    pauses = 4 + (HOUR_S - sum(map(pause_s, range(5)))) / pause_s(99)
    most = MOST_FRUITLESS + 2 + pauses
    assert sent <= most * SIZE
    assert messages <= 20 * most
    assert not state.over
    if answers is not cannot_merge_it:
        assert sent > 2 * SIZE, "it goes on"


def test_what_was_kept_at_last_ends_the_waiting() -> None:
    state, _, _ = talked(keeps_nothing, seconds=100.0)
    assert state.paused
    assert (state.fruitless, state.reason) == (MOST_FRUITLESS + 3, "nothing of it was kept")
    state, actions = send_step(state, SenderTick(), state.due_s)
    assert actions == [SendAsk()]
    state, _ = send_step(state, AckCame(receiving("ask", (0, 1000))), 101.0)
    assert (state.fruitless, state.paused) == (0, False)
    assert send_step(state, SenderTick(), 101.0)[1], "and the rest goes at once"


def test_a_link_that_breaks_again_and_again_does_not_make_the_pause_longer() -> None:
    state = Sender(SIZE)
    for _ in range(30):
        state, _, _ = talked(keeps_nothing, seconds=2.0, state=state)
        state, _ = send_step(state, Offline(), 2.0)
    state, _, _ = talked(keeps_nothing, seconds=2.0, state=state)
    assert state.paused
    assert state.due_s <= 2.0 + pause_s(0)


def test_a_large_file_that_was_forgotten_once_has_its_progress_counted_anew() -> None:
    state, _ = send_step(Sender(SIZE), Online(), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    state, _ = send_step(state, AckCame(receiving("", (0, 500_000))), 1.0)
    state, actions = send_step(state, AckCame(Ack("unknown")), 2.0)
    assert actions == [SendBegin()]
    state, _ = send_step(state, AckCame(receiving("begin")), 2.1)
    for kept in range(0, 400_000, 1000):
        state, _ = send_step(state, SenderTick(), 3.0)
        state, _ = send_step(state, AckCame(receiving("end", (0, kept + 1000))), 3.0)
        assert not state.paused, kept


def test_a_receiver_that_was_put_back_from_a_backup_is_sent_what_it_lost() -> None:
    one = FileTransfer(random.Random(1).randbytes(8_000), part_bytes=500)
    one.connect()
    for _ in range(6):
        one.wait(0.1)
        one.deliver_up()
        one.settle()
        one.deliver_down()
    assert one.receiver is not None
    assert one.sender.acked.total >= 2_000
    backup = Ranges(((0, 500),))
    one.receiver = replace(one.receiver, written=backup, durable=backup)
    one.finish(rounds=30)
    assert one.merged == one.content


def test_what_came_before_the_pause_does_not_end_it() -> None:
    state, _ = send_step(Sender(1000), Online(100), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    state, _ = send_step(state, AckCame(Ack("paused", reason="busy")), 1.0)
    later, actions = send_step(state, AckCame(receiving("end", (0, 300))), 1.1)
    assert (later.paused, later.due_s, later.phase, actions) == (True, state.due_s, "asking", [])
    assert later.acked.total == 300


@pytest.mark.parametrize("seed", range(20))
def test_a_disk_that_works_again_has_all_of_it(seed: int) -> None:
    """Its writes are lost at random for a while."""
    draw = random.Random(seed)
    one = FileTransfer(draw.randbytes(5_000), part_bytes=500)
    one.connect()
    for _ in range(300):
        if one.up and one.up[0][0] == "part" and draw.random() < 0.8:
            one.up.popleft()
        one.deliver_up()
        one.settle()
        one.deliver_down()
        one.wait(draw.random())
    one.finish()
    assert one.merged == one.content
    assert one.merges == 1
