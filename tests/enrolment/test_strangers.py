"""Strangers at the enrolment port who hold places and say nothing, or say it slowly: a device still comes in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from device.identity import identity
from server.identity.connection_limit import LimitedListener
from server.identity.enrol_http import LIFE_S, MOST_AT_ONCE, MOST_EACH
from shared.clock import ManualClock
from shared.errors import Refused
from tests.enrolment.conftest import Desk
from tests.enrolment.quick import SHOWN, ask


def plain(desk: Desk) -> socket.socket:
    return socket.create_connection(desk.address, timeout=60)


def handshaken(desk: Desk) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain(desk))


def half_said(desk: Desk) -> socket.socket:
    connection = handshaken(desk)
    connection.sendall(b"POST /enrol HTTP/1.1\r\nHost: x\r\nContent-Len")
    return connection


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("knock", [plain, handshaken, half_said])
def test_who_only_holds_places_keeps_nobody_out(desk: Desk, knock: Callable[[Desk], socket.socket]) -> None:
    with ExitStack() as held:
        silent = [held.enter_context(knock(desk)) for _ in range(MOST_AT_ONCE + MOST_EACH)]
        assert all(map(is_ended, silent[:-MOST_EACH])), "each would be a file descriptor of the whole server"
        assert desk.enrol(desk.book.add("pi-1").code).device == "pi-1"


def test_who_knows_no_code_does_not_even_hold_up_the_database(desk: Desk) -> None:
    code = desk.book.add("pi-1").code
    request = ask("0000-0000-0000-0000", "pi-1", identity.certificate_request(identity.new_key(), "pi-1"))
    with desk.store.writing(), pytest.raises(Refused, match="proof"):  # waiting for the lock would end in another error
        desk.book.redeem(request, fingerprints={SHOWN}, broker=":1")
    assert desk.enrol(code).device == "pi-1"


@contextmanager
def gate(clock: ManualClock, *, most: int, most_each: int) -> Iterator[LimitedListener]:
    listener = socket.create_server(("127.0.0.1", 0))
    with LimitedListener(listener, clock=clock, most=most, most_each=most_each, life_s=LIFE_S) as made:
        yield made


def guests(made: LimitedListener, count: int, held: ExitStack) -> list[socket.socket]:
    """The strangers' ends of connections that were accepted one after the other."""
    ends = []
    for _ in range(count):
        ends.append(held.enter_context(socket.create_connection(made.getsockname(), timeout=60)))
        held.enter_context(made.accept()[0])
    return ends


def test_where_all_places_are_taken_the_oldest_gives_way() -> None:
    with gate(ManualClock(), most=3, most_each=9) as made, ExitStack() as held:
        first, *others = guests(made, 4, held)
        assert is_ended(first)
        for other in others:
            other.settimeout(0)
            with pytest.raises(BlockingIOError):
                other.recv(1)


def test_who_took_too_long_is_ended_when_the_next_one_comes() -> None:
    clock = ManualClock()
    with gate(clock, most=9, most_each=9) as made, ExitStack() as held:
        slow = guests(made, 3, held)
        clock.sleep(LIFE_S + 1)
        guests(made, 1, held)
        assert all(map(is_ended, slow))


def test_a_connection_that_was_closed_holds_no_place() -> None:
    with gate(ManualClock(), most=2, most_each=9) as made, ExitStack() as held:
        (first,) = guests(made, 1, held)
        for _ in range(5):
            with socket.create_connection(made.getsockname(), timeout=60):
                made.accept()[0].close()
        first.settimeout(0)
        with pytest.raises(BlockingIOError):
            first.recv(1)
