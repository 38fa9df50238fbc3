"""No device gets more than its share, and what came in is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from server import config
from server.commands import main
from server.database.store import Store, open_store
from server.dataset.folder import Dataset
from server.ingest import counters
from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.limits import MB, DeviceLoad, LimitsSettings, message_cost, message_limiter, pause, refusal
from server.web.app import create_app
from shared import messages
from shared.clock import ManualClock
from shared.messages import Ack, Begin, Envelope, Part
from tests.device.outbox.records import chunk
from tests.link.depot import Depot

DAY_S = 86400.0
ROOMY = DeviceLoad(open_bytes=0, bytes_today=0, free_bytes=10**12)


@pytest.fixture
def store(memory_path: Path) -> Iterator[Store]:
    opened = open_store(memory_path / "home")
    yield opened
    opened.close()


class Intake:
    """An intake with a clock of its own, and its answers."""

    def __init__(self, folder: Path, limits: LimitsSettings, *, store: Store | None = None) -> None:
        self.clock = ManualClock()
        self.ingest = Ingest(
            folder / "incoming", Depot(folder / "depot"), settings=limits, counts=DailyCounts(self.clock, store)
        )

    def tell(self, device: str, name: str, verb: str, payload: bytes = b"") -> list[Ack]:
        replies = self.ingest.handle(device, ["up", name, verb], payload) + self.ingest.settle()
        return [messages.decode(Ack, answer) for _, answer in replies]

    def begin(self, number: int, size: int, *, device: str = "pi-1") -> Ack:
        record_id = chunk(number, device=device).chunk_id
        begin = Begin(record_id, Part("clip", "clip.mp4", size, f"{number:064x}"), device)
        return self.tell(device, f"{record_id}.clip", "begin", messages.encode(begin))[-1]

    def send(self, number: int, data: bytes, *, device: str = "pi-1") -> Ack:
        record_id = chunk(number, device=device).chunk_id
        begin = Begin(record_id, Part("clip", "clip.mp4", len(data), sha256(data).hexdigest()), device)
        name = f"{record_id}.clip"
        first = self.tell(device, name, "begin", messages.encode(begin))[-1]
        if first.state != "receiving":
            return first
        self.tell(device, name, "0", data)
        return self.tell(device, name, "end")[-1]


def test_a_file_that_is_too_large_is_refused_for_good(memory_path: Path) -> None:
    found = Intake(memory_path, LimitsSettings(file_mb=1)).begin(1, MB + 1)
    assert (found.state, found.reason) == ("refused", "1000001 bytes, at most 1000000 are taken")


def test_too_much_in_unfinished_files_is_paused_until_one_is_done(memory_path: Path) -> None:
    its = Intake(memory_path, LimitsSettings(open_mb=2))
    assert [its.begin(number, MB).state for number in range(3)] == ["receiving", "receiving", "paused"]
    assert its.begin(0, MB, device="pi-2").state == "receiving"
    its.tell("pi-1", f"{chunk(0).chunk_id}.clip", "999999999", b"x")  # refused: outside the file
    assert its.begin(2, MB).state == "receiving"


def test_the_day_has_its_measure_and_the_next_one_begins_anew(memory_path: Path, store: Store) -> None:
    limits = LimitsSettings(day_mb=1)
    its = Intake(memory_path, limits, store=store)
    assert [its.send(number, bytes(300_000)).state for number in range(4)] == ["merged", "merged", "merged", "paused"]
    assert its.send(0, bytes(300_000), device="pi-2").state == "merged"
    its.ingest.close()
    again = Intake(memory_path, limits, store=store)  # a restart forgets nothing
    assert "tomorrow" in again.send(4, bytes(300_000)).reason
    again.clock.sleep(DAY_S)
    assert again.send(4, bytes(300_000)).state == "merged"


def test_nothing_new_is_begun_while_the_disk_is_nearly_full(memory_path: Path) -> None:
    its = Intake(memory_path, LimitsSettings(free_mb=10**9))
    assert its.begin(1, 10).reason == "the server's disk is nearly full"


def test_a_flood_is_dropped_and_told_of_once_a_second(memory_path: Path) -> None:
    its = Intake(memory_path, LimitsSettings(messages_per_s=10))
    acks = [ack for _ in range(60) for ack in its.tell("pi-1", "x.clip", "ask")]
    assert [ack.state for ack in acks] == ["unknown"] * 20 + ["paused"]
    assert its.ingest.counters["limited"] == 40
    assert its.tell("pi-2", "x.clip", "ask")[0].state == "unknown"
    its.clock.sleep(1.0)
    states = [ack.state for _ in range(20) for ack in its.tell("pi-1", "x.clip", "ask")]
    assert states == ["unknown"] * 10 + ["paused"]


def test_zero_means_no_limit() -> None:
    none = replace(LimitsSettings(), open_mb=0, day_mb=0, free_mb=0, file_mb=0, messages_per_s=0)
    assert pause(10**12, replace(ROOMY, bytes_today=10**15, open_bytes=10**15, free_bytes=0), none) is None
    assert refusal(10**12, none) is None
    assert all(message_limiter(none).allows("pi-1", 0.0, message_cost(size, none)) for size in (0, 10**6))


def test_what_came_is_counted_by_device_over_all_workers_and_shown(
    memory_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for worker in ("a", "b"):
        its = Intake(memory_path / worker, LimitsSettings(), store=store)
        its.send(1, b"x" * 500)
        record = Envelope("chunk", chunk(1).chunk_id, messages.to_dict(chunk(1)))
        its.ingest.handle("pi-1", ["up", "event"], messages.encode(record))
        its.ingest.handle("pi-2", ["up", "event"], b"no json")
        its.ingest.settle()
        its.ingest.close()
    found = counters.figures(store, now_s=its.clock.utc_s())
    assert (found.today["parts"], found.today["bytes"], found.today["records"]) == (2, 1000, 2)
    assert (found.devices["pi-2"]["foreign"], found.devices["pi-1"]["foreign"]) == (2, 0)
    later = counters.figures(store, now_s=its.clock.utc_s() + 3 * DAY_S)
    assert (later.today["bytes"], later.week["bytes"]) == (0, 1000)
    clock = ManualClock()
    app = create_app(store, Dataset(store.home / "dataset"), clock=clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/api/stats").json()["intake"] == asdict(found)
    config.init(store.home)
    assert main.main(["--home", str(store.home), "stats", "--json"]) == 0
    assert "intake" in json.loads(capsys.readouterr().out)


def test_the_counts_of_a_thousand_devices_are_written_and_read_in_a_few_statements(store: Store) -> None:
    counts, statements = DailyCounts(ManualClock(), store), list[str]()
    event.listen(store.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    for _ in range(2):
        for number in range(1000):
            counts.add(f"pi-{number}", "messages", 2)
            counts.add(f"pi-{number}", "received_bytes", number)
        counts.flush(now=True)
        for number in range(1000):
            counts.today(f"pi-{number}", "received_bytes")
    assert len(statements) <= 2 * 8
    assert counts.today("pi-7", "received_bytes") == 14
    assert counts.today("pi-999", "messages") == 4
