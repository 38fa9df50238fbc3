"""Whatever happens between the two sides of a transfer, the file arrives whole and once, and little goes twice."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.messages import Ack
from shared.receiving import MAX_SPANS, PartCame, Receiver, Refuse, Verify, receive_step
from shared.transfer import (
    MAX_PART_BYTES,
    PART_BYTES,
    WINDOW_BYTES,
    WINDOW_PARTS,
    AckCame,
    Offline,
    Online,
    Ranges,
    RecordSender,
    SendAsk,
    SendBegin,
    SendEnd,
    Sender,
    SenderTick,
    SendPart,
    part_bytes,
    patience_s,
    send_record_step,
    send_step,
)
from tests.shared.transfer.model import FileTransfer

PART = 4
orderly = st.sampled_from(
    ["up", "up", "up", "down", "settle", "tick", "cut", "receiver crash", "sender crash", "late", "sync", "no sync"]
)
chaos = st.sampled_from(
    ["up", "up", "down", "settle", "tick", "cut", "lose up", "lose down", "repeat up", "repeat down", "swap up",
     "swap down", "receiver crash", "sender crash", "receiver loses all", "patience", "other size", "sync", "no sync"]
)  # fmt: skip


def _do(world: FileTransfer, what: str, chance: random.Random) -> None:
    match what:
        case "up":
            world.deliver_up()
        case "down":
            world.deliver_down()
        case "settle":
            world.settle()
        case "sync":
            world.begin_sync()
        case "no sync":
            world.fail_sync()
        case "tick":
            world.wait(0.1)
        case "patience":
            world.wait(6.0)
        case "cut":
            world.cut(arrives=chance.randint(0, len(world.up)))
            world.connect()
        case "late":  # the receiver answers questions from before the cut only after the reconnect
            arrives = len(world.up)
            world.cut(arrives=arrives)
            world.connect()
            for _ in range(arrives):
                world.deliver_up()
            world.settle()
        case "receiver crash":
            world.receiver_crashes()
        case "sender crash":
            world.sender_crashes()
            world.connect()
        case "receiver loses all":
            world.receiver_loses_all()
        case "other size":
            world.part_bytes = chance.randint(1, 9)
        case "lose up" | "repeat up" | "swap up":
            _disturb(world.up, what, chance)
        case "lose down" | "repeat down" | "swap down":
            _disturb(world.down, what, chance)


def _disturb(messages: object, what: str, chance: random.Random) -> None:
    assert hasattr(messages, "insert")
    assert hasattr(messages, "__len__")
    if not len(messages):
        return
    at = chance.randrange(len(messages))
    message = messages[at]  # type: ignore[index]  # a deque of either kind of message
    if what.startswith(("lose", "swap")):
        del messages[at]  # type: ignore[attr-defined]
    if what.startswith(("repeat", "swap")):
        messages.insert(chance.randint(0, len(messages)), message)


@given(st.binary(max_size=120), st.lists(orderly, max_size=60), st.randoms(use_true_random=False))
def test_cuts_and_crashes_end_in_a_whole_file_and_resend_at_most_a_window_each(
    content: bytes, story: list[str], chance: random.Random
) -> None:
    world = FileTransfer(content, PART)
    world.connect()
    for what in story:
        _do(world, what, chance)
    crashes = story.count("receiver crash")
    world.finish()
    assert world.merged == content
    assert world.sender.phase == "merged"
    cuts = story.count("cut") + story.count("late") + story.count("sender crash") + crashes
    assert world.resent <= cuts * WINDOW_PARTS * PART
    assert world.most_flying <= WINDOW_PARTS


@given(st.binary(max_size=120), st.lists(chaos, max_size=80), st.randoms(use_true_random=False))
def test_loss_repeats_reordering_and_amnesia_end_in_a_whole_file(
    content: bytes, story: list[str], chance: random.Random
) -> None:
    world = FileTransfer(content, PART)
    world.connect()
    for what in story:
        _do(world, what, chance)
    world.finish()
    assert world.merged == content
    assert world.sender.phase == "merged"


def test_without_faults_nothing_goes_twice_and_the_window_holds() -> None:
    world = FileTransfer(random.Random(7).randbytes(5 * WINDOW_BYTES + 17), PART_BYTES)
    world.connect()
    world.finish()
    assert world.merged == world.content
    assert (world.resent, world.merges) == (0, 1)
    assert world.most_flying <= WINDOW_PARTS
    assert world.most_flying_bytes <= WINDOW_BYTES


def test_a_small_file_goes_out_in_one_breath() -> None:
    state, actions = send_step(Sender(100), Online(64), 0.0)
    state, more = send_step(state, SenderTick(), 0.0)
    assert actions + more == [SendBegin(), SendPart(0, 64), SendPart(64, 100), SendEnd()]


def test_an_empty_file_needs_no_parts() -> None:
    world = FileTransfer(b"", PART)
    world.connect()
    world.finish()
    assert world.merged == b""


def test_large_parts_are_bounded_by_bytes_and_small_ones_by_count() -> None:
    state, _ = send_step(Sender(10**7), Online(MAX_PART_BYTES), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    assert state.flying_bytes == WINDOW_BYTES
    state, _ = send_step(Sender(10**7), Online(1000), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    assert len(state.flying) == WINDOW_PARTS


def test_the_room_left_by_other_files_is_respected() -> None:
    state, _ = send_step(Sender(1000), Online(100), 0.0)
    state, actions = send_step(state, SenderTick(room_parts=2), 0.0)
    assert actions == [SendBegin(), SendPart(0, 100), SendPart(100, 200)]
    state, actions = send_step(state, SenderTick(room_parts=5, room_bytes=150), 0.0)
    assert actions == [SendPart(200, 300)]
    assert send_step(state, SenderTick(room_parts=0), 0.0)[1] == []


def test_waiting_for_room_is_not_taken_for_silence() -> None:
    state, _ = send_step(Sender(1000), Online(100), 0.0)
    assert send_step(state, SenderTick(room_parts=0), 1000.0)[1] == []


def test_silence_is_answered_with_questions_ever_more_slowly() -> None:
    state, _ = send_step(Sender(10), Online(64), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    times: list[float] = []
    now_s = 0.0
    while len(times) < 8:
        now_s += 0.5
        state, actions = send_step(state, SenderTick(), now_s)
        if actions:
            assert actions == [SendAsk()]
            times.append(now_s)
    assert [b - a for a, b in itertools.pairwise(times)] == [10, 20, 40, 60, 60, 60, 60]
    assert patience_s(10**6) == 60


def test_a_resumed_file_asks_before_it_sends() -> None:
    state, actions = send_step(Sender(1000, phase="asking"), Online(100), 0.0)
    assert actions == [SendAsk()]
    assert send_step(state, SenderTick(), 0.0)[1] == []
    state, _ = send_step(state, AckCame(Ack("receiving", ranges=((0, 900),), answers="ask")), 1.0)
    assert send_step(state, SenderTick(), 1.0)[1] == [SendPart(900, 1000), SendEnd()]


def test_a_gap_is_filled_at_once_and_nothing_that_is_still_on_its_way_goes_twice() -> None:
    state, _ = send_step(Sender(900), Online(100), 0.0)
    state, _ = send_step(state, SenderTick(room_parts=4), 0.0)
    gap = AckCame(Ack("receiving", ranges=((0, 100), (200, 300)), answers="gap"))
    state, _ = send_step(state, gap, 0.1)
    assert state.flying == ((300, 400),)  # sent after the last that came
    assert send_step(state, SenderTick(room_parts=1), 0.1)[1] == [SendPart(100, 200)]


def test_a_hole_found_at_the_end_is_filled_at_once() -> None:
    state, _ = send_step(Sender(300), Online(100), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    state, _ = send_step(state, AckCame(Ack("receiving", ranges=((0, 100), (200, 300)), answers="end")), 1.0)
    assert send_step(state, SenderTick(), 1.0)[1] == [SendPart(100, 200), SendEnd()]


def test_many_unknown_answers_start_the_file_over_only_once() -> None:
    state, _ = send_step(Sender(800), Online(100), 0.0)
    state, _ = send_step(state, SenderTick(), 0.0)
    state, actions = send_step(state, AckCame(Ack("unknown")), 1.0)
    assert actions == [SendBegin()]
    for _ in range(8):
        state, actions = send_step(state, AckCame(Ack("unknown")), 1.0)
        assert actions == []
    state, _ = send_step(state, AckCame(Ack("receiving", answers="begin")), 1.0)
    assert len(send_step(state, SenderTick(), 1.0)[1]) == 9


def test_an_answer_about_bytes_outside_the_file_is_ignored() -> None:
    state, _ = send_step(Sender(100), Online(100), 0.0)
    assert send_step(state, AckCame(Ack("receiving", ranges=((0, 101),))), 0.0)[0].acked == Ranges()


def test_a_refusal_ends_it_with_its_reason_and_nothing_revives_it() -> None:
    state, _ = send_step(Sender(100), Online(100), 0.0)
    state, _ = send_step(state, AckCame(Ack("refused", reason="too large")), 0.0)
    assert (state.over, state.reason) == (True, "too large")
    for event in (Online(), SenderTick(), AckCame(Ack("merged")), Offline()):
        assert send_step(state, event, 99.0) == (state, [])


def test_a_part_outside_the_file_is_refused() -> None:
    for part in (PartCame(90, 11), PartCame(0, 0), PartCame(10**12, 1)):
        assert isinstance(receive_step(Receiver(100), part)[1][0], Refuse)


def test_more_holes_than_an_answer_can_name_are_refused() -> None:
    state = Receiver(10**6)
    for at in range(MAX_SPANS):
        state, _ = receive_step(state, PartCame(2 * at, 1))
    assert isinstance(receive_step(state, PartCame(2 * MAX_SPANS, 1))[1][0], Refuse)


def test_the_last_part_lets_the_end_verify_without_another_round() -> None:
    from shared.receiving import EndCame

    state, _ = receive_step(Receiver(10), PartCame(0, 10))
    assert receive_step(state, EndCame())[1] == [Verify()]


def test_a_record_is_repeated_until_it_is_answered() -> None:
    letter, actions = send_record_step(RecordSender(), Online(), 0.0)
    assert actions == [SendBegin()]
    assert send_record_step(letter, SenderTick(), 4.9)[1] == []
    letter, actions = send_record_step(letter, SenderTick(), 5.0)
    assert actions == [SendBegin()]
    letter, _ = send_record_step(letter, Offline(), 6.0)
    assert send_record_step(letter, SenderTick(), 99.0)[1] == []
    letter, actions = send_record_step(letter, Online(), 100.0)
    assert actions == [SendBegin()]
    assert send_record_step(letter, AckCame(Ack("merged")), 101.0)[0].phase == "merged"
    refused = send_record_step(letter, AckCame(Ack("refused", reason="not ours")), 101.0)[0]
    assert (refused.phase, refused.reason) == ("refused", "not ours")


@given(st.integers(0, 10**7), st.none() | st.integers(513, 10**7))
def test_the_part_size_fits_the_brokers_packets(configured: int, most: int | None) -> None:
    size = part_bytes(configured, most)
    assert 1 <= size <= MAX_PART_BYTES
    assert most is None or size + 256 <= most


def test_a_broker_with_tiny_packets_is_named_as_the_problem() -> None:
    with pytest.raises(Permanent, match="max_packet_size"):
        part_bytes(PART_BYTES, 400)
