"""The sender's answers to single words of the receiver, and to silence, each by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.messages import Ack
from shared.transfer import (
    AckCame,
    Offline,
    Online,
    Ranges,
    SendAsk,
    SendBegin,
    SendEnd,
    Sender,
    SenderTick,
    SendPart,
    patience_s,
    pause_s,
    send_step,
)

RECEIVING = AckCame(Ack("receiving", ranges=((0, 100),)))


def sending(size_bytes: int = 1000) -> Sender:
    """Three parts of 100 bytes are on their way."""
    state, _ = send_step(Sender(size_bytes), Online(100), 0.0)
    state, _ = send_step(state, SenderTick(room_parts=3), 0.0)
    assert (state.phase, state.flying_bytes) == ("sending", 300)
    return state


def silent(state: Sender, *, until_s: float) -> Sender:
    for tenth in range(int(until_s * 10)):
        state, _ = send_step(state, SenderTick(room_parts=0), tenth / 10)
    return state


@pytest.mark.parametrize(("word", "reason"), [("merged", ""), ("refused", "no reason was given")])
def test_a_file_that_is_over_leaves_the_window_to_others(word: str, reason: str) -> None:
    state, actions = send_step(sending(), AckCame(Ack(word)), 1.0)
    assert (state.phase, state.flying, state.reason, actions) == (word, (), reason, [])


def test_a_word_of_a_newer_receiver_changes_nothing() -> None:
    assert send_step(sending(), AckCame(Ack("composing")), 1.0) == (sending(), [])


def test_a_file_that_has_not_begun_is_not_paused() -> None:
    state, _ = send_step(Sender(1000), Online(100), 0.0)
    assert send_step(state, AckCame(Ack("paused")), 1.0) == (state, [])


def test_a_pause_is_begun_once_and_ends_in_a_question() -> None:
    state, _ = send_step(sending(), AckCame(Ack("paused", reason="busy")), 1.0)
    assert (state.phase, state.paused, state.due_s) == ("asking", True, 1.0 + pause_s(0))
    assert send_step(state, AckCame(Ack("paused", reason="again")), 9.0) == (state, [])


def test_an_answer_begins_the_patience_anew() -> None:
    waiting = silent(sending(), until_s=16.0)
    assert waiting.tries == 2
    state, actions = send_step(waiting, RECEIVING, 20.0)
    assert (state.tries, state.due_s, state.paused, actions) == (0, 20.0 + patience_s(0), False, [])
    assert state.acked == Ranges(((0, 100),))


def test_a_forgotten_file_starts_over_and_keeps_its_place_in_the_window() -> None:
    state, _ = send_step(sending(), RECEIVING, 1.0)
    again, actions = send_step(state, AckCame(Ack("unknown")), 2.0)
    assert actions == [SendBegin()]
    assert (again.phase, again.acked, again.flying) == ("beginning", Ranges(), state.flying)
    assert (again.tries, again.due_s) == (0, 2.0 + patience_s(0))
    assert send_step(again, AckCame(Ack("unknown")), 4.0) == (again, [])  # nor is its patience longer for it
    assert send_step(replace(state, online=False), AckCame(Ack("unknown")), 2.0)[1] == []


def test_a_begin_without_an_answer_is_repeated_and_gives_its_place_free() -> None:
    state, _ = send_step(sending(), AckCame(Ack("unknown")), 0.0)
    assert state.flying
    for now_s, tries in ((5.0, 1), (15.0, 2)):
        state, actions = send_step(state, SenderTick(), now_s)
        assert (actions, state.phase, state.flying, state.tries) == ([SendBegin()], "beginning", (), tries)


def test_the_part_size_can_change_in_the_middle_of_a_file() -> None:
    state, actions = send_step(sending(), SenderTick(room_parts=1, part_bytes=250), 1.0)
    assert actions == [SendPart(300, 550)]
    state, actions = send_step(state, SenderTick(room_parts=1), 1.0)
    assert actions == [SendPart(550, 800)]
    state, actions = send_step(state, SenderTick(), 1.0)
    assert actions == [SendPart(800, 1000), SendEnd()]


@pytest.mark.parametrize(("heard_s", "keeps"), [(4.9, True), (5.0, False), (60.0, False)])
def test_a_question_in_vain_gives_the_window_free_only_if_others_were_answered_since(
    heard_s: float, keeps: bool
) -> None:
    state = sending()
    state, actions = send_step(state, SenderTick(room_parts=0), 5.0)
    assert (actions, state.phase) == ([SendAsk()], "asking")
    assert state.flying_bytes == 300  # the first question may yet be answered
    state, actions = send_step(state, SenderTick(room_parts=0, heard_s=heard_s), 15.0)
    assert actions == [SendAsk()]
    assert bool(state.flying) == keeps


def test_without_a_connection_nothing_goes_out_however_late_it_is() -> None:
    state, actions = send_step(sending(), Offline(), 1.0)
    assert (state.online, state.flying, actions) == (False, (), [])
    assert send_step(state, SenderTick(), 1000.0) == (state, [])


def test_a_connection_in_mid_file_begins_with_a_question_and_new_patience() -> None:
    waiting = replace(sending(), tries=2)
    assert waiting.flying
    state, actions = send_step(waiting, Online(64), 20.0)
    assert actions == [SendAsk()]
    assert (state.phase, state.flying, state.part_bytes) == ("asking", (), 64)
    assert (state.tries, state.due_s) == (0, 20.0 + patience_s(0))


def test_a_connection_before_the_begin_was_answered_begins_again() -> None:
    state, _ = send_step(sending(), AckCame(Ack("unknown")), 1.0)
    assert send_step(state, Online(100), 2.0)[1] == [SendBegin()]


def test_parts_begin_the_patience_anew_and_silence_asks() -> None:
    state, _ = send_step(replace(sending(), tries=2), SenderTick(room_parts=1), 7.0)
    assert (state.tries, state.due_s) == (0, 7.0 + patience_s(0))
    state, actions = send_step(state, SenderTick(room_parts=0), 12.0)
    assert (state.phase, state.tries, actions) == ("asking", 1, [SendAsk()])


def test_the_room_in_bytes_counts_down_with_each_part() -> None:
    actions = send_step(sending(), SenderTick(room_bytes=300), 1.0)[1]
    assert actions == [SendPart(300, 400), SendPart(400, 500), SendPart(500, 600)]
