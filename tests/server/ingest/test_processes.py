"""Two real ingest processes on one home and one shared subscription, one of which is killed on the way."""

from __future__ import annotations

import subprocess
import sys
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
from server.maintenance import home_lock
from server.maintenance.check import check
from shared import topics
from shared.clock import SystemClock
from shared.topics import Reply
from tests.device.outbox.records import chunk, correction, payloads, wav
from tests.link.parties import DEADLINE_S, HastyClock, until
from tests.paths import ROOT
from tests.secure import SecureSite

DEVICES = ("pi-1", "pi-2", "pi-3")
CHUNKS = 8
CLIP_BYTES = 900_000  # two windows: the parts of one clip land in both workers


@pytest.fixture
def home(memory_path: Path) -> Path:
    folder = memory_path / "home"
    config.init(folder)
    (folder / config.FILE).write_text("[broker]\ntls = false\n[ingest]\nshared = true\n")
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


def test_two_workers_share_the_messages_and_one_that_is_killed_costs_nothing(
    broker: BrokerChild, home: Path, workers: list[subprocess.Popen[str]], memory_path: Path
) -> None:
    with ExitStack() as stack:
        boxes, links = [], []
        for device in DEVICES:
            box = stack.enter_context(closing(Outbox(memory_path / device)))
            for number in range(CHUNKS):
                box.seal_chunk(chunk(number, device=device), payloads(number, clip_bytes=CLIP_BYTES))
            box.seal_correction(correction(1, device=device), wav(99))
            settings = LinkSettings(broker.host, broker.port, device)
            link = Link(settings, LinkPorts(box, HastyClock(5), draw=lambda: 0.1))
            stack.callback(link.stop)
            link.start()
            boxes.append(box)
            links.append(link)
        until(lambda: sum(box.counts().merged for box in boxes) >= 3)
        workers[0].kill()
        assert all(link.wait_idle(DEADLINE_S) for link in links)
        for box in boxes:
            box.forget_merged()  # waits for the link's own deletion
        assert [box.counts() for box in boxes] == [Counts(merged=CHUNKS + 1)] * len(DEVICES)
    assert _count(home) == {
        "records": len(DEVICES) * (CHUNKS + 1),
        "parts": len(DEVICES) * (3 * CHUNKS + 1),
        "quarantine": 0,
        "samples": len(DEVICES) * CHUNKS,
    }
    found = check(home, SystemClock())
    assert found.findings == ()


def test_a_worker_says_what_to_do_where_it_cannot_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with home_lock.numbered(home, 1):
        assert main.main(["--home", str(home), "ingest", "--plain"]) == 2
    assert "Worker 1 runs already. Give this one another --number." in capsys.readouterr().err
    assert main.main(["--home", str(home), "ingest", "--plain", "--number", "9"]) == 2
    (home / config.FILE).write_text("[broker]\ntls = false\n")
    assert main.main(["--home", str(home), "ingest", "--plain"]) == 2
    assert "shared = true" in capsys.readouterr().err


def test_workers_hear_their_share_over_tls_too(secure_broker: SecureSite) -> None:
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
        for name, filters in (("waycue-worker-1", worker.SHARED_FILTERS), ("waycue-server", worker.filters(shared)))
    ]
    sender = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="anna", protocol=MQTTProtocolVersion.MQTTv5)
    sender.tls_set_context(secure_broker.enrol("anna").context())
    try:
        for link in links:
            link.start()
            assert link.ready.wait(DEADLINE_S)
        sender.connect(secure_broker.host, secure_broker.port)
        sender.loop_start()
        for number in range(20):
            sender.publish(topics.event("anna"), str(number), qos=1)
            sender.publish(topics.part("anna", "x.clip", number), b"x", qos=1)
        until(lambda: len(heard) >= 40)
        sender.publish(topics.want("anna"), b"{}", qos=1)
        until(lambda: len(heard) >= 41)
    finally:
        sender.disconnect()
        sender.loop_stop()
        for link in links:
            link.stop()
    assert len(set(heard)) == len(heard) == 41  # each message to one of them
    assert all(link.counters["messages"] > 5 for link in links)
