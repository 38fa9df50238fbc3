"""Connections to the page: how many there may be, and how long a request may take to arrive.

Promises:

1. At most `most` connections are open, at most `most_each` of one address, from the accept on. Where one more comes,
   the oldest that no request is being answered on gives way (server.identity.connection_limit): half a request, sent a
   thousand times, keeps nobody out and takes no file from the ingest beside it.
2. A request's head is here within `head_s`, whatever is sent meanwhile, or the connection ends.
   (Its body has a limit of its own, in server.web.guard.)

What strangers can have written into the log is rationed in server.logs.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.identity.connection_limit import LimitedListener
from shared.clock import Clock
from shared.errors import ConfigError

KEEP_ALIVE_S = 5
HEAD_BYTES = 16 * 1024
ACCEPTED_AT_ONCE = 64
"""Connections that asyncio accepts in one turn: what gave way for them is closed in the next, and counts until then."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections the page holds."""

    most: int = 256
    """A quarter of the files that a process may have open by default: the ingest and the database need theirs."""
    most_each: int = 96
    """Of one address. Browsers open six; behind a proxy all come from one, which `most` alone then bounds."""
    idle_s: float = 30.0
    """One on which nothing is answered gives way after so long to the next that comes."""
    head_s: float = 10.0
    """How long a request's head may take to arrive."""


class PatientProtocol(H11Protocol):
    """uvicorn's own protocol, which knows on which connections a request is being answered."""

    def __init__(self, *arguments: Any, busy: set[int], head_s: float, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._busy, self._head_s = busy, head_s
        self._number = -1
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._number = transport.get_extra_info("socket").fileno()
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._busy.discard(self._number)
        self._stop_waiting()

    def _look(self) -> None:
        if not getattr(self.cycle, "response_complete", True):  # there is none before the first request
            self._busy.add(self._number)
            self._stop_waiting()
        elif self._late is None and not self.transport.is_closing():
            self._busy.discard(self._number)
            self._late = self.loop.call_later(self._head_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class PageServer(uvicorn.Server):
    """Serves the page until `should_exit`."""

    def __init__(
        self, app: ASGIApp, listener: PageListener, *, tls: ssl.SSLContext | None = None, proxies: tuple[str, ...] = ()
    ) -> None:
        """listener: as `listen` made it. tls: None = plain. proxies: whose X-Forwarded-For and -Proto are believed"""
        self._listener = listener
        protocol = functools.partial(PatientProtocol, busy=listener.busy, head_s=listener.limits.head_s)
        config = uvicorn.Config(
            app,
            log_config=None,  # its lines go where ours go (server.logs)
            access_log=False,
            ws="none",
            loop="asyncio",
            http=protocol,  # type: ignore[arg-type]  # called like the class
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=HEAD_BYTES,
            backlog=ACCEPTED_AT_ONCE,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
        )
        config.load()
        config.ssl = tls
        super().__init__(config)

    def close(self) -> None:
        """Stop listening, also where it was never run. Idempotent."""
        self._listener.close()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        with self._listener:
            super().run(sockets=[*(sockets or ()), self._listener])


class PageListener(LimitedListener):
    """A listening socket that knows the connections on which something is answered."""

    def __init__(self, listener: socket.socket, *, clock: Clock, limits: ConnectionLimits) -> None:
        self.busy: set[int] = set()
        """File descriptors of these."""
        self.limits = limits
        super().__init__(
            listener,
            clock=clock,
            most=limits.most,
            most_each=limits.most_each,
            life_s=limits.idle_s,
            busy=self.busy.__contains__,
        )


def listen(host: str, port: int, *, clock: Clock, limits: ConnectionLimits) -> PageListener:
    """A socket at an address of this machine; port 0 = any. Raises: ConfigError where it is taken, or not ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        dual = host == "::" and socket.has_dualstack_ipv6()
        made = socket.create_server(address[:2], family=family, backlog=ACCEPTED_AT_ONCE, dualstack_ipv6=dual)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"The review page cannot listen on {host}:{port} ({error}).",
            hint="Choose another address for it in waycue.toml, [web] address.",
        ) from None
    return PageListener(made, clock=clock, limits=limits)
