"""What every request passes before a route sees it, and what every answer carries.

Rules that it keeps:

1. Host must be a loopback name or a configured one: a web page that points its own name at 127.0.0.1 (DNS rebinding)
   gets nothing.
2. A request that changes something must not come from another site: browsers say where it comes from in Sec-Fetch-Site
   or Origin. A client that sends neither (curl, urllib) is no browser and carries nobody's session.
3. A body is at most 16 KiB and says its length first.
4. Every answer forbids foreign scripts, framing and sniffing; pages are not kept in caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 * 1024  # a decision is a few hundred bytes
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
    host = headers.get("host", "")
    name = host_name(host)
    if name is None or not (is_loopback(name) or name in hosts):
        shown = f"{name!r:.80}" if name else "a request without a valid Host"
        return Objection(421, f"This server does not answer to {shown}. Add the name to web.hosts in its settings.")
    if method in SAFE_METHODS:
        return None
    site = headers.get("sec-fetch-site", "")
    if site not in ("", "same-origin", "none"):
        return Objection(403, "This request came from another web site. Open the review page itself and try there.")
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != host.lower():
        return Objection(403, "This request came from another web site. Open the review page itself and try there.")
    return _body_objection(headers)


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # a bracket without its other half
        return ""


def _body_objection(headers: Headers) -> Objection | None:
    length = headers.get("content-length", "")
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
        app = self._app if refused is None else PlainTextResponse(f"{refused.reason}\n", refused.status)
        await app(scope, receive, send_guarded)


def _add_headers(headers: MutableHeaders, path: str) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    # Pages name people and places; static files are asked about each time, because they change with the software.
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
