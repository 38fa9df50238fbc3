"""What every request passes before a route sees it, and what every answer carries.

Rules that it keeps:

1. Host must be a loopback name or a configured one: a web page that points its own name at 127.0.0.1 (DNS rebinding)
   gets nothing.
2. A request that changes something must not come from another site: browsers say where it comes from in Sec-Fetch-Site
   or Origin. A client that sends neither (curl, urllib) is no browser and carries nobody's session: with a cookie it is
   refused.
3. A body is at most 16 KiB and says its length first; the bytes that come are counted, whatever it says, and are here
   within READ_S. The header fields together are at most 16 KiB too.
4. Every answer forbids foreign scripts, framing and sniffing; pages are not kept in caches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.identity.announced import ANYWHERE

MAX_BODY_BYTES = 16 * 1024  # a decision is a few hundred bytes
MAX_HEADER_BYTES = 16 * 1024  # h11 bounds heads that are not complete; one that comes at once may be longer
READ_S = 15.0
_OTHER_SITE = "This request came from another web site. Open the review page itself and try there."
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a request gets no further."""

    status: int
    reason: str


def host_name(netloc: str) -> str | None:
    """The name or address of "name:port", lower case, without the port and the brackets; None where it is malformed."""
    if not netloc or set(netloc) & set("/?#@\\ \t"):
        return None
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port  # raises where it is no number
        return parts.hostname.rstrip(".") if parts.hostname else None
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether a host name always means this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def objection(method: str, headers: Headers, hosts: frozenset[str]) -> Objection | None:
    """Why a request may not pass, or None. Pure."""
    if sum(len(name) + len(value) + 4 for name, value in headers.raw) > MAX_HEADER_BYTES:
        return Objection(431, f"The header fields are too long: at most {MAX_HEADER_BYTES} bytes.")
    host = headers.get("host", "")
    name = host_name(host)
    if name is None or not _is_ours(name, hosts):
        shown = f"{name!r:.80}" if name else "a request without a valid Host"
        return Objection(421, f"This server does not answer to {shown}. Add the name to web.hosts in its settings.")
    if method in SAFE_METHODS:
        return _surplus_objection(headers)
    if _is_from_elsewhere(headers, host):
        return Objection(403, _OTHER_SITE)
    return None if _is_bodiless(method, headers) else _body_objection(headers)


def _is_ours(name: str, hosts: frozenset[str]) -> bool:
    # Where it listens everywhere, every address is answered: DNS rebinding needs a name.
    return is_loopback(name) or name in hosts or (is_address(name) and not hosts.isdisjoint(ANYWHERE))


def is_address(name: str) -> bool:
    """Whether a host is an address and no name. Pure."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_from_elsewhere(headers: Headers, host: str) -> bool:
    """Whether a request that changes something comes from another site, or from a browser that does not say."""
    site, origin = headers.get("sec-fetch-site", ""), headers.get("origin")
    if site not in ("", "same-origin", "none") or (origin is not None and _netloc(origin) != host.lower()):
        return True
    return not site and origin is None and "cookie" in headers


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # a bracket without its other half
        return ""


def _surplus_objection(headers: Headers) -> Objection | None:
    """A request that only looks has no body: nobody would read it."""
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        return Objection(413, "A request of this kind has no body.")
    return None


def _is_bodiless(method: str, headers: Headers) -> bool:
    """A DELETE as programs send it, which says nothing of a body."""
    return method == "DELETE" and not {"content-length", "transfer-encoding"} & set(headers)


def _body_objection(headers: Headers) -> Objection | None:
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers:  # it would count for more than the length that stands beside it
        return Objection(411, "Say the length of the body in Content-Length, and send it in one piece.")
    if not (length.isascii() and length.isdigit()):
        return Objection(411, "Say the length of the body in Content-Length.")
    if len(length) > 9 or int(length) > MAX_BODY_BYTES:
        return Objection(413, f"The request is too long: at most {MAX_BODY_BYTES} bytes.")
    return None


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        refused = objection(scope["method"], Headers(scope=scope), self._hosts)
        if refused is None and scope["method"] not in SAFE_METHODS:
            body = await _body(receive)
            if isinstance(body, bytes):
                receive = _again(body, receive)
            else:
                refused = body
        # Who sends on after a refusal has some seconds yet (server.web.connections): to end the connection at once
        # would lose the answer on its way to an honest client.
        app = self._app if refused is None else _refusal(refused)
        await app(scope, receive, send_guarded)


def _refusal(refused: Objection) -> PlainTextResponse:
    return PlainTextResponse(f"{refused.reason}\n", refused.status)


async def _body(receive: Receive) -> bytes | Objection:
    """The body, by the bytes that came. One that nobody waits for any more is refused too."""
    data = bytearray()
    try:
        async with asyncio.timeout(READ_S):
            while True:
                message = await receive()
                data += message.get("body", b"")
                if len(data) > MAX_BODY_BYTES:
                    return Objection(413, f"The request is too long: at most {MAX_BODY_BYTES} bytes.")
                if message["type"] == "http.disconnect":
                    return Objection(400, "The request was broken off.")
                if not message.get("more_body", False):
                    return bytes(data)
    except TimeoutError:
        return Objection(408, f"The request did not come within {READ_S:g} seconds.")


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body which was read already, then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


def _add_headers(headers: MutableHeaders, path: str) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    # Pages name people and places; static files are asked about each time, because they change with the software.
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
