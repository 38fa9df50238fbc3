"""Many devices come home together, over a real broker whose queue they could fill many times over."""

from __future__ import annotations

from pathlib import Path

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
    fleet = Fleet(Broker(broker.host, broker.port, folder), 0, DEVICES)
    fleet.connect()
    for device in fleet.devices:
        for _ in range(CHUNKS):
            device.seal(folder)
    return fleet


def test_nothing_is_dropped_and_nothing_goes_twice_where_the_server_grants_credit(memory_path: Path) -> None:
    with BrokerChild(memory_path / "broker", options=LIMITS) as broker, Server(broker, memory_path) as server:
        server.ingest.granting(QUEUE)
        fleet = _fleet(broker, memory_path)
        fleet.allow()
        fleet.until(lambda: all(device.box.empty for device in fleet.devices))
        assert DROPPED not in broker.log.read_bytes()
        figures = fleet.figures()
        assert (figures["resent_bytes"], figures["refusals"], figures["counters"].get("cuts", 0)) == (0, [], 0)
        assert len(server.depot.entries) == DEVICES * CHUNKS * 3
        assert server.ingest.credit is not None
        until(lambda: server.ingest.credit is not None and server.ingest.credit.held == 0)


def test_without_credit_the_same_fleet_overflows_the_queue(memory_path: Path) -> None:
    with BrokerChild(memory_path / "broker", options=LIMITS) as broker, Server(broker, memory_path):
        fleet = _fleet(broker, memory_path)
        fleet.allow()
        fleet.until(lambda: DROPPED in broker.log.read_bytes())
