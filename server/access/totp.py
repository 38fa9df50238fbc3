"""The second factor: codes of an authenticator app (RFC 6238, through pyotp) and recovery codes for a lost phone.

A code counts once: the step that it was made for is written down, and no code of that step or an older one is taken
again.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Sequence

import pyotp

from server.access import hashed

STEP_S = 30
DRIFT_STEPS = 1  # a phone's clock may be half a minute off
RECOVERY_CODES = 8
_SECRET = re.compile(r"[A-Z2-7]{32}\Z")


def new_totp() -> str:
    """A secret of 160 bits."""
    return pyotp.random_base32()


def is_secret(text: str) -> bool:
    """Whether it is one of ours. Pure."""
    return _SECRET.match(text) is not None


def address(secret: str, name: str) -> str:
    """What an authenticator app reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="waycue")


def step_of(secret: str, code: str, now_s: float, *, after: int) -> int | None:
    """The time step that a code was made for; None where it is wrong, or not newer than step `after`. Pure."""
    typed, found = re.sub(r"\s", "", code), None
    now = int(now_s // STEP_S)
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        right = hmac.compare_digest(pyotp.TOTP(secret).generate_otp(step).encode(), typed.encode())
        if right and step > after:
            found = step
    return found


def new_recovery() -> tuple[list[str], list[str]]:
    """(codes for the person, hashes for the database)"""
    codes = [
        "-".join(re.findall("....", base64.b32encode(secrets.token_bytes(10)).decode())) for _ in range(RECOVERY_CODES)
    ]
    return codes, [hashed.hash_of(plain(code)) for code in codes]


def recovery_left(kept: Sequence[str], code: str) -> list[str] | None:
    """The hashes that are left once this code was used; None where it is none of them. Pure."""
    used = hashed.hash_of(plain(code))
    return [one for one in kept if one != used] if used in kept else None


def plain(code: str) -> str:
    """A recovery code however it is typed. Pure."""
    return re.sub(r"[\s-]", "", code).upper()
