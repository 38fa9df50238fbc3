"""shared.notify speaks the sd_notify protocol to a real datagram socket."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.notify import ALIVE, READY, notify


@pytest.fixture(params=["path", "abstract"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@waycue-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        listening.bind(address.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listening


def test_the_supervisor_hears_each_line(supervisor: socket.socket) -> None:
    assert notify(READY, "STATUS=guiding, model starter-1")
    assert supervisor.recv(4096) == b"READY=1\nSTATUS=guiding, model starter-1"
    assert notify(ALIVE)
    assert supervisor.recv(4096) == b"WATCHDOG=1"


def test_without_a_supervisor_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(READY)


def test_a_supervisor_that_is_gone_does_not_end_the_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify(ALIVE)


@pytest.mark.parametrize("address", ["", "relative/path", "tcp:host"])
def test_an_address_of_another_kind_is_not_used(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify(READY)
