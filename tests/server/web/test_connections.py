"""Strangers at the page's socket: half requests, slow ones, floods. Each again with its control taken out."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server import logs
from server.identity.authority import Authority
from server.web import connections, guard
from server.web.app import create_app
from server.web.connections import ConnectionLimits, PageServer
from server.web.page_tls import PageCertificate
from shared.clock import SystemClock
from shared.errors import ConfigError
from tests.server.dataset.moments import House
from tests.server.web.serving import FLAGGED, ask

CONTROL = pytest.mark.parametrize("control", ["on", "off"])
HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
ANSWER_S, SHORT_S = 20.0, 0.4
LIMITS = ConnectionLimits()


@contextmanager
def page(house: House, limits: ConnectionLimits = LIMITS, **more: Any) -> Iterator[int]:
    """The port of a page served as `waycue-server run` does it."""
    app = create_app(house.store, house.dataset, clock=house.clock)
    listener = connections.listen("127.0.0.1", 0, clock=SystemClock(), limits=limits)
    port: int = listener.getsockname()[1]
    server = PageServer(app, listener, **more)
    thread = threading.Thread(target=server.run, name="page")
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(ANSWER_S)
        assert not thread.is_alive()


def said(port: int, data: bytes, *, timeout_s: float = ANSWER_S) -> bytes:
    """What the server answers to these bytes until it ends the connection; b"" also where nothing came in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(data)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while piece := connection.recv(65536):
                found += piece
        return found


def is_open(connection: socket.socket, *, timeout_s: float) -> bool:
    """Whether the server has still not ended a connection after so long."""
    connection.settimeout(timeout_s)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


@CONTROL
def test_half_requests_keep_nobody_out(control: str, house: House) -> None:
    most = 30 if control == "on" else 10_000
    with page(house, ConnectionLimits(most=most, most_each=most, idle_s=1000, head_s=1000)) as port:
        held = []
        for _ in range(150):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S))
            held[-1].sendall(HALF)
        assert ask(f"http://127.0.0.1:{port}/healthz").status == 200
        first, left = held[0], sum(is_open(one, timeout_s=0.01) for one in held)
        assert is_open(first, timeout_s=0.01) == (control == "off")
        assert left == 150 if control == "off" else left <= most, "without the control each holds a file"
        for one in held:
            one.close()


@CONTROL
def test_the_one_that_is_answered_stays(control: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(connections.PatientProtocol, "_look", lambda _: None)
    gate, inside = threading.Event(), threading.Event()

    def wait(_store: object, **_more: object) -> dict[str, int]:
        inside.set()
        gate.wait(ANSWER_S)
        return {}

    with page(house, ConnectionLimits(most=5, most_each=5, idle_s=1000)) as port:
        monkeypatch.setattr("server.review.decisions.counts", wait)
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as answered:
            answered.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert inside.wait(ANSWER_S)
            others = [socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) for _ in range(12)]
            is_open(others[0], timeout_s=ANSWER_S)  # it has given way to the others
            gate.set()
            kept = is_open(answered, timeout_s=ANSWER_S)
        for one in others:
            one.close()
    assert kept == (control == "on")


@CONTROL
def test_a_head_that_dribbles_in_has_a_time_limit(control: str, house: House) -> None:
    limits = ConnectionLimits(head_s=SHORT_S if control == "on" else 60.0)
    with page(house, limits) as port, socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as slow:
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                slow.sendall(b"G")
                if not is_open(slow, timeout_s=SHORT_S / 8):
                    break
        assert is_open(slow, timeout_s=0.01) == (control == "off")


@CONTROL
def test_a_body_that_dribbles_in_has_a_time_limit(control: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "READ_S", SHORT_S if control == "on" else 60.0)
    head = f"POST /moments/{FLAGGED}/review HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\naction="
    with page(house) as port:
        answer = said(port, head.encode(), timeout_s=3 * SHORT_S)
    assert answer.startswith(b"HTTP/1.1 408") if control == "on" else answer == b""


@CONTROL
@pytest.mark.parametrize("said_length", [b"", b"Content-Length: 10\r\n"])
def test_a_chunked_body_is_not_taken_in(
    said_length: bytes, control: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    if control == "off":
        monkeypatch.setattr(guard, "_body_objection", lambda _headers: None)
        monkeypatch.setattr(guard, "MAX_BODY_BYTES", 10**9)
        again = guard._again

        def counted(body: bytes, receive: Any) -> Any:
            taken.append(len(body))
            return again(body, receive)

        monkeypatch.setattr(guard, "_again", counted)
    head = f"POST /moments/{FLAGGED}/review HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n"
    body = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    with page(house) as port, socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as flood:
        with contextlib.suppress(ConnectionError):
            flood.sendall(head + said_length + kind + b"\r\n")
            for _ in range(60):
                flood.sendall(body)
            flood.sendall(b"0\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = flood.recv(100)
    if control == "off":
        assert taken == [60 * 0x8000], "without the control all of it is in memory"
    else:
        assert not answer or answer.startswith(b"HTTP/1.1 411")


@CONTROL
def test_who_sends_on_after_the_refusal_is_left_after_a_while(control: str, house: House) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    limits = ConnectionLimits(head_s=SHORT_S if control == "on" else 60.0)
    with page(house, limits) as port, socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as flood:
        flood.sendall(head)
        assert flood.recv(12) == b"HTTP/1.1 411"
        goes_on = True
        for _ in range(30):
            try:
                flood.sendall(b"400\r\n" + b"x" * 0x400 + b"\r\n")
                flood.settimeout(SHORT_S / 8)
                goes_on = flood.recv(4096) != b""
            except TimeoutError:
                continue
            except ConnectionError:
                goes_on = False
            if not goes_on:
                break
    assert goes_on == (control == "off"), "without the control it may go on for ever"


@CONTROL
def test_a_body_is_counted_as_it_comes(control: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_body_objection", lambda _headers: None)
    if control == "off":
        monkeypatch.setattr(guard, "MAX_BODY_BYTES", 10**9)
    body = b"text=" + b"x" * (guard.MAX_BODY_BYTES if control == "on" else 20_000)
    kind = "Content-Type: application/x-www-form-urlencoded"
    head = f"POST /moments/{FLAGGED}/review HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}\r\n"
    with page(house) as port:
        answer = said(port, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 413") == (control == "on")


@CONTROL
def test_a_flood_of_header_fields_is_refused(control: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(guard, "MAX_HEADER_BYTES", 10**9)
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 40) for n in range(500))
    with page(house) as port:
        answer = said(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200") == (control == "off")
        endless = said(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"v" * 70_000)
        assert endless.startswith(b"HTTP/1.1 400"), "one that never ends is h11's to refuse"


@CONTROL
def test_nonsense_does_not_fill_the_log(control: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(logs.Ration, "filter", lambda *_: True)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(logs.Ration(SystemClock()))
    logger = logging.getLogger("uvicorn.error")  # which another test may have taken from the root
    logger.addHandler(handler)
    try:
        with page(house) as port:
            for _ in range(60):
                assert said(port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    finally:
        logger.removeHandler(handler)
    lines = written.getvalue().count("Invalid HTTP")
    assert lines == 60 if control == "off" else 0 < lines <= logs.STRANGERS_BURST + 1


def test_the_page_speaks_tls_with_the_servers_own_authority(house: House, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, clock=SystemClock())
    hosts = ["waycue.example"]
    certificate = PageCertificate(authority, lambda: hosts)
    trusting = ssl.create_default_context(cadata=authority.ca_pem.decode())
    with page(house, tls=certificate.context) as port:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", context=trusting, timeout=ANSWER_S) as answer:
            assert answer.read() == b'{"status":"ok"}'
        hosts.append("192.0.2.1")
        certificate.refresh()
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as plain:
            shown = trusting.wrap_socket(plain, server_hostname="192.0.2.1")
            held: Any = shown.getpeercert()
            names = {value for _, value in held["subjectAltName"]}
            assert {"waycue.example", "192.0.2.1", "localhost", "127.0.0.1"} <= names
            shown.close()
        assert said(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP") is False
    assert len(certificate.fingerprint) == 32 * 3 - 1


@CONTROL
def test_nobody_says_where_they_come_from_but_the_named_proxy(control: str, house: House) -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.append((scope["client"][0], scope["scheme"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = connections.listen("127.0.0.1", 0, clock=SystemClock(), limits=ConnectionLimits())
    port = listener.getsockname()[1]
    server = PageServer(app, listener, proxies=("127.0.0.1",) if control == "off" else ())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        ask(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    finally:
        server.should_exit = True
        thread.join(ANSWER_S)
    assert seen == [("203.0.113.9", "https") if control == "off" else ("127.0.0.1", "http")]


def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="web"):
        connections.listen("127.0.0.1", taken.getsockname()[1], clock=SystemClock(), limits=ConnectionLimits())
