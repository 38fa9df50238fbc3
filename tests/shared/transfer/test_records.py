"""A record on its way: repeated ever more slowly until it is answered, and quiet while the receiver says so."""

from __future__ import annotations

import itertools

import pytest

from shared.messages import Ack
from shared.transfer import AckCame, Offline, Online, RecordSender, SendBegin, SenderTick, patience_s, send_record_step

PAUSED = AckCame(Ack("paused", reason="too much today"))


def sent() -> RecordSender:
    return send_record_step(RecordSender(), Online(), 0.0)[0]


def repeats(state: RecordSender, *, since_s: float, count: int) -> list[float]:
    """When it goes out again if nobody answers."""
    times: list[float] = []
    now_s = since_s
    while len(times) < count:
        now_s += 0.5
        state, actions = send_record_step(state, SenderTick(), now_s)
        if actions:
            assert actions == [SendBegin()]
            times.append(now_s)
    return times


def test_without_an_answer_it_is_repeated_ever_more_slowly() -> None:
    times = repeats(sent(), since_s=0.0, count=6)
    assert times[0] == 5.0
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [10, 20, 40, 60, 60]


def test_a_reconnect_ends_a_pause_and_begins_the_patience_anew() -> None:
    state = sent()
    for now_s in (5.0, 15.0, 35.0):
        state, _ = send_record_step(state, SenderTick(), now_s)
    state, _ = send_record_step(state, PAUSED, 36.0)
    state, _ = send_record_step(state, Offline(), 37.0)
    assert not state.online
    state, actions = send_record_step(state, Online(), 40.0)
    assert actions == [SendBegin()]
    assert (state.paused, state.tries) == (False, 0)
    assert repeats(state, since_s=40.0, count=1) == [45.0]


def test_a_pause_is_not_longer_for_being_said_twice_and_its_end_is_a_try() -> None:
    state, actions = send_record_step(sent(), PAUSED, 1.0)
    assert (actions, state.paused, state.reason, state.due_s) == ([], True, "too much today", 16.0)
    assert send_record_step(state, PAUSED, 10.0)[0] == state
    state, _ = send_record_step(state, SenderTick(), 16.0)
    assert (state.paused, state.tries, state.due_s) == (False, 1, 16.0 + patience_s(1))
    assert send_record_step(state, PAUSED, 17.0)[0].due_s == 17.0 + 30.0


@pytest.mark.parametrize("word", ["receiving", "unknown", "a word of a newer receiver"])
def test_what_is_no_answer_to_a_record_changes_nothing(word: str) -> None:
    state = sent()
    assert send_record_step(state, AckCame(Ack(word)), 1.0) == (state, [])


def test_a_refusal_without_a_reason_says_so() -> None:
    refused = send_record_step(sent(), AckCame(Ack("refused")), 1.0)[0]
    assert (refused.over, refused.reason) == (True, "no reason was given")
