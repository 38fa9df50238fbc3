"""A house with moments, served by a real uvicorn on a free loopback port in a thread of the test's own."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from server.web.person import Person
from tests.server.dataset.moments import House, moment, sound, spoken

START_WITHIN_S = 30.0
CORRECTED, PUZZLING, FLAGGED, AUDITED = (f"pi-1-b00t-{n:06d}" for n in (3, 2, 1, 0))


def seed(house: House) -> None:
    """Four moments through the real merge, in the order of the queue: an understood correction, one that was not, a
    press of the button, and a check."""
    house.send_all(
        [
            moment(0, flags=("audit",), raw_output="Caution, bin ahead."),
            moment(1, raw_output="Caution, pole ahead.", spoken="Caution, pole ahead."),
            moment(2, spoken="Caution, bin ahead.", raw_output="Caution, bin ahead."),
            moment(3, with_clip=True, spoken="Caution, bin ahead.", raw_output="Caution, bin ahead."),
        ]
    )
    correct(house, CORRECTED, n=3, transcript="cone on the left", proposal="Caution, cone on the left.")
    correct(house, PUZZLING, n=2, transcript="mumble", proposal="")


def correct(house: House, chunk_id: str, *, n: int, transcript: str, proposal: str, confidence: float = 0.95) -> None:
    """The wearer speaks about a chunk, and the server has listened."""
    said = spoken(chunk_id, sound(5 + n), n=n)
    house.send(said)
    house.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript=transcript, confidence=confidence, proposal=proposal
    )


class _AskedAs:
    """In the place of a log-in: says who asks, behind the entry (server.web.entry), which would say that it is whoever
    sits at the machine."""

    def __init__(self, app: ASGIApp, who: Callable[[Scope], Person | None]) -> None:
        self._app, self._who = app, who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._who(scope) if scope["type"] == "http" else None
        if who is not None:
            scope.setdefault("state", {})["person"] = who
        await self._app(scope, receive, send)


def asked_as(app: FastAPI, who: Callable[[Scope], Person | None]) -> FastAPI:
    """The application, asked by people without an account. who: None = whoever sits at the machine"""
    app.user_middleware.append(Middleware(_AskedAs, who=who))  # the innermost; `add_middleware` puts outermost
    return app


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of the running application."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = _Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=3))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web")
        thread.start()
        try:
            assert server.up.wait(START_WITHIN_S), "uvicorn did not start"
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_WITHIN_S)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


_opener = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


def ask(
    url: str, *, method: str = "GET", data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request with the standard library, as a script or the demo would send it; redirects are not followed."""
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}), method=method)
    try:
        with _opener.open(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def post_json(url: str, value: Any, **headers: str) -> Answer:
    return ask(
        url, method="POST", data=json.dumps(value).encode(), headers={"Content-Type": "application/json"} | headers
    )
