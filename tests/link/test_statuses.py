"""What devices say of themselves, over a real broker: a fleet that comes home costs a few transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import event, select

from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database import store as db
from server.ingest.ingest import Ingest
from shared import messages, topics
from shared.errors import Transient
from shared.messages import Status
from shared.topics import Reply
from tests.link.parties import DEADLINE_S, until
from tests.server.dataset.moments import House

FLEET = 1000
MOST_TRANSACTIONS = FLEET // 8
Statuses = Mapping[str, Status]


class Held:
    """An intake whose settlements can be held up."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def begin(self) -> list[Reply]:
        return []

    def run(self) -> None:
        self.began.set()
        self.go_on.wait(DEADLINE_S)

    def finish(self) -> list[Reply]:
        return []


@contextmanager
def serving(
    broker: BrokerChild, settling: Held | Ingest | None, take: Callable[[Statuses], None]
) -> Iterator[ServerLink]:
    ports = Ports(lambda *_: [], settling=settling, on_statuses=take)
    link = ServerLink(BrokerSession(broker.host, broker.port), ports)
    link.start()
    try:
        assert link.ready.wait(DEADLINE_S)
        yield link
    finally:
        link.stop()


@contextmanager
def devices(broker: BrokerChild) -> Iterator[Callable[[str, Status], None]]:
    """Says what devices say; the broker has it once the call returns."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()

    def say(device: str, status: Status) -> None:
        client.publish(topics.status(device), messages.encode(status), qos=1, retain=True)

    try:
        yield say
        client.publish("wc/end", b"", qos=1).wait_for_publish(DEADLINE_S)
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    made = House(memory_path / "home")
    yield made
    made.close()


def test_a_fleet_that_comes_home_costs_a_few_transactions_and_none_on_the_thread_that_hands_out(
    broker: BrokerChild, house: House
) -> None:
    with devices(broker) as say:
        for number in range(FLEET):
            say(f"pi-{number}", Status(online=True, backlog=number))
    commits: list[str] = []
    event.listen(house.store.engine, "commit", lambda _connection: commits.append(threading.current_thread().name))
    ingest = Ingest(house.home / "incoming", house.merge)

    def known() -> int:
        with house.store.reading() as connection:
            return len(connection.execute(select(db.devices.c.device)).all())

    with serving(broker, ingest, house.merge.put_statuses):
        until(lambda: known() == FLEET)
    ingest.close()
    mine = [name for name in commits if name != threading.current_thread().name]
    assert len(mine) <= MOST_TRANSACTIONS
    assert {name.rpartition("_")[0] for name in mine} == {"server link settling"}
    with house.store.reading() as connection:
        said = dict(connection.execute(select(db.devices.c.device, db.devices.c.status)).all())
    assert {device: status["backlog"] for device, status in said.items()} == {f"pi-{n}": n for n in range(FLEET)}


def test_of_what_waits_for_a_settlement_the_newest_of_each_device_is_taken_once(broker: BrokerChild) -> None:
    held, taken = Held(), list[dict[str, int]]()

    def take(statuses: Statuses) -> None:
        taken.append({device: status.backlog for device, status in statuses.items()})

    with serving(broker, held, take):
        with devices(broker) as say:
            held.go_on.clear()
            say("pi-0", Status(online=True, backlog=1))
            until(lambda: bool(taken))  # in the quiet case at once
            assert held.began.wait(DEADLINE_S)
            for number in range(40):
                for device in ("pi-1", "pi-2"):
                    say(device, Status(online=True, backlog=number))
        threading.Event().wait(0.2)
        assert taken == [{"pi-0": 1}]
        held.go_on.set()
        until(lambda: len(taken) > 1 and taken[-1] == {"pi-1": 39, "pi-2": 39})
    assert len(taken) <= 4  # the broker hands out twenty at a time


def test_without_settlements_a_status_is_taken_too(broker: BrokerChild) -> None:
    taken: list[Statuses] = []
    with serving(broker, None, taken.append), devices(broker) as say:
        say("pi-1", Status(online=True))
        until(lambda: [list(one) for one in taken] == [["pi-1"]])


@pytest.mark.parametrize("ours", [True, False])
def test_one_status_that_cannot_be_handled_costs_the_others_nothing(broker: BrokerChild, ours: bool) -> None:
    """Where it is the machine's fault they are not tried one by one: each would wait for a database that is away."""
    taken, calls = list[str](), list[int]()

    def take(statuses: Statuses) -> None:
        calls.append(len(statuses))
        if "odd" in statuses:
            raise Transient("the database is away") if ours else KeyError("unforeseen")
        taken.extend(statuses)

    held = Held()
    held.go_on.clear()
    with serving(broker, held, take) as link:
        with devices(broker) as say:
            say("first", Status(online=True))
            assert held.began.wait(DEADLINE_S)
            for device in ("pi-1", "odd", "pi-2"):
                say(device, Status(online=True))
            until(lambda: link.counters["messages"] == 4)
        held.go_on.set()
        until(lambda: link.counters["handler_errors"] == 1)
    assert (taken, calls) == ((["first"], [1, 3]) if ours else (["first", "pi-1", "pi-2"], [1, 3, 1, 1, 1]))
