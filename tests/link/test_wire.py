"""What is on its way to the broker is bounded in bytes, however much the server has not answered: a cut costs that."""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from device.sync.link import Link
from server.broker.child import BrokerChild
from shared.clock import SystemClock
from shared.link_speed import LinkSpeed
from shared.transfer import WINDOW_BYTES
from tests.device.outbox.records import chunk, payloads
from tests.faults.relay import Relay, Weather
from tests.link.parties import DEADLINE_S, MakeLink, Server, seal_first, until

RADIO = Weather(bytes_per_s=12_500_000, delay_s=0.02)
CLIPS, CLIP_BYTES = 4, 3_000_000


def _seal(box: Outbox) -> None:
    for number in range(CLIPS):
        box.seal_chunk(chunk(number), payloads(number) | {"clip": os.urandom(CLIP_BYTES)})


def test_a_cut_on_a_fast_link_with_a_delay_costs_at_most_what_was_on_the_wire(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    _seal(box)
    twice: list[int] = []  # resent bytes at each change of the connection
    made: list[Link] = []
    with Server(broker, memory_path), Relay(broker.host, broker.port, weather=RADIO) as relay:
        link = make_link(
            host=relay.host,
            port=relay.port,
            clock=SystemClock(),
            on_state=lambda _state: twice.append(made[0].resent_bytes),
        )
        made.append(link)
        link.start()
        for cut in range(2):
            relay.cut_after(3_000_000, "up")
            relay.wait(lambda before=cut: relay.cuts > before)  # type: ignore[misc]
        assert link.wait_idle(DEADLINE_S)
        twice.append(link.resent_bytes)
    per_cut = [later - sooner for sooner, later in itertools.pairwise(twice) if later > sooner]
    assert per_cut, "nothing was on its way when it was cut"
    assert max(per_cut) <= WINDOW_BYTES


def test_without_the_brokers_acknowledgements_no_more_than_the_wire_is_handed_to_the_socket(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    _seal(box)
    with Server(broker, memory_path), Relay(broker.host, broker.port, weather=RADIO) as relay:
        link = make_link(host=relay.host, port=relay.port, clock=SystemClock())
        link.start()
        until(lambda: link.delivery.uploads.pace.bytes_per_s > 1_000_000)
        relay.hush("down")
        before = link.sent_bytes
        threading.Event().wait(0.5)  # ten times what the relay's delay had on its way back
        handed = link.sent_bytes - before
        assert link.sent_bytes < CLIPS * CLIP_BYTES
        relay.cut()
        assert link.wait_idle(DEADLINE_S)
    # A few acknowledgements may have come through while it fell silent: each made room for as much again.
    assert handed <= 2 * WINDOW_BYTES
    assert link.resent_bytes <= WINDOW_BYTES


def test_while_the_server_is_slow_the_window_is_larger_than_the_wire(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_first(box)
    with Server(broker, memory_path) as server:
        run, go_on = server.ingest.run, threading.Event()

        def later() -> None:
            assert go_on.wait(DEADLINE_S)
            run()

        link = make_link(clock=SystemClock())
        link.delivery.uploads = replace(link.delivery.uploads, pace=LinkSpeed(20_000_000))
        link.start()
        assert link.wait_idle(DEADLINE_S)
        monkeypatch.setattr(server.ingest, "run", later)
        _seal(box)
        until(lambda: link.delivery.uploads.flying_bytes > 1_800_000)
        go_on.set()
        assert link.wait_idle(DEADLINE_S)
    assert link.resent_bytes == 0
