"""Fixtures of the link's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from server.broker.child import BrokerChild
from tests.device.outbox.records import DEVICE
from tests.link.parties import HastyClock, MakeLink


@pytest.fixture
def box(memory_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(memory_path / "outbox")
    yield outbox
    outbox.close()


def _changed(value: Any, changes: dict[str, object]) -> Any:
    """`value` with those changes that are its fields; they are taken out of `changes`."""
    own = {field.name: changes.pop(field.name) for field in fields(value) if field.name in changes}
    return replace(value, **own)


@pytest.fixture
def make_link(broker: BrokerChild, box: Outbox) -> Iterator[MakeLink]:
    """Links to the broker that are stopped in the end; keyword arguments override."""
    made: list[Link] = []

    def make(**changes: object) -> Link:
        settings = LinkSettings(broker.host, broker.port, DEVICE)
        ports = LinkPorts(box, HastyClock(), draw=lambda: 0.1)
        link = Link(_changed(settings, changes), _changed(ports, changes), **changes)  # type: ignore[arg-type]
        made.append(link)
        return link

    yield make
    for link in made:
        link.stop()
