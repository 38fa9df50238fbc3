"""A device that was let in and means harm: what it may cost the server and the other devices."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.broker.link import BrokerSession, Ports, ServerLink
from server.identity.certificates import MOST_ASKED_AN_HOUR
from server.ingest.decode import record_bytes
from server.ingest.ingest import Ingest
from server.ingest.limits import BURST_S, LimitsSettings, message_cost, message_limiter
from shared import container, messages, topics
from shared.clock import ManualClock, SystemClock
from shared.messages import CONTAINER, Ack, Envelope, Renew, Status
from shared.topics import Reply
from tests.device.outbox.records import chunk
from tests.link.depot import Depot
from tests.pulse import until
from tests.secure import Card, SecureSite, csr, secure_site
from tests.security.intruder import Intruder


class Busy:
    """A server that is held up by the first event until `go` is set."""

    def __init__(self, site: SecureSite) -> None:
        self.go, self.held = threading.Event(), threading.Event()
        self.heard: Counter[str] = Counter()
        self.statuses: list[Status] = []
        self.link = ServerLink(
            BrokerSession(site.host, site.port, tls=site.server_context()),
            Ports(self._handle, on_statuses=lambda statuses: self.statuses.extend(statuses.values())),
        )

    def _handle(self, device: str, _levels: list[str], _payload: bytes) -> list[Reply]:
        self.held.set()
        self.go.wait(30)
        self.heard[device] += 1
        return []


@contextmanager
def busy(site: SecureSite) -> Iterator[Busy]:
    server = Busy(site)
    server.link.start()
    try:
        assert server.link.ready.wait(60)
        yield server
    finally:
        server.go.set()
        server.link.stop()


def test_of_many_statuses_in_a_row_only_the_newest_costs_a_write(secure_broker: SecureSite) -> None:
    """Each is a transaction: 200 a second held everybody else up for good."""
    count = 300
    with busy(secure_broker) as server, intruder(secure_broker, "loud") as loud:
        loud.publish(topics.event("loud"))
        assert server.held.wait(60)
        for number in range(count):
            loud.publish(topics.status("loud"), messages.encode(Status(online=True, backlog=number)))
        loud.publish(topics.event("loud"))
        server.go.set()
        until(lambda: server.heard["loud"] == 2, "the message after the flood")
    assert server.statuses[-1].backlog == count - 1
    # The first hundred lie ready and are one batch; the rest trickle in as these are acknowledged.
    # How many of these come one by one depends on how busy the machine is; without the rule it is all of them.
    assert len(server.statuses) < count * 3 / 4


def test_what_a_device_left_at_the_broker_does_not_come_at_each_start_of_the_server(secure_broker: SecureSite) -> None:
    with intruder(secure_broker, "loud") as loud:
        loud.publish(topics.event("loud"), retain=True)
        loud.publish(topics.status("loud"), messages.encode(Status(online=True, backlog=7)), retain=True)
    with busy(secure_broker) as server:
        server.go.set()
        until(lambda: bool(server.statuses), "the status, which is kept by design")
        assert server.link.counters["messages"] == 1


def test_odd_statuses_fill_no_log(secure_broker: SecureSite, caplog: pytest.LogCaptureFixture) -> None:
    with busy(secure_broker) as server, intruder(secure_broker, "loud") as loud:
        server.go.set()
        for number in range(50):
            loud.publish(topics.status("loud"), b"no status" * number)
            loud.publish(topics.event("loud"))
        until(lambda: server.heard["loud"] == 50, "all of them")
    assert sum("cannot be read" in line for line in caplog.messages) == 1


@contextmanager
def intruder(site: SecureSite, device: str) -> Iterator[Intruder]:
    with Intruder(site, site.enrol(device).context(), client_id=device) as client:
        assert client.connect() == "Success"
        yield client


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(LimitsSettings(free_mb=10**9), "disk is nearly full"), (LimitsSettings(day_mb=1), "it goes on tomorrow")],
)
def test_records_count_as_files_do(limits: LimitsSettings, reason: str, tmp_path: Path) -> None:
    """A record may have 64 KiB: without files, too, a device could fill the disk, 90 MB a second."""
    ingest = Ingest(tmp_path / "incoming", Depot(tmp_path / "depot"), settings=limits)
    answers: list[Ack] = []
    for number in range(20):
        record = chunk(number, device="loud")
        extra = {f"more-{index}": "x" * 4000 for index in range(14)}
        body = messages.to_dict(record) | extra
        payload = messages.encode(Envelope("chunk", record.chunk_id, body))
        replies = ingest.handle("loud", ["up", "event"], payload) + ingest.settle()
        answers += [messages.decode(Ack, answer) for _, answer in replies]
    ingest.close()
    assert len(answers) == 20
    assert answers[-1].state == "paused"
    assert reason in answers[-1].reason


def test_large_records_use_a_devices_pace_up_faster_than_small_ones() -> None:
    """700 a second of 57 KB each were merged, and nobody else's."""

    def taken(record_bytes: int) -> int:
        limiter, cost, count = message_limiter(LimitsSettings()), message_cost(record_bytes, LimitsSettings()), 0
        while limiter.allows("loud", 0.0, cost):
            count += 1
        return count

    assert taken(1000) == LimitsSettings().messages_per_s * BURST_S
    assert taken(57_000) < 200
    slow = LimitsSettings(messages_per_s=1)
    assert message_limiter(slow).allows("loud", 0.0, message_cost(60_000, slow)), "alone it always passes"


def test_a_message_that_lies_about_the_record_in_it_costs_what_it_has() -> None:
    """Three kilobytes that said "three megabytes" used up a second's pace: what came next was paused."""
    levels = ["up", f"x.{CONTAINER}", "0"]
    assert record_bytes(levels, container.make_head(bytes(2_000_000), 0)[:100]) == 100
    assert record_bytes(levels, container.make_head(bytes(50), 0) + bytes(100)) == 50


def test_who_asks_for_certificates_all_the_time_is_not_answered(secure_broker: SecureSite) -> None:
    """Each question costs signatures and a transaction: 200 a second held everybody else up for good."""
    loud, quiet = (asks(secure_broker.enrol(name)) for name in ("loud", "quiet"))
    renew = secure_broker.certificates.renew
    answered = [bool(renew("loud", ["up", "renew"], loud)) for _ in range(2 * MOST_ASKED_AN_HOUR)]
    assert answered == [True] * MOST_ASKED_AN_HOUR + [False] * MOST_ASKED_AN_HOUR
    assert renew("quiet", ["up", "renew"], quiet), "it costs the others nothing"


def test_after_an_hour_it_is_answered_again(tmp_path: Path) -> None:
    with secure_site(tmp_path, clock=(clock := ManualClock(epoch_s=SystemClock().utc_s())), sync=False) as site:
        question = asks(site.enrol("loud", wait=False))
        for _ in range(2 * MOST_ASKED_AN_HOUR):
            site.certificates.renew("loud", ["up", "renew"], question)
        clock.sleep(3601)
        assert site.certificates.renew("loud", ["up", "renew"], question)


def asks(card: Card) -> bytes:
    """A device's question for a new certificate for the key that it has."""
    key = serialization.load_pem_private_key(card.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return messages.encode(Renew(csr(key, card.device)))
