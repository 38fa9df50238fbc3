"""One message to one browser: encrypted so that only the browser reads it (RFC 8291, RFC 8188), and handed to the push
service of the browser's maker (RFC 8030)."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.telling import vapid
from shared.errors import Refused

ENDPOINT_MOST, PLAIN_MOST = 1000, 3000
"""Signs of an address; bytes of a message: services take 4096 encrypted ones."""
RECORD_BYTES = 4096
AUTH_BYTES, POINT_BYTES = 16, 65
TIMEOUT_S = 15.0
KEEP_S, KEEP_URGENT_S = 24 * 3600, 3600
"""For how long a service keeps a message for a browser that is away: an old call for help says nothing any more."""
GONE = (404, 410)
logger = logging.getLogger(__name__)


class PushOutcome(StrEnum):
    """What a push service made of a message."""

    TAKEN = "taken"
    GONE = "gone"
    """The browser does not want messages any more."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """Where and how a browser is reached, as its PushManager says. All of it is a secret."""

    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    """Its public key, base64url."""
    auth: str = field(repr=False)
    """16 bytes that it shares with us alone, base64url."""

    @property
    def origin(self) -> str:
        """ "https://HOST" """
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def service(self) -> str:
        """The service's name, for a page or a log."""
        return urlsplit(self.endpoint).hostname or "an unknown service"

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.endpoint.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PushSender:
    """Who sends."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    contact: str
    now_utc: float


def check(subscription: PushSubscription, services: tuple[str, ...]) -> None:
    """Raises: Refused where it is malformed or at a place that messages are not sent to: else whoever is logged in
    could have this server call any address of the network that it stands in."""
    if len(subscription.endpoint) > ENDPOINT_MOST or not subscription.endpoint.isascii():
        raise Refused("The address of the push service is too long.")
    try:
        origin, user = subscription.origin, urlsplit(subscription.endpoint).username
        point, auth = vapid.bytes_of(subscription.p256dh), vapid.bytes_of(subscription.auth)
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except (ValueError, InvalidKey):
        raise Refused("This is not what a browser says about itself.", hint="Open the page anew.") from None
    if user is not None or not any(_pattern(service).fullmatch(origin) for service in services):
        raise Refused(
            f"Messages are not sent by way of {subscription.service:.80}.",
            hint="An admin can allow it in telling.push_services.",
        )
    if len(auth) != AUTH_BYTES or len(point) != POINT_BYTES:
        raise Refused("This is not what a browser says about itself.", hint="Open the page anew.")


def _pattern(service: str) -> re.Pattern[str]:
    return re.compile(re.escape(service.rstrip("/")).replace(r"\*", r"[a-z0-9.-]+"), re.ASCII | re.IGNORECASE)


def encrypted(
    plain: bytes,
    subscription: PushSubscription,
    *,
    own: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of a message, content coding aes128gcm. own, salt: made anew for each message, but for a test vector.

    source: RFC 8291, section 3.4, and RFC 8188, section 2
    """
    own, salt = own or ec.generate_private_key(ec.SECP256R1()), salt or os.urandom(16)
    theirs_raw = vapid.bytes_of(subscription.p256dh)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs_raw)
    own_raw = own.public_key().public_bytes(*vapid.UNCOMPRESSED)
    shared = own.exchange(ec.ECDH(), theirs)
    info = b"WebPush: info\0" + theirs_raw + own_raw
    secret = _hkdf(vapid.bytes_of(subscription.auth), shared, info, 32)
    key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)
    head = salt + RECORD_BYTES.to_bytes(4) + bytes([len(own_raw)]) + own_raw
    return head + AESGCM(key).encrypt(nonce, plain + b"\x02", None)  # 2 = this is the last record


def _hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    return HKDF(hashes.SHA256(), size, salt, info).derive(secret)


def post(subscription: PushSubscription, plain: bytes, sender: PushSender, *, urgent: bool = False) -> PushOutcome:
    """Send a message; it blocks for TIMEOUT_S at most. What goes wrong is logged, with nothing of the address."""
    import httpx  # a server starts without

    headers = {
        "Authorization": vapid.authorization(
            sender.key, subscription.origin, contact=sender.contact, now_utc=sender.now_utc
        ),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(KEEP_URGENT_S if urgent else KEEP_S),
        "Urgency": "high" if urgent else "normal",
    }
    _silence()
    try:
        body = encrypted(plain, subscription)
        answer = httpx.post(subscription.endpoint, content=body, headers=headers, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        logger.warning("%s did not take a message (%s).", subscription.service, type(error).__name__)
        return PushOutcome.FAILED
    if answer.status_code in GONE:
        return PushOutcome.GONE
    if answer.is_success:
        return PushOutcome.TAKEN
    logger.warning("%s did not take a message (status %d).", subscription.service, answer.status_code)
    return PushOutcome.FAILED


def _silence() -> None:
    """What the transport logs names addresses."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
