"""Two workers on one folder: whoever gets which message of a transfer, it is merged once and answered rightly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.ingest.arrivals import Arrivals
from server.ingest.coordination import EARLY_S, MOVED_S, QUESTION_S
from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from shared import messages
from shared.clock import ManualClock
from shared.messages import Ack, Begin, Part
from shared.topics import Reply
from shared.transfer import Ranges
from tests.device.outbox.records import DEVICE, chunk
from tests.link.depot import Depot

RECORD = chunk(1).chunk_id
NAME = f"{RECORD}.clip"
DATA = random.Random(1).randbytes(6000)
BEGIN = messages.encode(Begin(RECORD, Part("clip", "clip.mp4", len(DATA), sha256(DATA).hexdigest()), DEVICE))
PARTS = [(str(at), DATA[at : at + 1000]) for at in range(0, len(DATA), 1000)]


class Two:
    """Workers 0 and 1, and all that they said."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.depot = Depot(folder / "depot")
        self.folder = folder / "incoming"
        self.workers = [Ingest(self.folder, self.depot, counts=DailyCounts(self.clock), shared=True) for _ in range(2)]
        self.acks: list[Ack] = []

    def tell(self, worker: int, verb: str, payload: bytes = b"") -> list[Ack]:
        return self._note(self.workers[worker].handle(DEVICE, ["up", NAME, verb], payload))

    def settle(self, worker: int) -> list[Ack]:
        return self._note(self.workers[worker].settle())

    def _note(self, replies: list[Reply]) -> list[Ack]:
        acks = [messages.decode(Ack, payload) for _, payload in replies]
        self.acks += acks
        return acks

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


@pytest.fixture
def two(memory_path: Path) -> Iterator[Two]:
    both = Two(memory_path)
    yield both
    both.close()


def _waits(two: Two, worker: int) -> bool:
    return two.workers[worker].waits


def _merged_once(two: Two) -> None:
    assert (two.depot.folder / f"{DEVICE}.{RECORD}.clip.mp4").read_bytes() == DATA
    assert len((two.depot.folder / "log.jsonl").read_text().splitlines()) == 1
    assert sum(worker.counters["parts"] for worker in two.workers) == 1
    assert [path for path in two.folder.rglob("*") if path.is_file()] == []


def test_parts_that_went_to_the_other_worker_complete_the_file(two: Two) -> None:
    two.tell(0, "begin", BEGIN)
    for number, (verb, payload) in enumerate(PARTS):
        two.tell(number % 2, verb, payload)
    two.tell(0, "end")
    assert [ack.state for ack in two.settle(0)] == ["receiving"]  # to `begin`: `end` waits for the other's parts
    assert _waits(two, 0)
    assert [ack.state for ack in two.settle(1)] == ["merged"]  # who brings the last bytes merges
    assert two.settle(0) == []
    assert not _waits(two, 0)
    _merged_once(two)


def test_bytes_that_overtook_their_beginning_wait_for_it_a_moment(two: Two) -> None:
    two.tell(1, *PARTS[0])
    assert two.settle(1) == []
    two.tell(0, "begin", BEGIN)
    two.settle(0)
    assert [ack.ranges for ack in two.settle(1)] == [((0, 1000),)]
    two.tell(1, "end")
    assert two.settle(1) == []
    two.clock.sleep(QUESTION_S)
    assert [(ack.answers, ack.ranges) for ack in two.settle(1)] == [("end", ((0, 1000),))]


def test_bytes_of_a_file_that_nobody_began_are_unknown_after_a_moment(two: Two) -> None:
    two.tell(1, *PARTS[0])
    two.tell(1, "end")
    assert two.settle(1) == []
    two.clock.sleep(EARLY_S)
    assert [ack.state for ack in two.settle(1)] == ["unknown"]
    assert not _waits(two, 1)


def test_an_answer_to_ask_tells_of_what_the_other_worker_has(two: Two) -> None:
    two.tell(0, "begin", BEGIN)
    two.tell(0, *PARTS[0])
    two.settle(0)
    two.tell(1, "ask")
    two.tell(1, *PARTS[3])
    assert [(ack.answers, ack.ranges) for ack in two.settle(1)] == [("", ((0, 1000), (3000, 4000)))]
    two.clock.sleep(QUESTION_S)
    assert [(ack.answers, ack.ranges) for ack in two.settle(1)] == [("ask", ((0, 1000), (3000, 4000)))]


def test_a_worker_that_died_leaves_what_it_acknowledged_to_the_other(two: Two, memory_path: Path) -> None:
    two.tell(0, "begin", BEGIN)
    for part in PARTS[:3]:
        two.tell(0, *part)
    two.settle(0)
    two.workers[0].close()
    for part in PARTS[3:]:
        two.tell(1, *part)
    two.tell(1, "end")
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    _merged_once(two)


def test_a_worker_that_died_between_moving_a_file_and_saying_so_is_followed_after_a_moment(two: Two) -> None:
    begin = messages.decode(Begin, BEGIN)
    dead = Arrivals(two.folder, clock=two.clock, shared=True)
    arrival = dead.add(DEVICE, NAME, begin)
    arrival.write(0, DATA)
    arrival.state = replace(arrival.state, written=Ranges.of([(0, len(DATA))]))
    assert dead.settle([arrival]) == ([None], [])
    dead.close()
    two.tell(1, "ask")
    two.depot.put_part(DEVICE, RECORD, begin.part, arrival.data)
    assert two.settle(1) == []  # it may just be about to say so
    assert _waits(two, 1)
    two.clock.sleep(MOVED_S)
    assert [ack.state for ack in two.settle(1)] == ["merged"]


def test_a_late_repeat_never_writes_into_a_file_that_was_merged(two: Two) -> None:
    two.tell(0, "begin", BEGIN)
    for part in PARTS:
        two.tell(0, *part)
    two.tell(1, "ask")  # worker 1 knows the file now
    two.tell(0, "end")
    assert [ack.state for ack in two.settle(0)] == ["merged"]
    two.tell(1, "0", b"\xff" * 1000)
    two.settle(1)
    _merged_once(two)


def test_a_file_begun_anew_is_not_mixed_with_what_the_other_worker_remembers(two: Two) -> None:
    bad = bytes(1000)
    two.tell(0, "begin", BEGIN)
    for verb, payload in PARTS:
        two.tell(0, verb, bad if verb == "0" else payload)
    two.tell(1, "ask")
    two.tell(0, "end")
    assert [ack.state for ack in two.settle(0)] == ["unknown"]  # its hash is wrong
    two.tell(0, "begin", BEGIN)
    two.tell(0, *PARTS[0])
    two.settle(0)
    two.tell(1, *PARTS[1])
    assert [ack.ranges for ack in two.settle(1) if not ack.answers] == [((0, 2000),)]


def test_both_began_the_same_file_at_once(two: Two) -> None:
    two.tell(0, "begin", BEGIN)
    two.tell(1, "begin", BEGIN)
    for number, part in enumerate(PARTS):
        two.tell(number % 2, *part)
    two.settle(0)
    two.settle(1)
    _merged_once(two)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 1), min_size=16, max_size=16), st.randoms(use_true_random=False))
def test_dealt_out_and_mixed_up_in_any_way_it_is_merged_once_and_acknowledged_bytes_are_there(
    memory_path: Path, deal: list[int], chance: random.Random
) -> None:
    two = Two(Path(mkdtemp(dir=memory_path)))
    story = [("begin", BEGIN), *PARTS, ("end", b"")]
    story += chance.sample(story, 3)  # the broker repeats some
    chance.shuffle(story)
    hands = iter(deal)
    for verb, payload in story:
        two.tell(next(hands), verb, payload)
        if chance.random() < 0.4:
            two.settle(chance.randrange(2))
        if chance.random() < 0.1:
            two.clock.sleep(0.3)
    for _ in range(4):  # then the device asks, and sends what is missing
        two.clock.sleep(EARLY_S)
        for worker in (0, 1):
            two.settle(worker)
        if any(ack.state == "merged" for ack in two.acks):
            break
        answers = [ack for ack in two.acks if ack.state == "receiving"]
        there = (
            Ranges()
            if two.acks and two.acks[-1].state == "unknown"
            else Ranges.of(answers[-1].ranges if answers else ())
        )
        two.tell(0, "begin", BEGIN)
        for start, end in there.missing(len(DATA)).parts(1000):
            two.tell(chance.randrange(2), str(start), DATA[start:end])
        two.tell(chance.randrange(2), "end")
    assert any(ack.state == "merged" for ack in two.acks)
    for worker in (0, 1):
        two.clock.sleep(EARLY_S)
        two.settle(worker)
    assert (two.depot.folder / f"{DEVICE}.{RECORD}.clip.mp4").read_bytes() == DATA
    assert len((two.depot.folder / "log.jsonl").read_text().splitlines()) == 1
    two.close()
