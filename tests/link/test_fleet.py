"""Many devices come home together, over a real broker whose queue they could fill many times over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fleet
from benchmarks._fleet_devices import Broker, Fleet
from server.broker.child import BrokerChild
from tests.device.outbox.records import payloads
from tests.link.parties import Server, until

DEVICES, CHUNKS, QUEUE = 16, 2, 60
LIMITS = ("max_inflight_messages 5", f"max_queued_messages {QUEUE}", "log_type all")
DROPPED = b"messages are being dropped"


def _fleet(broker: BrokerChild, folder: Path) -> Fleet:
    for kind, data in payloads(1).items():
        path = folder / "templates" / "0" / f"{kind}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    crowd = Fleet(Broker(broker.host, broker.port, folder), 0, DEVICES)
    crowd.connect()
    for device in crowd.devices:
        for _ in range(CHUNKS):
            device.seal(folder)
    return crowd


def test_nothing_is_dropped_and_nothing_goes_twice_where_the_server_grants_credit(memory_path: Path) -> None:
    with BrokerChild(memory_path / "broker", options=LIMITS) as broker, Server(broker, memory_path) as server:
        server.ingest.granting(QUEUE)
        crowd = _fleet(broker, memory_path)
        crowd.allow()
        crowd.until(lambda: all(device.box.empty for device in crowd.devices))
        assert DROPPED not in broker.log.read_bytes()
        figures = crowd.figures()
        assert (figures["resent_bytes"], figures["refusals"], figures["counters"].get("cuts", 0)) == (0, [], 0)
        assert len(server.depot.entries) == DEVICES * CHUNKS * 3
        assert server.ingest.credit is not None
        until(lambda: server.ingest.credit is not None and server.ingest.credit.held == 0)


def test_without_credit_the_same_fleet_overflows_the_queue(memory_path: Path) -> None:
    with BrokerChild(memory_path / "broker", options=LIMITS) as broker, Server(broker, memory_path):
        crowd = _fleet(broker, memory_path)
        crowd.allow()
        crowd.until(lambda: DROPPED in broker.log.read_bytes())


@pytest.mark.soak
def test_the_benchmark_of_a_fleet_writes_what_it_is_held_to(tmp_path: Path) -> None:
    out = tmp_path / "fleet.json"
    fleet.main(["--devices", "20", "--workers", "1", "--steady", "6", "--folder", str(tmp_path), "--out", str(out)])
    figures = json.loads(out.read_text())
    for run in (figures, *figures["workers"], figures["tls"]):
        assert run["burst"]["resent_share"] <= 0.02
        assert run["burst"]["share_of_single"] > 0
        assert run["burst"]["cpu_ms_per_chunk"] > 0
    assert figures["steady"]["p50_ms"] <= figures["steady"]["p95_ms"]
