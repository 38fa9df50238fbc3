"""A server and a device on the wire of `tests.device.updates.house`; a sound system of the test's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.capture.supervisor import Limits
from tests.device.updates.house import Device, Server
from tests.pulse import PulseChild, missing, rescan


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Where a test sets no other limit, a camera has a minute to start: a busy machine takes longer than a device."""
    limits = dataclasses.replace(Limits(), start_s=60.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Limits.__init__, "__defaults__", dataclasses.astuple(limits))
        yield


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


@pytest.fixture
def own_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseChild]:
    """A sound system that the test may take away."""
    if missing():
        pytest.skip(missing())
    child = PulseChild(tmp_path / "own")
    child.start()
    for name, value in child.env.items():
        monkeypatch.setenv(name, value)
    rescan()
    yield child
    child.stop()
    monkeypatch.undo()
    rescan()
