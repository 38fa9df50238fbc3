"""While a settlement waits for the disk the intake goes on, and answers nothing that is not durable."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.outbox.outbox import Outbox
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.ingest.arrival import Arrival
from server.ingest.arrivals import Arrivals
from server.ingest.ingest import EARLY_UNITS, Ingest
from server.ingest.limits import LimitsSettings
from shared import messages
from shared.credit import FRESH, MOST_GRANTED, UNIT_BYTES
from shared.messages import Ack, Begin, CreditGrant, CreditWish, Part
from shared.receiving import Receiver
from shared.topics import Reply
from tests.device.outbox.records import DEVICE, chunk
from tests.link.depot import Depot
from tests.link.parties import DEADLINE_S, MakeLink, Server, check, seal, seal_first, until

DATA = os.urandom(3000)


def acks(replies: list[Reply]) -> list[Ack]:
    return [messages.decode(Ack, payload) for _, payload in replies]


def name_of(number: int) -> str:
    return f"{chunk(number).chunk_id}.clip"


def send(ingest: Ingest, verb: str, payload: bytes = b"", *, number: int = 1) -> list[Ack]:
    return acks(ingest.handle(DEVICE, ["up", name_of(number), verb], payload))


def announce(ingest: Ingest, data: bytes, *, number: int = 1) -> None:
    part = Part("clip", "clip.mp4", len(data), sha256(data).hexdigest())
    assert send(ingest, "begin", messages.encode(Begin(chunk(number).chunk_id, part, DEVICE)), number=number) == []


@pytest.fixture
def ingest(memory_path: Path) -> Ingest:
    return Ingest(memory_path / "incoming", Depot(memory_path / "depot"), settings=LimitsSettings(open_files=1))


def test_bytes_that_come_meanwhile_are_neither_acknowledged_nor_recorded(memory_path: Path, ingest: Ingest) -> None:
    announce(ingest, DATA)
    send(ingest, "0", DATA[:1000])
    assert ingest.begin() == []
    send(ingest, "1000", DATA[1000:2000])
    ingest.run()
    assert acks(ingest.finish()) == [Ack("receiving", ranges=((0, 1000),), answers="begin")]
    ingest.close()  # and its process dies
    next_life = Ingest(memory_path / "incoming", Depot(memory_path / "depot"))
    send(next_life, "ask")
    assert acks(next_life.settle()) == [Ack("receiving", ranges=((0, 1000),), answers="ask")]


def test_bytes_that_came_meanwhile_are_durable_before_the_next_answer_names_them(
    memory_path: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(ingest, DATA)
    send(ingest, "0", DATA[:1000])
    ingest.begin()
    send(ingest, "1000", DATA[1000:2000])
    ingest.run()
    ingest.finish()
    synced: list[bytes] = []

    def fdatasync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}").encode())

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    assert acks(ingest.settle()) == [Ack("receiving", ranges=((0, 2000),))]
    assert [path.rpartition(b".")[2] for path in synced] == [b"data", b"ranges"]


def test_a_whole_file_under_work_is_answered_once_whatever_is_said_about_it_meanwhile(
    memory_path: Path, ingest: Ingest
) -> None:
    announce(ingest, DATA)
    send(ingest, "0", DATA)
    assert send(ingest, "end") == []
    ingest.begin()
    for verb, payload in (("0", DATA[:1000]), ("5", b"other"), ("ask", b""), ("end", b""), ("9999", b"outside")):
        assert send(ingest, verb, payload) == []
    announce(ingest, DATA)
    ingest.run()
    assert [ack.state for ack in acks(ingest.finish())] == ["merged"]
    assert ingest.settle() == []
    assert (memory_path / "depot" / f"{DEVICE}.{chunk(1).chunk_id}.clip.mp4").read_bytes() == DATA


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_file_under_work_is_refused_only_after_it_and_another_is_evicted_in_its_place(memory_path: Path) -> None:
    synced, go_on = threading.Event(), threading.Event()

    def step(name: str) -> None:
        if name == "arrivals:data_synced" and not synced.is_set():
            synced.set()
            assert go_on.wait(DEADLINE_S)

    ingest = Ingest(
        memory_path / "incoming", Depot(memory_path / "depot"), settings=LimitsSettings(open_files=1), crash_point=step
    )
    announce(ingest, DATA)
    send(ingest, "0", DATA[:1000])
    ingest.begin()
    running = in_thread(ingest.run)
    assert synced.wait(DEADLINE_S)
    announce(ingest, DATA, number=2)  # one too many, but the other is under work: both stay for now
    assert ingest.open_transfers == 2
    said: list[Ack] = []
    refusing = in_thread(lambda: said.extend(send(ingest, "2500", bytes(1000))))
    refusing.join(0.2)
    assert refusing.is_alive()
    go_on.set()
    running.join(DEADLINE_S)
    refusing.join(DEADLINE_S)
    assert [ack.state for ack in said] == ["refused"]
    assert ingest.finish() == []
    assert [ack.answers for ack in acks(ingest.settle())] == ["begin"]
    assert [path.name for path in (memory_path / "incoming" / DEVICE).glob("*.data")] == []


def test_a_file_that_the_disk_does_not_take_is_not_answered_and_the_next_settlement_has_all_of_it(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(ingest, DATA)
    send(ingest, "0", DATA[:1000])
    ingest.begin()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(28, "full")))
        ingest.run()
    assert ingest.finish() == []
    send(ingest, "1000", DATA[1000:2000])
    assert acks(ingest.settle()) == [Ack("receiving", ranges=((0, 2000),), answers="begin")]
    assert ingest.counters["errors"] == 1


class _Held(Ingest):
    """Once `held`, its process dies in the middle of a settlement, which ends without anything done at `go_on`."""

    held = False
    go_on: threading.Event

    def run(self) -> None:
        if not self.held:
            return super().run()
        self.go_on.wait(DEADLINE_S)
        return None


def test_the_broker_keeps_what_a_settlement_has_not_made_durable(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal_first(box)
    held = _Held(memory_path / "incoming", Depot(memory_path / "depot"))
    held.go_on = threading.Event()
    server = ServerLink(BrokerSession(broker.host, broker.port), Ports(held.handle, settling=held))
    server.start()
    assert server.ready.wait(DEADLINE_S)
    link = make_link()
    link.start()
    assert link.wait_idle(DEADLINE_S)  # the device has heard that this server grants no credit
    known, held.held = server.counters["messages"], True
    expected |= seal(box, 3)
    until(lambda: server.counters["messages"] >= known + 10)
    sent = link.sent_bytes
    server.stop(0.2)  # it dies in the middle: nothing was merged, nothing acknowledged
    assert box.counts().merged == 1
    held.go_on.set()
    held.close()
    with Server(broker, memory_path):
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 5)
    assert link.resent_bytes <= sent  # the device may have asked; what it had not to send again, the broker brought


def test_a_settlement_that_fails_in_a_way_nobody_thought_of_does_not_end_the_intake(
    ingest: Ingest, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(ingest, DATA)
    send(ingest, "0", DATA)
    send(ingest, "end")
    with monkeypatch.context() as patch:
        patch.setattr(Arrivals, "settle", lambda *_: (_ for _ in ()).throw(RuntimeError("unforeseen")))
        with pytest.raises(RuntimeError, match="unforeseen"):
            ingest.settle()
    send(ingest, "end")  # its device insists
    assert [ack.state for ack in acks(ingest.settle())] == ["merged"]


def test_after_a_settlement_that_failed_unforeseen_what_was_asked_is_answered_by_the_next(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(ingest, DATA)
    send(ingest, "0", DATA[:1000])
    ingest.begin()
    with monkeypatch.context() as patch:
        patch.setattr(Arrivals, "settle", lambda *_: (_ for _ in ()).throw(RuntimeError("unforeseen")))
        with pytest.raises(RuntimeError, match="unforeseen"):
            ingest.run()
    assert ingest.finish() == []
    send(ingest, "1000", DATA[1000:2000])
    assert acks(ingest.settle()) == [Ack("receiving", ranges=((0, 2000),), answers="begin")]


def test_bytes_that_were_written_anew_are_hashed_as_they_lie_on_the_disk(ingest: Ingest, memory_path: Path) -> None:
    other = bytes(1000) + DATA[1000:]
    announce(ingest, DATA)
    send(ingest, "0", DATA[:1000])
    send(ingest, "0", other[:1000])  # not durable yet, so it is written over
    send(ingest, "1000", DATA[1000:])
    send(ingest, "end")
    assert [ack.state for ack in acks(ingest.settle())] == ["unknown"]  # not merged under the hash of what came first
    announce(ingest, other, number=2)
    send(ingest, "0", DATA[:1000], number=2)
    send(ingest, "0", other[:1000], number=2)
    send(ingest, "1000", DATA[1000:], number=2)
    send(ingest, "end", number=2)
    assert [ack.state for ack in acks(ingest.settle())] == ["merged"]
    assert (memory_path / "depot" / f"{DEVICE}.{name_of(2)}.mp4").read_bytes() == other


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_in_whatever_order_the_hash_is_that_of_the_file(
    memory_path: Path, data: st.DataObject
) -> None:
    size = 300
    writes = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, 120), st.integers(0, 2))))
    begin = Begin("pi-1-b1-1", Part("clip", "clip.mp4", size, "0" * 64), DEVICE)
    arrival = Arrival(DEVICE, "x.clip", begin, Receiver(size), memory_path, key=os.urandom(4).hex())
    for start, length, byte in [(0, size, 7), *writes]:
        arrival.write(start, bytes([byte]) * min(length, size - start))
    found = sha256(arrival.data.read_bytes()).hexdigest()
    arrival.begin = replace(begin, part=replace(begin.part, sha256=found))
    assert arrival.matches()
    arrival.begin = begin
    assert not arrival.matches()
    arrival.close()


def test_while_a_settlement_waits_for_the_disk_a_device_is_granted_more_as_what_it_sent_comes(
    memory_path: Path,
) -> None:
    ingest = Ingest(memory_path / "incoming", Depot(memory_path / "depot")).granting(1000)

    def wish(device: str, units: int) -> list[int]:
        replies = ingest.handle(device, ["up", "credit"], messages.encode(CreditWish(units, 0, FRESH)))
        return [messages.decode(CreditGrant, payload).units for _, payload in replies]

    def part_comes(offset: int) -> list[tuple[str, int]]:
        replies = ingest.handle(DEVICE, ["up", name_of(1), str(offset)], bytes(UNIT_BYTES))
        granted = [(topic.split("/")[2], messages.decode(CreditGrant, payload)) for topic, payload in replies]
        return [(device, grant.units) for device, grant in granted if grant.units]

    assert [wish(name, 4000) for name in (DEVICE, "pi-2")] == [[MOST_GRANTED]] * 2  # all that may be granted at once
    assert wish("pi-5", 40) == [0]
    most, size = MOST_GRANTED, (EARLY_UNITS + MOST_GRANTED) * UNIT_BYTES
    part = Part("clip", "clip.mp4", size, sha256(b"").hexdigest())
    ingest.handle(DEVICE, ["up", name_of(1), "begin"], messages.encode(Begin(chunk(1).chunk_id, part, DEVICE)))
    ingest.begin()
    early = [granted for number in range(most) for granted in part_comes(number * UNIT_BYTES)]
    assert early[0] == ("pi-5", 40)
    assert ingest.credit is not None
    assert ingest.credit.held <= ingest.credit.capacity
    for number in range(most, EARLY_UNITS + most):  # as if others' units came without an end to the settlement
        part_comes(number * UNIT_BYTES)
    wish("pi-6", 400)
    assert part_comes(0) == []  # what is gathered for the next one is enough
    ingest.run()
    ingest.finish()
    ingest.close()
