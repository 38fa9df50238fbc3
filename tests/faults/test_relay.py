"""The relay does what it says: otherwise every test behind it would prove less than it claims."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.relay import Relay, Weather

WAIT_S = 20.0


class Echo:
    """Sends back what it gets, per connection; counts connections and how they ended."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.ends: list[str] = []
        self.ended = threading.Condition()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._echo, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
                end = "closed"
            except OSError:
                end = "reset"
        with self.ended:
            self.ends.append(end)
            self.ended.notify_all()

    def wait_ended(self, count: int) -> list[str]:
        with self.ended:
            assert self.ended.wait_for(lambda: len(self.ends) >= count, WAIT_S)
            return self.ends

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(WAIT_S)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def relay(echo: Echo) -> Iterator[Relay]:
    with Relay("127.0.0.1", echo.port) as made:
        yield made


def _connect(relay: Relay) -> socket.socket:
    return socket.create_connection((relay.host, relay.port), timeout=WAIT_S)


def _exchange(client: socket.socket, data: bytes) -> bytes:
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    got = bytearray()
    while len(got) < len(data):
        got += client.recv(65536)
    sender.join()
    return bytes(got)


def test_in_good_weather_bytes_come_as_they_were_sent(relay: Relay, echo: Echo) -> None:
    data = bytes(range(256)) * 4000
    with _connect(relay) as client:
        assert _exchange(client, data) == data
    assert echo.wait_ended(1) == ["closed"]
    relay.wait(lambda: relay.open == 0)
    assert relay.bytes == {"up": len(data), "down": len(data)}
    assert relay.cuts == 0


def test_a_speed_limit_holds_in_each_direction_and_for_all_connections_together(relay: Relay) -> None:
    relay.weather = Weather(bytes_per_s=400_000)
    began_s = time.monotonic()
    with _connect(relay) as one, _connect(relay) as other:
        second = threading.Thread(target=_exchange, args=(other, bytes(60_000)))
        second.start()
        _exchange(one, bytes(60_000))
        second.join()
    took_s = time.monotonic() - began_s
    assert 0.29 <= took_s < 5


def test_a_delay_is_added_to_each_way(relay: Relay) -> None:
    relay.weather = Weather(delay_s=0.1)
    with _connect(relay) as client:
        began_s = time.monotonic()
        _exchange(client, b"ping")
        assert time.monotonic() - began_s >= 0.2


def test_a_lost_packet_stalls_and_loses_nothing(relay: Relay) -> None:
    relay.weather = Weather(loss=1.0)
    with _connect(relay) as client:
        began_s = time.monotonic()
        assert _exchange(client, b"ping") == b"ping"
        assert time.monotonic() - began_s >= 0.4


def test_a_cut_resets_both_ends_and_new_connections_work(relay: Relay, echo: Echo) -> None:
    with _connect(relay) as client:
        _exchange(client, b"hello")
        relay.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert echo.wait_ended(1) == ["reset"]
    assert relay.cuts == 1
    with _connect(relay) as client:
        assert _exchange(client, b"again") == b"again"


def test_it_cuts_after_so_many_bytes(relay: Relay) -> None:
    relay.cut_after(100_000, "up")
    with _connect(relay) as client, pytest.raises((ConnectionError, BrokenPipeError)):  # noqa: PT012
        while True:
            client.sendall(bytes(10_000))
            client.recv(65536)
    relay.wait(lambda: relay.cuts == 1)
    assert 100_000 <= relay.bytes["up"] < 200_000


def test_a_hushed_connection_is_silent_without_an_end_while_a_new_one_works(relay: Relay, echo: Echo) -> None:
    with _connect(relay) as client:
        _exchange(client, b"hello")
        relay.hush()
        client.sendall(b"anyone?")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        with _connect(relay) as other:
            assert _exchange(other, b"here") == b"here"
    assert echo.wait_ended(1) == ["closed"]  # of the other one: nobody tells the server about the first
    assert relay.open == 1


def test_new_connections_can_be_swallowed_or_refused(relay: Relay) -> None:
    relay.weather = Weather(takes_new="silent")
    with _connect(relay) as client:
        client.sendall(b"hello")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    relay.weather = Weather(takes_new="no")
    with pytest.raises(ConnectionError), _connect(relay) as client:  # noqa: PT012  it may end while it connects
        client.sendall(b"hello")
        client.recv(1)
        client.sendall(b"hello")
        raise ConnectionResetError  # the end came politely: as good


def test_one_turned_bit_changes_one_byte(relay: Relay) -> None:
    relay.corrupt_next("up")
    with _connect(relay) as client:
        found = _exchange(client, bytes(1000))
    assert sum(byte.bit_count() for byte in found) == 1
    with _connect(relay) as client:
        assert _exchange(client, bytes(1000)) == bytes(1000)
