"""Two processes one after the other on one folder: what the first does after its lease has ended harms nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    """Processes 0 and 1, and all that they said. 0 has the device."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.depot = Depot(folder / "depot")
        self.folder = folder / "incoming"
        counts = [DailyCounts(self.clock) for _ in range(2)]
        self.processes = [Ingest(self.folder, self.depot, counts=one, restores=False) for one in counts]

    def tell(self, process: int, verb: str, payload: bytes = b"") -> list[Ack]:
        return _acks(self.processes[process].handle(DEVICE, ["up", NAME, verb], payload))

    def settle(self, process: int) -> list[Ack]:
        return _acks(self.processes[process].settle())

    def adopt(self, process: int) -> None:
        self.processes[process].adopt(DEVICE.__eq__)

    def release(self, process: int) -> None:
        self.processes[process].release(DEVICE.__eq__)

    def waits(self, process: int) -> bool:
        return self.processes[process].waits

    @property
    def merged_once(self) -> bool:
        merged = self.depot.folder / f"{DEVICE}.{RECORD}.clip.mp4"
        lines = (self.depot.folder / "log.jsonl").read_text().splitlines()
        return merged.read_bytes() == DATA and len(lines) == 1

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    def close(self) -> None:
        for process in self.processes:
            process.close()


def _acks(replies: list[Reply]) -> list[Ack]:
    return [messages.decode(Ack, payload) for _, payload in replies]


@pytest.fixture
def two(memory_path: Path) -> Iterator[Two]:
    both = Two(memory_path)
    yield both
    both.close()


def _send(two: Two, process: int, parts: list[tuple[str, bytes]]) -> None:
    for verb, payload in parts:
        two.tell(process, verb, payload)


def test_a_file_is_not_moved_while_the_one_before_still_has_it_open(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), *PARTS[:2]])  # and hangs
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), *PARTS, ("end", b"")])
    assert two.settle(1) == []
    assert two.waits(1)
    assert not (two.depot.folder / f"{DEVICE}.{RECORD}.clip.mp4").exists()
    two.release(0)  # it wakes
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    assert not two.waits(1)
    assert (two.merged_once, two.files) == (True, [])


def test_what_the_one_before_merges_when_it_wakes_is_not_merged_again(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), *PARTS[:3]])
    two.settle(0)
    _send(two, 0, [*PARTS[3:], ("end", b"")])
    two.adopt(1)
    _send(two, 1, [*PARTS[3:], ("end", b"")])
    assert two.settle(1) == []
    assert [ack.state for ack in two.settle(0)] == ["merged"]
    assert two.settle(1) == []
    assert two.processes[1].open_transfers == 0
    assert (two.merged_once, two.files) == (True, [])


def test_a_file_of_which_the_one_before_took_the_beginning_away_is_not_merged_with_a_hole(two: Two) -> None:
    """It was hashed while it came, and of that nothing is there any more."""
    _send(two, 0, [("begin", BEGIN), *PARTS, ("end", b"")])  # and hangs
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), *PARTS[:3]])
    two.settle(1)
    assert [ack.state for ack in two.settle(0)] == ["merged"]  # it wakes
    _send(two, 1, [*PARTS[3:], ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["unknown"]
    assert two.merged_once


def test_bytes_that_the_one_before_wrote_into_it_are_hashed_with_the_others(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN)])
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), *PARTS[:3]])
    two.tell(0, "1000", b"\xff" * 1000)
    os.utime(two.folder / DEVICE / f"{NAME}.data", (1, 1))  # a file system's clock ticks every few milliseconds
    two.release(0)
    _send(two, 1, [*PARTS[3:], ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["unknown"]
    _send(two, 1, [("begin", BEGIN), *PARTS, ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    assert two.merged_once


def test_late_bytes_are_never_written_into_a_file_that_was_merged(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), *PARTS[:3]])
    two.settle(0)
    two.adopt(1)
    _send(two, 1, [*PARTS[3:], ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    two.tell(0, "3000", b"\xff" * 1000)
    assert [ack.state for ack in two.settle(0)] == ["unknown"]
    assert two.merged_once
    assert not [name for name in two.files if name.endswith(".ranges")]


def test_late_ranges_never_get_into_a_file_that_was_begun_anew(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), PARTS[0]])
    two.settle(0)
    two.tell(0, *PARTS[1])
    two.adopt(1)
    assert [ack.state for ack in two.tell(1, "5999", b"12")] == ["refused"]  # outside: what came is dropped
    _send(two, 1, [("begin", BEGIN), PARTS[4]])
    assert two.settle(1)[0].ranges == ((4000, 5000),)
    assert [ack.state for ack in two.settle(0)] == ["unknown"]
    two.processes[1].release(DEVICE.__eq__)
    two.adopt(1)
    two.tell(1, "ask")
    assert [ack.ranges for ack in two.settle(1)] == [((4000, 5000),)]


def test_a_file_whose_ranges_the_one_before_wrote_too_late_is_begun_once_more(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), PARTS[0]])
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), PARTS[1]])
    assert two.settle(0)[0].ranges == ((0, 1000),)
    two.release(0)
    assert [ack.state for ack in two.settle(1)] == ["unknown"]
    _send(two, 1, [("begin", BEGIN), *PARTS[:5]])
    assert {ack.ranges for ack in two.settle(1)} == {((0, 5000),)}
    _send(two, 1, [PARTS[5], ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    assert (two.merged_once, two.files) == (True, [])


steps = st.lists(st.sampled_from(["next", "next", "next", "again", "settle", "give", "hang", "wake"]), max_size=24)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.randoms(use_true_random=False))
def test_however_often_it_changes_hands_it_is_merged_once_and_acknowledged_bytes_are_there(
    memory_path: Path, story: list[str], chance: random.Random
) -> None:
    two, has_it, hangs = Two(Path(mkdtemp(dir=memory_path))), 0, False
    todo = [("begin", BEGIN), *PARTS, ("end", b"")]
    done = list(todo[:1])
    for step in story:
        match step:
            case "next" if todo:
                done.append(todo.pop(0))
                two.tell(has_it, *done[-1])
            case "again":
                two.tell(has_it, *chance.choice(done))
            case "settle":
                two.settle(has_it)
            case "give" | "hang" if not hangs:
                if step == "give":
                    two.settle(has_it)
                    two.release(has_it)
                hangs, has_it = step == "hang", 1 - has_it
                two.adopt(has_it)
            case "wake" if hangs:
                two.settle(1 - has_it)
                two.release(1 - has_it)
                hangs = False
    if hangs:
        two.settle(1 - has_it)
        two.release(1 - has_it)
    for _ in range(4):  # then the device asks, and sends what is missing
        acks = [*two.tell(has_it, "ask"), *two.settle(has_it)]
        if two.depot.entries and not two.processes[has_it].open_transfers:
            break
        there = Ranges.of(acks[-1].ranges) if acks and acks[-1].state == "receiving" else Ranges()
        if not acks or acks[-1].state == "unknown":
            two.tell(has_it, "begin", BEGIN)
        _send(two, has_it, [(str(start), DATA[start:end]) for start, end in there.missing(len(DATA)).parts(1000)])
        two.tell(has_it, "end")
        two.settle(has_it)
    assert two.merged_once
    assert sum(process.counters["wrong_hash"] + process.counters["errors"] for process in two.processes) == 0
    two.close()
