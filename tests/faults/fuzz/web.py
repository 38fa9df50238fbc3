"""Fuzz targets: what answers over HTTP, asked directly as ASGI applications: no client tidies the request up."""

from __future__ import annotations

import asyncio
import atexit
import json
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI

from device.identity import identity
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.claims import Claims
from server.identity.enrol_http import create_app as enrolment_app
from server.web.app import create_app as review_app
from shared import enrolment
from shared.clock import ManualClock
from tests.enrolment.quick import SHOWN, ask
from tests.faults.fuzz.shape import RAW, joined, several, shaped
from tests.faults.fuzz.target import Run, Target, scratch
from tests.server.dataset.moments import House
from tests.server.web.serving import FLAGGED, seed

EPOCH_S = 1_795_200_000.0
PATHS = (
    "/", "/moments/", f"/moments/{FLAGGED}", f"/moments/{FLAGGED}/review", "/api/samples", "/api/samples/",
    f"/api/samples/{FLAGGED}", f"/api/samples/{FLAGGED}/review", "/api/stats", "/media/frames/", "/media/", "/static/",
    "/healthz",
)  # fmt: skip
HEADERS = (b"origin", b"sec-fetch-site", b"content-type", b"host", b"range", b"if-none-match", b"cookie", b"accept")
DECISION = json.dumps({"action": "edit", "text": "Stop, curb ahead.", "row_id": "x"}).encode()
FORM = b"action=accept&row_id=x&text=&state=pending&page=1"


class Asker:
    """Asks an application, and looks at the status of the answer."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        atexit.register(self._close)

    def _close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def status(self, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
        return self._loop.run_until_complete(self._asked(method, path, query, headers, body))

    async def _asked(
        self, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> int:
        sent: list[dict[str, Any]] = []
        waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return waiting.pop() if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "root_path": "",
            "query_string": query,
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 8080),
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
        }
        await self._app(scope, receive, send)
        return int(sent[0]["status"])


def _visible(data: bytes) -> bytes:
    """What a server lets through in a path or a header."""
    return bytes(byte for byte in data if 32 < byte < 127 or byte == 32)


def _pages() -> Run:
    house = House(scratch() / "home", clock=ManualClock(epoch_s=EPOCH_S))
    seed(house)
    asker = Asker(review_app(house.store, house.dataset, clock=house.clock, model=lambda: "m1"))

    def run(data: bytes) -> None:
        parts = [*several(data, most=5), b"", b"", b"", b"", b""]
        pick, tail, query, header, body = parts[:5]
        path = PATHS[pick[0] % len(PATHS)] if pick else "/"
        form = pick[1:2] < b"\x80"
        headers = [(b"host", b"127.0.0.1:8080")]
        headers.append((b"content-type", b"application/x-www-form-urlencoded" if form else b"application/json"))
        if header:
            headers.append((HEADERS[header[0] % len(HEADERS)], _visible(header[1:])))
        method = "POST" if path.endswith("review") else "GET"
        whole = path.encode() + _visible(tail).replace(b" ", b"%20")
        sent = body if form else shaped(body, [DECISION])
        status = asker.status(method, whole, _visible(query), headers, sent if method == "POST" else b"")
        assert status < 500, f"{method} {whole!r} is answered with {status}"

    return run


def _door() -> Run:
    """The place where devices ask to be let in."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    certificates = Certificates(open_store(home), Authority.make(home, clock=clock), clock=clock)
    book = Claims(certificates, root=lambda: b"{}")
    app = enrolment_app(book, clock=clock, fingerprints={SHOWN}, broker_of=_broker)
    asker = Asker(app)
    code = book.add("pi-1").code
    asked = ask(code, "pi-1", identity.certificate_request(identity.new_key(), "pi-1"))
    examples = [enrolment.encode(asked)]

    def run(data: bytes) -> None:
        clock.sleep(60.0)  # or its rate limit would answer everything
        headers = [(b"host", b"127.0.0.1:8443"), (b"content-type", b"application/json")]
        status = asker.status("POST", enrolment.PATH.encode(), b"", headers, shaped(data, examples))
        assert status < 500

    return run


def _broker(_host: str) -> str:
    return "127.0.0.1:8883"


def _request(pick: int, *, tail: bytes = b"", query: bytes = b"", header: bytes = b"", body: bytes = b"") -> bytes:
    return joined([bytes((pick, 0 if body == FORM else 128)), tail, query, header, body])


TARGETS = (
    Target(
        "review page", _pages,
        (
            _request(0, query=b"state=pending&page=1&done=x"), _request(1, tail=b"x"), _request(2, query=b"changed=1"),
            _request(3, body=FORM), _request(4, query=b"state=all&limit=5&offset=0"), _request(7, body=b"\x40"),
            _request(9, tail=b"x.jpg", header=b"\x04bytes=0-1"), _request(8),
            _request(3, header=b"\x00http://x", body=FORM), _request(3, header=b"\x00http://[", body=FORM),
        ),
    ),
    Target("enrolment door", _door, (b"\x40", b"\x40\x01\x00\x10", RAW + b"{}", b"\x40\x00\x02\x01")),
)  # fmt: skip
