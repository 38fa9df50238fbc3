"""The one page that strangers can reach: POST /enrol over HTTPS (shared.enrolment).

Promises:

1. Every refusal is the same 403 with the same body, whatever was wrong. The log says which.
2. At most MAX_REQUEST_BYTES of a request are read, within READ_S; from one address at most BURST requests at once and
   one more every REFILL_S. At most MOST_AT_ONCE connections are held, MOST_EACH of one address, and none that is older
   than LIFE_S keeps another out, whatever is sent on it (server.identity.connection_limit).
3. Proofs are taken for every certificate that this process showed: one renewed while a device asks does no harm.
4. It runs on a thread of its own, ends with `stop`, and fails to start loudly: a port that is taken is a ConfigError.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from server.identity.claims import Claims
from server.identity.connection_limit import LimitedListener, network_of
from shared import enrolment, settings
from shared.background import Background
from shared.clock import Clock
from shared.enrolment import EnrolRequest
from shared.errors import ConfigError, MessageError, Refused
from shared.token_bucket import RateLimiter

NAME = "enrol"
READ_S = 10.0
BURST, REFILL_S = 10, 6.0
MOST_ADDRESSES = 4096
MOST_AT_ONCE, MOST_EACH = 64, 8
LIFE_S = 30.0  # of a connection: enrolling takes less than a second
REFRESH_S = 3600.0
JOIN_S = 10.0
logger = logging.getLogger(__name__)


def create_app(
    claims: Claims,
    *,
    clock: Clock,
    fingerprints: set[str],
    broker_of: Callable[[str], str],
    on_enrolled: Callable[[], None] = lambda: None,
) -> FastAPI:
    """fingerprints: of the certificates that this process shows. broker_of(host the device asked) → HOST:PORT."""
    app = FastAPI(title="waycue enrolment", openapi_url=None, docs_url=None, redoc_url=None)
    rate = RateLimiter(rate_per_s=1 / REFILL_S, capacity=BURST, max_keys=MOST_ADDRESSES)

    @app.post(enrolment.PATH)
    async def enrol(request: Request) -> Response:
        address = request.client.host if request.client is not None else ""
        if not rate.allows(network_of(address), clock.monotonic_s()):
            return JSONResponse({"detail": "too many"}, 429, {"Retry-After": str(int(REFILL_S))})
        try:
            body = enrolment.decode(EnrolRequest, await _body(request))
            broker = broker_of(request.headers.get("host", ""))
            answer, mac = await run_in_threadpool(claims.redeem, body, fingerprints=fingerprints, broker=broker)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except (MessageError, Refused, ConfigError, TimeoutError) as error:
            logger.warning("Enrolment from %s is refused: %s", address, str(error) or "it took too long")
            return Response(enrolment.REFUSAL, 403, media_type="application/json")
        on_enrolled()
        logger.info("%s is enrolled, from %s.", body.device, address)
        return Response(answer, 200, {enrolment.MAC_HEADER: mac}, "application/json")

    return app


async def _body(request: Request) -> bytes:
    """Raises: MessageError where it is too long, TimeoutError."""
    data = bytearray()
    async with asyncio.timeout(READ_S):
        async for piece in request.stream():
            data += piece
            if len(data) > enrolment.MAX_REQUEST_BYTES:
                raise MessageError(f"it has more than {enrolment.MAX_REQUEST_BYTES} bytes.")
    return bytes(data)


class EnrolmentService:
    """Serves from `start` to `stop`. address: HOST:PORT to listen on; port 0 = any. broker: HOST:PORT that devices
    get; with an empty host, the one under which they reached us. on_enrolled: called when a device was let in,
    before the device has the answer."""

    def __init__(
        self,
        claims: Claims,
        *,
        address: tuple[str, int],
        broker: str,
        clock: Clock,
        on_enrolled: Callable[[], None] = lambda: None,
    ) -> None:
        self._authority, self._clock = claims.certificates.authority, clock
        self._address, self._broker = address, broker
        self.fingerprints: set[str] = set()
        """Of the certificates that this process showed: proofs for these are taken."""
        self._app = create_app(
            claims, clock=clock, fingerprints=self.fingerprints, broker_of=self._broker_of, on_enrolled=on_enrolled
        )
        self._threads: list[Background] = []

    def start(self) -> tuple[str, int]:
        """Returns (host, port). Raises: ConfigError where the address is taken."""
        context = self._context()
        listener = _listen(self._address, self._clock)
        config = uvicorn.Config(
            self._app,
            log_config=None,  # uvicorn's own would take the page's lines past the ration (server.logs)
            ws="none",
            lifespan="off",
            server_header=False,
            access_log=False,
            loop="asyncio",
            http="h11",
            h11_max_incomplete_event_size=enrolment.MAX_REQUEST_BYTES,
            timeout_keep_alive=5,
            limit_concurrency=2 * MOST_AT_ONCE,
            timeout_graceful_shutdown=3,
            backlog=MOST_AT_ONCE,
            ssl_certfile=str(self._files[1]),
            ssl_keyfile=str(self._files[0]),
        )
        config.load()
        config.ssl = context
        server = uvicorn.Server(config)
        self._threads = [
            Background(
                lambda: _serve(server, listener), name="enrolment", wake=lambda: setattr(server, "should_exit", True)
            ),
            Background.every(REFRESH_S, lambda: self._load(context), name="enrolment certificate renewal"),
        ]
        for thread in self._threads:
            thread.start()
        bound: tuple[str, int] = listener.getsockname()[:2]
        return bound

    def stop(self) -> None:
        """Idempotent."""
        for thread in self._threads:
            thread.close(JOIN_S)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        self._files = self._authority.service(NAME, server_auth=True)
        certificate = self._files[1].read_text("ascii")
        self.fingerprints.add(enrolment.fingerprint(ssl.PEM_cert_to_DER_cert(certificate)))
        context.load_cert_chain(self._files[1], self._files[0])

    def _broker_of(self, asked: str) -> str:
        """Raises: ConfigError where the device said no host."""
        host, _ = settings.address(asked, what="Host header", default_port=enrolment.DEFAULT_PORT)
        if not self._broker.startswith(":"):
            return self._broker
        return f"[{host}]{self._broker}" if ":" in host else f"{host}{self._broker}"


def _listen(address: tuple[str, int], clock: Clock) -> LimitedListener:
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=MOST_AT_ONCE)
        return LimitedListener(listener, clock=clock, most=MOST_AT_ONCE, most_each=MOST_EACH, life_s=LIFE_S)
    except OSError as error:
        raise ConfigError(
            f"Enrolment cannot listen on {host}:{port} ({error.strerror}).",
            hint='Choose another address for it in waycue.toml, [enrol] address, or "" for none.',
        ) from None


def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    with listener:
        server.run(sockets=[listener])
