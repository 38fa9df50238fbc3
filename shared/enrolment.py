"""Enrolment by a one-time claim code: what device and server must compute alike.

The code (80 random bits) is carried by a person from the server's terminal to the device. It never crosses the network.
Both make the key K of it; everything else hangs on K:

    device → server   POST https://SERVER/enrol    EnrolRequest as JSON, with
                      proof = HMAC(K, "device", its name, SHA-256 of the request for a certificate, F)
    server → device   200, EnrolAnswer as JSON, with the header X-Waycue-Mac:
                      HMAC(K, "server", SHA-256 of the request for a certificate, SHA-256 of the body)

F is the SHA-256 of the certificate with which the other end of the TLS connection showed itself. The device cannot know
whether that is the server; but a man in the middle has another F, and the server takes proofs for its own only. The
device reads no byte of the answer before the header's MAC is right.

HMAC is HMAC-SHA256 over the parts joined by line feeds, after the line "waycue enrolment 1". No part holds a line feed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from msgspec import Meta

from shared import strict
from shared.claim_code import VERSION
from shared.strict import DeviceName

PATH = "/enrol"
MAC_HEADER = "X-Waycue-Mac"
REFUSAL = b'{"detail":"not accepted"}'
"""Body of a 403: by it a server of ours is told from another program on the same port."""
DEFAULT_PORT = 8443
SERVICE = "_waycue._tcp.local."
"""As which a server is announced in its network, with the port where devices enrol (DNS-SD, RFC 6763)."""
MAX_REQUEST_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 256 * 1024
_ASCII = r"^[\x00-\x7f]*\Z"  # PEM, JSON with escapes, names and hexadecimal are
Pem = Annotated[str, Meta(max_length=8192, pattern=_ASCII)]
Short = Annotated[str, Meta(max_length=300, pattern=_ASCII)]
Root = Annotated[str, Meta(max_length=128 * 1024, pattern=_ASCII)]


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A device asks to be let in."""

    device: DeviceName
    csr_pem: Pem
    proof: Short


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """What a device needs to come in."""

    certificate_pem: Pem
    ca_pem: Pem
    broker: Short
    """HOST:PORT."""
    root_json: Root
    """The TUF root from which the device trusts releases."""
    sealing_pem: Pem = field(default="", metadata=strict.LATER)
    """The authority's certificate for the key that moments are sealed to; "" = the server has none."""


Body = TypeVar("Body", bound="EnrolRequest | EnrolAnswer")


def proof(key: bytes, device: str, csr_pem: str, fingerprint: str) -> str:
    """The device's proof that it knows the code, for this server only. fingerprint: F, hexadecimal."""
    return _mac(key, "device", device, _sha256(csr_pem.encode()), fingerprint)


def answer_mac(key: bytes, csr_pem: str, body: bytes) -> str:
    """The server's proof that it knows the code, and that the answer is its own and to this request."""
    return _mac(key, "server", _sha256(csr_pem.encode()), _sha256(body))


def fingerprint(certificate_der: bytes) -> str:
    """F of a certificate."""
    return _sha256(certificate_der)


def is_equal(left: str, right: str) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(left.encode(), right.encode())


def encode(body: EnrolRequest | EnrolAnswer) -> bytes:
    return json.dumps(strict.plain(body), separators=(",", ":")).encode()


def decode(kind: type[Body], data: bytes) -> Body:
    """Read a body strictly; unknown fields are left out. Raises: MessageError."""
    return strict.decode(kind, data, limit=MAX_REQUEST_BYTES if kind is EnrolRequest else MAX_ANSWER_BYTES)


def _mac(key: bytes, *parts: str) -> str:
    return hmac.digest(key, "\n".join((VERSION, *parts)).encode(), "sha256").hex()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
