"""The one-time claim code that a person carries from the server's terminal to the device: made, typed and read.

Its life and use are in server.identity.claims; what is proved with it, in shared.enrolment.
"""

from __future__ import annotations

import hmac
import re
import secrets

from shared.errors import ConfigError

VERSION = "waycue enrolment 1"
CODE_BITS = 80
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_ALIKE = str.maketrans("OIL", "011")


def new_code() -> str:
    """A fresh claim code, e.g. K7QX-3M9T-0AZW-E4HB."""
    number = secrets.randbits(CODE_BITS)
    letters = "".join(_ALPHABET[number >> shift & 31] for shift in range(CODE_BITS - 5, -1, -5))
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))


def key_of(code: str) -> bytes:
    """K. Case, hyphens and spaces do not matter, and O, I, L are read as 0, 1, 1. Raises: ConfigError."""
    plain = re.sub(r"[\s-]", "", code).upper().translate(_ALIKE)
    if len(plain) * 5 != CODE_BITS or not set(plain) <= set(_ALPHABET):
        raise ConfigError("The claim code is not four groups of four letters and digits.", hint="Type it once more.")
    return hmac.digest(VERSION.encode(), plain.encode(), "sha256")
