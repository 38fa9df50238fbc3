"""Two real ingest processes on one home, which divide the devices between them; one is killed on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import func, select

from device.outbox.outbox import Counts, Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from server import config, worker
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.commands import main
from server.config import IngestSection, ServerConfig
from server.database import store as db
from server.database.store import open_store
from server.ingest.leases import Leases, listing
from server.ingest.partitions import PARTITIONS, partition_of
from server.maintenance import home_lock
from server.maintenance.check import check
from shared import topics
from shared.clock import SystemClock
from shared.link_speed import window_bytes
from shared.topics import Reply
from shared.transfer import MAX_PART_BYTES
from tests.device.outbox.records import chunk, correction, payloads, wav
from tests.link.parties import DEADLINE_S, HastyClock, until
from tests.paths import ROOT
from tests.secure import SecureSite

DEVICES = ("pi-1", "pi-2", "pi-3", "pi-4")
CHUNKS = 8
CLIP_BYTES = 900_000  # two windows
LEASE_S = 2.0


@pytest.fixture
def home(memory_path: Path) -> Path:
    folder = memory_path / "home"
    config.init(folder)
    (folder / config.FILE).write_text("[broker]\ntls = false\n[ingest]\nshared = true\nlease_s = 2\n")
    open_store(folder).close()
    return folder


@pytest.fixture
def workers(broker: BrokerChild, home: Path) -> Iterator[list[subprocess.Popen[str]]]:
    found = [_worker(broker, home, number) for number in (1, 2)]
    for child in found:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("Ready: waycue-worker-")
    yield found
    for child in found:
        child.terminate()
        child.wait(DEADLINE_S)
        assert child.stdout is not None
        child.stdout.close()


def _worker(broker: BrokerChild, home: Path, number: int) -> subprocess.Popen[str]:
    address = f"{broker.host}:{broker.port}"
    command = [sys.executable, "-m", "server", "--home", str(home), "ingest", "--number", str(number)]
    return subprocess.Popen([*command, "--plain", "--broker", address], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _count(home: Path) -> dict[str, int]:
    with closing(open_store(home)) as store, store.reading() as connection:
        return {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)
            for table in (db.records, db.parts, db.quarantine, db.samples)
        }


def _holders(home: Path) -> dict[int, str]:
    with closing(open_store(home)) as store:
        return {row.partition: row.holder for row in listing(store, now_s=SystemClock().utc_s(), lease_s=LEASE_S)}


def _divided(home: Path, *names: str) -> bool:
    return sorted(Counter(_holders(home).values()).items()) == [(name, PARTITIONS // len(names)) for name in names]


def _device(broker: BrokerChild, folder: Path, device: str, stack: ExitStack) -> tuple[Outbox, Link]:
    """A device with moments to send, at work."""
    box = stack.enter_context(closing(Outbox(folder / device)))
    for number in range(CHUNKS):
        box.seal_chunk(chunk(number, device=device), payloads(number, clip_bytes=CLIP_BYTES))
    box.seal_correction(correction(1, device=device), wav(99))
    settings = LinkSettings(broker.host, broker.port, device)
    link = Link(settings, LinkPorts(box, HastyClock(5), draw=lambda: 0.1))
    stack.callback(link.stop)
    return box, link


def _check(home: Path) -> None:
    assert _count(home) == {
        "records": len(DEVICES) * (CHUNKS + 1),
        "parts": len(DEVICES) * (3 * CHUNKS + 1),
        "quarantine": 0,
        "samples": len(DEVICES) * CHUNKS,
    }
    for log in ("records.jsonl", "metadata.jsonl"):
        lines = (home / "dataset" / log).read_text().splitlines()
        assert len(set(lines)) == len(lines), "something was merged twice"
    assert [path for path in (home / "incoming").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert check(home, SystemClock()).findings == ()


def test_a_worker_that_is_killed_in_the_middle_is_taken_over_and_costs_what_a_cut_costs(
    broker: BrokerChild, home: Path, workers: list[subprocess.Popen[str]], memory_path: Path
) -> None:
    until(lambda: _divided(home, "waycue-worker-1", "waycue-worker-2"))
    with ExitStack() as stack:
        devices = {device: _device(broker, memory_path, device, stack) for device in DEVICES}
        orphans = {device for device in DEVICES if _holders(home)[partition_of(device)] == "waycue-worker-1"}
        assert 0 < len(orphans) < len(DEVICES)
        for _, link in devices.values():
            link.start()
        until(lambda: all(devices[device][0].counts().merged for device in orphans))
        workers[0].kill()
        killed_s = time.monotonic()
        until(lambda: _divided(home, "waycue-worker-2"))
        assert time.monotonic() - killed_s < 2.5 * LEASE_S
        assert all(link.wait_idle(DEADLINE_S) for _, link in devices.values())
        for device, (box, link) in devices.items():
            box.forget_merged()  # waits for the link's own deletion
            assert box.counts() == Counts(merged=CHUNKS + 1)
            # The first message of a device that nobody knows yet goes to nobody.
            assert link.resent_bytes <= (512 * 1024 if device in orphans else 2000)
    _check(home)


def test_a_worker_that_comes_gets_its_share_and_one_that_goes_gives_it_back(
    broker: BrokerChild, home: Path, memory_path: Path
) -> None:
    first, second = _worker(broker, home, 1), None
    try:
        until(lambda: _divided(home, "waycue-worker-1"))
        with ExitStack() as stack:
            devices = {device: _device(broker, memory_path, device, stack) for device in DEVICES}
            for _, link in devices.values():
                link.start()
            second = _worker(broker, home, 2)
            until(lambda: _divided(home, "waycue-worker-1", "waycue-worker-2"))
            until(lambda: sum(box.counts().merged for box, _ in devices.values()) >= len(DEVICES))
            first.terminate()
            assert first.wait(DEADLINE_S) == 0
            until(lambda: _divided(home, "waycue-worker-2"))
            assert all(link.wait_idle(DEADLINE_S) for _, link in devices.values())
            for _, link in devices.values():  # what was under way at each of the two changes, and not more
                assert link.resent_bytes <= 2 * window_bytes(link.delivery.uploads.pace, MAX_PART_BYTES)
            for box, _ in devices.values():
                box.forget_merged()
    finally:
        for child in (first, second):
            if child is not None:
                child.kill()
                child.wait(DEADLINE_S)
                assert child.stdout is not None
                child.stdout.close()
    _check(home)


def test_people_see_who_has_which_devices(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(open_store(home)) as store:
        Leases(store, SystemClock(), "waycue-worker-3", lease_s=LEASE_S).round()
    assert main.main(["--home", str(home), "ingest", "--list"]) == 0
    assert capsys.readouterr().out.startswith(
        "waycue-worker-3: partitions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13"
    )
    assert main.main(["--home", str(home), "ingest", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["partition"], row["holder"]) for row in rows] == [
        (one, "waycue-worker-3") for one in range(PARTITIONS)
    ]
    with closing(open_store(home)) as store:
        Leases(store, SystemClock(), "waycue-worker-3", lease_s=LEASE_S).end()
    assert main.main(["--home", str(home), "ingest", "--list"]) == 0
    assert capsys.readouterr().out.startswith("nobody: partitions 0, 1")
    (home / config.FILE).write_text("[broker]\ntls = false\n")
    assert main.main(["--home", str(home), "ingest", "--list"]) == 0
    assert "One process has all devices" in capsys.readouterr().out


def test_a_worker_says_what_to_do_where_it_cannot_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with home_lock.numbered(home, 1):
        assert main.main(["--home", str(home), "ingest", "--plain"]) == 2
    assert "Worker 1 runs already. Give this one another --number." in capsys.readouterr().err
    assert main.main(["--home", str(home), "ingest", "--plain", "--number", "9"]) == 2
    (home / config.FILE).write_text("[broker]\ntls = false\n")
    assert main.main(["--home", str(home), "ingest", "--plain"]) == 2
    assert "shared = true" in capsys.readouterr().err


def test_workers_hear_the_devices_of_their_share_over_tls_too(secure_broker: SecureSite) -> None:
    heard: list[str] = []

    def handle(device: str, levels: list[str], payload: bytes) -> list[Reply]:
        heard.append(f"{device} {levels} {payload!r}")
        return []

    shared = ServerConfig(ingest=IngestSection(shared=True))
    address = secure_broker.host, secure_broker.port
    links = [
        ServerLink(
            BrokerSession(*address, name, secure_broker.server_context(name), filters, persistent=False), Ports(handle)
        )
        for name, filters in (("waycue-worker-1", worker.WORKER_FILTERS), ("waycue-server", worker.filters(shared)))
    ]
    sender = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="anna", protocol=MQTTProtocolVersion.MQTTv5)
    sender.tls_set_context(secure_broker.enrol("anna").context())
    try:
        for link in links:
            link.start()
            assert link.ready.wait(DEADLINE_S)
        links[0].hear(topics.intake("anna"))
        sender.connect(secure_broker.host, secure_broker.port)
        sender.loop_start()
        until(lambda: sender.publish(topics.event("anna"), "hello", qos=1).rc == 0 and bool(heard))
        for number in range(20):
            sender.publish(topics.event("anna"), str(number), qos=1)
            sender.publish(topics.part("anna", "x.clip", number), b"x", qos=1)
        until(lambda: len([one for one in heard if "hello" not in one]) >= 40)
        sender.publish(topics.want("anna"), b"{}", qos=1)
        until(lambda: any("want" in one for one in heard))
        links[0].unhear(topics.intake("anna"))
        until(lambda: links[0].counters["messages"] >= 41)
    finally:
        sender.disconnect()
        sender.loop_stop()
        for link in links:
            link.stop()
    told = [one for one in heard if "hello" not in one]
    assert len(set(told)) == len(told) == 41  # each message to one of them
    assert links[1].counters["messages"] == 1  # only `run` answers a request for blocks
