"""Fixtures of the link's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from device.sync.link import Link
from server.broker.child import BrokerChild
from tests.device.outbox.records import DEVICE
from tests.link.parties import HastyClock, MakeLink


@pytest.fixture
def box(memory_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(memory_path / "outbox")
    yield outbox
    outbox.close()


@pytest.fixture
def make_link(broker: BrokerChild, box: Outbox) -> Iterator[MakeLink]:
    """Links to the broker that are stopped in the end; keyword arguments override."""
    made: list[Link] = []

    def make(**changes: object) -> Link:
        values: dict[str, object] = {
            "host": broker.host,
            "port": broker.port,
            "device": DEVICE,
            "outbox": box,
            "clock": HastyClock(),
            "draw": lambda: 0.1,
        }
        link = Link(**(values | changes))  # type: ignore[arg-type]  # a test's short hand
        made.append(link)
        return link

    yield make
    for link in made:
        link.stop()
