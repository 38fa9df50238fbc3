"""How a push service knows this server: a signed token with each message (VAPID, RFC 8292).

<home>/push.key    EC P-256, 0600, made when the first person asks for messages. Browsers subscribe to its public
                   half: where it is lost, they have to subscribe anew.
"""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from server.identity.authority import private_bytes
from shared import atomic, file_lock
from shared.errors import ConfigError

FILE, LOCK = "push.key", ".telling.lock"
GOOD_FOR_S = 12 * 3600  # RFC 8292 allows 24 hours; a clock may be off
NOBODY = "mailto:nobody@waycue.invalid"
"""Where neither a contact nor a link is set: the claim must be there."""
UNCOMPRESSED = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def private_key(home: Path) -> ec.EllipticCurvePrivateKey:
    """This server's key, made when there is none. Raises: ConfigError, OSError."""
    path = home / FILE
    with file_lock.locked(home / LOCK):
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            atomic.write_bytes(path, made.private_bytes(*pem), mode=0o600)
            return made
    try:
        key = serialization.load_pem_private_key(private_bytes(path), password=None)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is no EC key.", hint="Delete it, restart, and have people subscribe anew.")
    return key


def public(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half, as browsers take it (applicationServerKey)."""
    return unpadded(key.public_key().public_bytes(*UNCOMPRESSED))


def authorization(key: ec.EllipticCurvePrivateKey, origin: str, *, contact: str, now_utc: float) -> str:
    """The header `Authorization` of a message to a push service. origin: of the service, "https://HOST" """
    claims = {"aud": origin, "exp": int(now_utc) + GOOD_FOR_S, "sub": contact or NOBODY}
    token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, ECKey.import_key(key))
    return f"vapid t={token}, k={public(key)}"


def unpadded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    """The other way round. Raises: ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
