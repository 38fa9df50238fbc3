"""A server and a device on the wire of `tests.device.updates.house`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.updates.house import Device, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home")
    yield server
    server.registry.close()


@pytest.fixture
def device(tmp_path: Path, server: Server) -> Iterator[Device]:
    device = Device(tmp_path / "state", server)
    yield device
    device.updater.close()
