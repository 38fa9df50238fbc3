"""The broker child keeps its promises: it is up when start returns, keeps its port, and ends when told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from server.broker.child import BrokerChild


def _answers(broker: BrokerChild) -> bool:
    try:
        with socket.create_connection((broker.host, broker.port), timeout=1):
            return True
    except OSError:
        return False


def test_a_started_broker_accepts_connections_and_keeps_its_port_over_a_kill(broker: BrokerChild) -> None:
    port = broker.port
    assert broker.running
    assert _answers(broker)
    broker.kill()
    assert broker.pid is None
    assert not _answers(broker)
    broker.start()
    assert broker.port == port
    assert _answers(broker)


def test_stop_and_kill_may_be_called_twice(broker: BrokerChild) -> None:
    broker.stop()
    broker.stop()
    broker.kill()
    assert broker.pid is None


def test_a_port_in_use_is_left_for_another_when_none_was_asked_for(broker: BrokerChild, tmp_path: Path) -> None:
    other = BrokerChild(tmp_path / "other")
    other.port = broker.port
    with other:
        assert other.port != broker.port
        assert _answers(other)


def test_more_lines_reach_the_configuration(tmp_path: Path, broker: BrokerChild) -> None:
    with BrokerChild(tmp_path / "small", options=["max_packet_size 5000"]) as small:
        assert "max_packet_size 5000" in small.conf.read_text()


@pytest.mark.usefixtures("broker")
def test_leaving_the_block_ends_the_broker(tmp_path: Path) -> None:
    with BrokerChild(tmp_path / "again") as child:
        assert child.running
    assert not child.running
