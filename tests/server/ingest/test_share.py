"""What a process does with its part of the devices: takes over, hands over, and stops where its lease ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from server.database.store import Store, open_store
from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.leases import Leases
from server.ingest.partitions import PARTITIONS, partition_of
from server.ingest.share import Share
from shared import container, messages, topics
from shared.atomic import no_step
from shared.clock import ManualClock
from shared.messages import Ack, Begin, Envelope, Part
from shared.topics import Reply
from tests.device.outbox.records import DEVICE, chunk, payloads
from tests.link.depot import Depot

LEASE_S = 10.0
RECORD = chunk(1).chunk_id
NAME = f"{RECORD}.clip"
DATA = random.Random(1).randbytes(900_000)
BEGIN = messages.encode(Begin(RECORD, Part("clip", "clip.mp4", len(DATA), sha256(DATA).hexdigest()), DEVICE))
HALF = [(str(at), DATA[at : at + 100_000]) for at in range(0, 500_000, 100_000)]
REST = [(str(at), DATA[at : at + 100_000]) for at in range(500_000, 900_000, 100_000)]


class Process:
    """One that takes in, and what it listens to."""

    def __init__(self, folder: Path, store: Store, clock: ManualClock, name: str) -> None:
        self.heard: set[str] = set()
        self.sent: list[Reply] = []
        self.asked: list[Callable[[], list[Reply]]] | None = None
        """What waits for the end of a settlement; None = there is none."""
        self.step: Callable[[str], None] = no_step
        counts = DailyCounts(clock)
        self.ingest = Ingest(
            folder / "incoming", Depot(folder / "depot"), counts=counts, restores=False, crash_point=self._at
        )
        self.ingest.granting(1000)
        self.known: Callable[[], list[str]] = list
        self.store = store
        self.share = Share(self.ingest, Leases(store, clock, name, lease_s=LEASE_S), lambda: self.known())
        self.share.link = self
        self.share.met(DEVICE, online=True)

    def hear(self, filters: Sequence[str]) -> None:
        self.heard |= set(filters)

    def unhear(self, filters: Sequence[str]) -> None:
        self.heard -= set(filters)

    def do(self, work: Callable[[], list[Reply]]) -> None:
        if self.asked is None:
            self.sent += work()
        else:
            self.asked.append(work)

    def _at(self, step: str) -> None:
        self.step(step)

    def tell(self, verb: str, payload: bytes = b"") -> list[Ack]:
        replies = self.share.handle(DEVICE, ["up", NAME, verb], payload) + self.ingest.settle()
        return [messages.decode(Ack, answer) for _, answer in replies]

    def has_it(self) -> bool:
        """Whether it hears the device."""
        return set(topics.intake(DEVICE)) <= self.heard


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def processes(memory_path: Path, clock: ManualClock) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(memory_path / "home")))
        found = [Process(memory_path, store, clock, name) for name in ("waycue-server", "waycue-worker-1")]
        for one in found:
            stack.callback(one.ingest.close)
        yield found


def _fill(process: Process) -> None:
    process.tell("begin", BEGIN)
    for part in HALF:
        assert process.tell(*part)


def test_nothing_is_handled_before_there_is_a_lease(processes: list[Process]) -> None:
    one, _ = processes
    assert (one.tell("begin", BEGIN), one.share.ignored) == ([], 1)
    assert list((one.ingest._arrivals.folder).iterdir()) == []
    one.share.round()
    assert one.has_it()
    assert one.share.heard == frozenset(range(PARTITIONS))
    assert one.tell("begin", BEGIN)


def test_what_was_acknowledged_is_there_for_the_next_one_after_a_death(
    processes: list[Process], clock: ManualClock
) -> None:
    dead, other = processes
    dead.share.round()
    _fill(dead)
    other.share.round()
    assert not other.has_it()  # it may live still
    dead.ingest.close()
    clock.sleep(LEASE_S)
    other.share.round()
    assert other.has_it()
    assert other.sent == [(topics.grant(DEVICE), b'{"units":0,"number":0,"anew":true}')]
    (ack,) = other.tell("ask")
    assert ack.ranges == ((0, 500_000),)
    for part in REST:
        other.tell(*part)
    assert [ack.state for ack in other.tell("end")] == ["merged"]
    assert other.ingest.counters["parts"] == 1
    assert not [path for path in other.ingest._arrivals.folder.rglob("*") if path.is_file()]


def test_who_is_to_give_a_device_back_settles_what_came_and_only_then_ends_its_lease(processes: list[Process]) -> None:
    assert partition_of(DEVICE) >= PARTITIONS // 2  # of two processes the first by name gives this one back
    first, second = processes
    first.share.round()
    _fill(first)
    first.share.handle(DEVICE, ["up", NAME, REST[0][0]], REST[0][1])  # came, and is not settled yet
    second.share.round()
    first.sent.clear()
    first.share.round()
    assert not first.has_it()
    ((topic, payload),) = first.sent  # before: that it takes the device in
    assert topic == topics.ack(DEVICE, NAME)
    assert messages.decode(Ack, payload).ranges == ((0, 600_000),)
    second.share.round()
    assert not second.has_it()  # the lease ends with the other's next round
    first.share.round()
    second.share.round()
    assert second.has_it()
    assert len(first.share.heard) == len(second.share.heard) == PARTITIONS // 2
    (ack,) = second.tell("ask")
    assert ack.ranges == ((0, 600_000),)
    assert (first.tell("ask"), first.share.ignored) == ([], 1)


def test_who_finds_more_leases_of_an_earlier_life_than_its_share_gives_back_what_it_never_heard(
    processes: list[Process], memory_path: Path, clock: ManualClock
) -> None:
    killed, second = processes
    killed.share.round()  # all of them
    killed.ingest.close()
    second.share.round()
    again = Process(memory_path, killed.store, clock, "waycue-server")
    try:
        for _ in range(2):  # one for what is settled, one for the end of its lease
            again.share.round()
        second.share.round()
        assert (again.has_it(), second.has_it()) == (False, True)
        assert again.share.heard | second.share.heard == frozenset(range(PARTITIONS))
    finally:
        again.ingest.close()


def test_a_process_whose_lease_has_ended_stops_by_its_own_clock_before_another_begins(
    processes: list[Process], clock: ManualClock
) -> None:
    hung, other = processes
    hung.share.round()
    _fill(hung)
    clock.sleep(LEASE_S * 0.95)
    other.share.round()
    assert not other.has_it()
    assert hung.tell(*REST[0]) == []  # nobody else has it yet, but soon
    clock.sleep(LEASE_S)
    other.share.round()
    assert other.tell("ask")
    assert hung.tell(*REST[0]) == []
    hung.share.round()
    assert not hung.has_it()
    assert not hung.ingest.open_transfers


def test_a_database_that_is_away_ends_the_leases_in_time_and_its_return_brings_them_back(
    processes: list[Process], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = processes
    one.share.round()
    _fill(one)
    with monkeypatch.context() as patch:
        patch.setattr(Leases, "round", _away)
        one.share.round()
        assert one.has_it()
        clock.sleep(LEASE_S)
        one.share.round()
        assert not one.has_it()
    one.share.round()
    assert one.has_it()
    assert [ack.ranges for ack in one.tell("ask")] == [((0, 500_000),)]


def _away(*_: object) -> None:
    raise OperationalError("BEGIN IMMEDIATE", None, Exception("disk I/O error"))


def test_a_device_that_nobody_knew_is_heard_from_now_on_and_told_to_say_it_again(processes: list[Process]) -> None:
    one, _ = processes
    one.share.round()
    assert one.share.met("anna", online=True) == [(topics.grant("anna"), b'{"units":0,"number":0,"anew":true}')]
    assert one.share.met("ben", online=False) == []
    assert {*topics.intake("anna"), *topics.intake("ben")} < one.heard
    assert one.share.met("anna", online=True) == []


def test_where_the_list_of_devices_cannot_be_read_either_the_leases_end_all_the_same(
    processes: list[Process], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = processes
    one.share.round()
    _fill(one)
    monkeypatch.setattr(Leases, "round", _away)
    monkeypatch.setattr(one, "known", _away)
    one.share.round()
    assert one.has_it()
    clock.sleep(LEASE_S)
    one.share.round()
    assert not one.has_it()
    assert not one.ingest.open_transfers


def test_a_settlement_longer_than_a_lease_costs_nothing_while_the_lease_is_renewed(
    processes: list[Process], clock: ManualClock
) -> None:
    one, _ = processes
    one.share.round()
    _fill(one)
    one.sent.clear()
    waiting: list[Callable[[], list[Reply]]] = []
    one.asked = waiting
    for _ in range(8):
        one.share.round()
        clock.sleep(LEASE_S / 5)
    one.asked = None
    for work in waiting:
        one.do(work)
    assert one.has_it()
    assert one.sent == []  # nobody is told to begin anew
    assert one.ingest.open_transfers == 1


def test_what_was_another_s_for_a_while_is_taken_up_as_that_left_it(
    processes: list[Process], clock: ManualClock
) -> None:
    hung, other = processes
    hung.share.round()
    _fill(hung)
    waiting: list[Callable[[], list[Reply]]] = []
    hung.asked = waiting
    clock.sleep(LEASE_S)
    other.share.round()
    for part in REST:
        other.tell(*part)
    assert [ack.state for ack in other.tell("end")] == ["merged"]
    other.share._leases.end()
    hung.share.round()  # the first since
    hung.asked = None
    for work in waiting:
        hung.do(work)
    assert hung.has_it()
    assert hung.ingest.open_transfers == 0


def test_between_a_round_that_finds_a_lease_gone_and_its_end_here_nothing_is_handled(
    processes: list[Process], clock: ManualClock
) -> None:
    hung, other = processes
    hung.share.round()
    _fill(hung)
    clock.sleep(LEASE_S)
    other.share.round()
    hung.asked = []
    hung.share.round()
    assert hung.has_it()  # a settlement runs, or messages stand before it
    assert (hung.tell("ask"), hung.share.ignored) == ([], 1)


def _boxed() -> tuple[str, bytes]:
    """The name and the bytes of a container."""
    files = payloads(1)
    parts = [Part(kind, f"{kind}.bin", len(data), sha256(data).hexdigest()) for kind, data in files.items()]
    envelope = Envelope("chunk", RECORD, messages.to_dict(replace(chunk(1), parts=tuple(parts))))
    head = container.make_head(messages.encode(envelope), len(files))
    return f"{RECORD}.{messages.CONTAINER}", head + b"".join(files.values())


def test_a_container_in_memory_is_another_s_once_the_lease_has_ended(
    processes: list[Process], clock: ManualClock
) -> None:
    hung, other = processes
    name, data = _boxed()
    hung.share.round()
    assert hung.share.handle(DEVICE, ["up", name, "0"], data) == []
    clock.sleep(LEASE_S)
    other.share.round()
    hung.share.round()
    assert not hung.has_it()
    assert hung.ingest.settle() == []
    assert hung.ingest.counters["records"] == 0


def test_two_processes_that_take_the_same_container_apart_do_not_share_its_files(
    processes: list[Process], clock: ManualClock
) -> None:
    hung, other = processes
    name, data = _boxed()
    hung.share.round()
    hung.share.handle(DEVICE, ["up", name, "0"], data)
    hung.ingest.begin()
    clock.sleep(LEASE_S)
    other.share.round()
    files: list[set[Path]] = []

    def look(step: str) -> None:
        if step == "ingest:opened":
            files.append(set(hung.ingest._arrivals.folder.rglob("*.opened")))

    def late(step: str) -> None:
        look(step)
        if step == "ingest:opened":  # the other, which nobody knew to live still, wakes up just before the merge
            hung.ingest.run()

    hung.step, other.step = look, late
    other.share.handle(DEVICE, ["up", name, "0"], data)
    ((_, answer),) = other.ingest.settle()
    assert messages.decode(Ack, answer).state == "merged"
    assert [len(some) for some in files] == [2, 4]
