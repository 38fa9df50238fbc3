"""One-time secrets: made here, shown once, kept as a SHA-256.

They have 256 random bits, so that a plain hash is enough: nobody finds one by trying.
"""

from __future__ import annotations

import hashlib
import secrets

MAX_SECRET = 200


def new_secret(prefix: str = "") -> str:
    """prefix + 43 characters that are safe in an address, a header and a cookie."""
    return prefix + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """What the database keeps of a secret. Longer texts than any of ours are cut: they match none."""
    return hashlib.sha256(secret[:MAX_SECRET].encode(errors="surrogatepass")).hexdigest()
