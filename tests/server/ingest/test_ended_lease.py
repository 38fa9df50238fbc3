"""Two processes one after the other on one folder: what the first does after its lease has ended harms nothing."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from shared import file_lock, messages
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
        self._under_way: list[int] = [0, 0]
        """How many steps the settlement of each has done."""

    def tell(self, process: int, verb: str, payload: bytes = b"") -> list[Ack]:
        return _acks(self.processes[process].handle(DEVICE, ["up", NAME, verb], payload))

    def settle(self, process: int) -> list[Ack]:
        """All that it has, also where a settlement is under way."""
        while self._under_way[process]:
            self.go_on(process)
        return _acks(self.processes[process].settle())

    def go_on(self, process: int) -> None:
        """Its settlement does the next of three steps."""
        one, done = self.processes[process], self._under_way[process]
        (one.begin, one.run, one.finish)[done]()
        self._under_way[process] = (done + 1) % 3

    def wake(self, process: int) -> None:
        """It finds that its lease has ended."""
        self.settle(process)
        self.release(process)

    def check(self, acks: list[Ack]) -> None:
        """What these acknowledge survives: the bytes are there, and the ranges on the disk say so."""
        for ack in acks:
            if ack.state == "receiving":
                self.check_there(ack.ranges)

    def check_there(self, ranges: tuple[tuple[int, int], ...]) -> None:
        if not ranges:
            return
        data, sidecar = (self.folder / DEVICE / f"{NAME}.{suffix}" for suffix in ("data", "ranges"))
        there = data.read_bytes()
        assert all(there[start:end] == DATA[start:end] for start, end in ranges)
        recorded = Ranges.of([tuple(json.loads(line)) for line in sidecar.read_text().splitlines()[1:] if line])
        assert all(recorded.covers(start, end) for start, end in ranges)

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
    def damaged(self) -> int:
        """How often it was blamed on the device, or on this machine."""
        return sum(one.counters["wrong_hash"] + one.counters["errors"] for one in self.processes)

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
    assert two.damaged == 0  # three of these would have a sound file refused


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


@pytest.mark.parametrize("steps", [2, 3])
def test_what_the_one_before_merged_is_not_acknowledged_as_still_arriving(two: Two, steps: int) -> None:
    """It had acknowledged 5000 bytes, and merges them with the rest when it wakes: here they are no more."""
    _send(two, 0, [("begin", BEGIN), *PARTS[:5]])
    two.settle(0)
    _send(two, 0, [*PARTS[5:], ("end", b"")])
    two.adopt(1)
    for _ in range(steps):  # without the last one the ranges are still there
        two.go_on(0)
    two.tell(1, "ask")
    assert [(ack.state, ack.ranges) for ack in two.settle(1)] == [("unknown", ())]
    _send(two, 1, [("begin", BEGIN)])
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    assert (two.merged_once, two.files) == (True, [])


def test_a_part_for_what_the_one_before_merged_begins_no_file_with_a_hole(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), *PARTS[:5]])
    two.settle(0)
    _send(two, 0, [*PARTS[5:], ("end", b"")])
    two.adopt(1)
    two.settle(0)
    _send(two, 1, [*PARTS[5:], ("end", b"")])
    assert two.files == []
    assert [ack.state for ack in two.settle(1)] == ["unknown"]
    assert two.damaged == 0


@pytest.mark.parametrize("settled", [False, True])
def test_a_settlement_that_outlasts_its_lease_deletes_nothing_of_the_next(two: Two, settled: bool) -> None:
    """Between the merge and the end of it the next one begins the file anew, under the same names."""
    _send(two, 0, [("begin", BEGIN), *PARTS, ("end", b"")])
    two.processes[0].begin()
    two.processes[0].run()
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), *PARTS[:3]])
    if settled:
        assert two.settle(1)[0].ranges == ((0, 3000),)
    assert [ack.state for ack in _acks(two.processes[0].finish())] == ["merged"]
    two.tell(1, "ask")
    assert {ack.ranges for ack in two.settle(1)} == {((0, 3000),)}
    two.check_there(((0, 3000),))
    _send(two, 1, [*PARTS[3:], ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    assert (two.merged_once, two.files, two.damaged) == (True, [], 0)


def test_what_is_dropped_late_takes_nothing_from_the_next(two: Two) -> None:
    """Of a message that was under way when the lease ended."""
    _send(two, 0, [("begin", BEGIN), PARTS[0]])
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), *PARTS[:2]])
    two.settle(1)
    assert [ack.state for ack in two.tell(0, "5999", b"12")] == ["refused"]  # outside
    two.tell(1, "ask")
    assert [ack.ranges for ack in two.settle(1)] == [((0, 2000),)]
    two.check_there(((0, 2000),))


def test_what_is_erased_is_deleted_whosever_it_is(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), PARTS[0]])
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), PARTS[1]])
    two.settle(0)  # its ranges, too late
    two.processes[1]._transfers.drop_erased(DEVICE, {RECORD})
    assert two.files == []


def test_bytes_whose_file_is_deleted_before_their_sync_are_not_acknowledged(two: Two) -> None:
    """Their descriptor is synced as well as ever."""
    _send(two, 1, [("begin", BEGIN), *PARTS[:2]])
    (two.folder / DEVICE / f"{NAME}.data").unlink()
    assert [ack.state for ack in two.settle(1)] == ["unknown"]


def test_ranges_that_a_late_beginning_deleted_are_not_acknowledged(two: Two) -> None:
    _send(two, 1, [("begin", BEGIN), *PARTS[:2]])
    assert two.settle(1)[0].ranges == ((0, 2000),)
    two.tell(0, "begin", BEGIN)
    two.tell(1, "ask")
    assert [ack.state for ack in two.settle(1)] == ["unknown"]


def test_late_bytes_are_never_written_into_a_file_that_was_begun_anew(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), *PARTS[:3]])
    two.settle(0)
    two.adopt(1)
    two.tell(1, "5999", b"12")  # outside: what came is dropped
    _send(two, 1, [("begin", BEGIN), *PARTS[:2]])
    two.settle(1)
    two.tell(0, "3000", b"\xff" * 1000)
    assert (two.folder / DEVICE / f"{NAME}.data").read_bytes() == DATA[:2000]
    assert [ack.state for ack in two.settle(0)] == ["unknown"]
    _send(two, 1, [*PARTS[2:], ("end", b"")])
    assert [ack.state for ack in two.settle(1)] == ["merged"]
    assert (two.merged_once, two.files, two.damaged) == (True, [], 0)


def test_who_finds_another_file_in_the_place_of_its_own_does_not_wait_for_it(two: Two) -> None:
    _send(two, 0, [("begin", BEGIN), *PARTS, ("end", b"")])
    two.adopt(1)
    _send(two, 1, [("begin", BEGIN), ("5999", b"12"), ("begin", BEGIN), *PARTS[:2]])
    assert two.settle(0) == []
    assert not two.waits(0)
    assert two.processes[0].open_transfers == 0


def test_a_whole_file_that_once_could_not_be_opened_is_synced_before_it_is_acknowledged(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be verified it is closed and opened anew: then there is no descriptor to sync."""
    _send(two, 1, [("begin", BEGIN), *PARTS, ("end", b"")])
    synced, failures = set[int](), [OSError(errno.EMFILE, "Too many open files")]
    fdatasync, os_open = os.fdatasync, os.open

    def opened(*args: Any, **others: Any) -> int:
        if failures:
            raise failures.pop()
        return os_open(*args, **others)

    def sync(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        fdatasync(fd)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fdatasync", sync)
    assert [ack.ranges for ack in two.settle(1)] == [((0, len(DATA)),)]
    assert (two.folder / DEVICE / f"{NAME}.data").stat().st_ino in synced


def test_a_file_is_locked_until_it_is_deleted(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next one may have written into it already."""
    deleted, unlink = [], os.unlink

    def seen(path: Path, **others: Any) -> None:
        if path.suffix == ".data":
            with path.open("rb") as file:
                deleted.append(file_lock.try_lock(file.fileno()))
        unlink(path, **others)

    monkeypatch.setattr(os, "unlink", seen)
    _send(two, 1, [("begin", BEGIN), *PARTS[:2], ("5999", b"12")])
    assert deleted == [False]


STEPS = ["next", "next", "next", "again", "settle", "on", "give", "hang", "late", "late", "straggle", "wake"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["next"] * 6 + ["settle", "next", "next", "hang"], random.Random(1))
@given(st.lists(st.sampled_from(STEPS), max_size=30), st.randoms(use_true_random=False))
def test_however_often_it_changes_hands_it_is_merged_once_and_acknowledged_bytes_are_there(
    memory_path: Path, story: list[str], chance: random.Random
) -> None:
    """on: a settlement goes one step on. late: that of the one before does, whose lease has ended. straggle: it handles
    a message that it had in its hand."""
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
                two.check(two.settle(has_it))
            case "on":
                two.go_on(has_it)
            case "late" if hangs:
                two.go_on(1 - has_it)
            case "straggle" if hangs:
                two.tell(1 - has_it, *chance.choice(done))
            case "give" | "hang" if not hangs:
                if step == "give":
                    two.settle(has_it)
                    two.release(has_it)
                hangs, has_it = step == "hang", 1 - has_it
                two.adopt(has_it)
            case "wake" if hangs:
                two.wake(1 - has_it)
                hangs = False
    if hangs:
        two.wake(1 - has_it)
    _come_home(two, has_it)
    assert two.merged_once
    assert two.damaged == 0
    two.close()


def _come_home(two: Two, process: int) -> None:
    """The device asks, and sends what is missing."""
    for _ in range(4):
        acks = [*two.tell(process, "ask"), *two.settle(process)]
        two.check(acks)
        if two.depot.entries and not two.processes[process].open_transfers:
            return
        there = Ranges.of(acks[-1].ranges) if acks and acks[-1].state == "receiving" else Ranges()
        if not acks or acks[-1].state == "unknown":
            two.tell(process, "begin", BEGIN)
        _send(two, process, [(str(start), DATA[start:end]) for start, end in there.missing(len(DATA)).parts(1000)])
        two.tell(process, "end")
        two.settle(process)
