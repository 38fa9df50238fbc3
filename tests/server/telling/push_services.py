"""A push service of the tests' own: a real HTTP server that reads what it was sent as a browser would."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from server.telling import vapid
from server.telling.webpush import PushSubscription


@dataclass
class Browser:
    """What a browser keeps of its subscription."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    secret: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def subscription(self) -> PushSubscription:
        point = self.key.public_key().public_bytes(*vapid.UNCOMPRESSED)
        return PushSubscription(self.endpoint, vapid.unpadded(point), vapid.unpadded(self.secret))

    def read(self, body: bytes) -> bytes:
        """A message, by another implementation of RFC 8291 than the server's."""
        plain: bytes = http_ece.decrypt(body, private_key=self.key, auth_secret=self.secret, version="aes128gcm")
        return plain


class PushService:
    """What came, and what is answered."""

    def __init__(self) -> None:
        self.status = 201
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.origin = ""

    def browser(self, name: str) -> Browser:
        return Browser(f"{self.origin}/send/{name}")

    def bodies(self, browser: Browser) -> list[bytes]:
        """What came for a browser, read as it would; forgotten afterwards."""
        own = [body for path, _, body in self.got if browser.endpoint.endswith(path)]
        self.got = [each for each in self.got if not browser.endpoint.endswith(each[0])]
        return [browser.read(body) for body in own]


def claims_of(headers: dict[str, str]) -> dict[str, Any]:
    """What a message says about its sender, its signature checked."""
    scheme, _, parameters = headers["authorization"].partition(" ")
    assert scheme == "vapid"
    values = dict(item.strip().split("=", 1) for item in parameters.split(","))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), vapid.bytes_of(values["k"]))
    token = jwt.decode(values["t"], ECKey.import_key(public), algorithms=["ES256"])
    return {**token.claims, "k": values["k"]}


@contextmanager
def push_service() -> Iterator[PushService]:
    service = PushService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(service.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.origin = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
