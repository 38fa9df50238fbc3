"""Sealed to the server: what a device keeps for it, so that nobody but the server can read it, the device included.

    sealed file    "WCSEAL1\n"  8 bytes: the file's kind and version
                   key id       8 bytes: the first of the SHA-256 of the public key
                   HPKE         enc (32 bytes) and ciphertext with its tag (16 more than the content)

HPKE is RFC 9180, base mode, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, which a Raspberry
Pi 4 without AES instructions computes as fast as any. Its `info` is the first eight bytes, then device, record id and
kind of file, joined by line feeds: a file that is put in another one's place cannot be opened.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from shared.errors import MessageError

MAGIC = b"WCSEAL1\n"
KEY_ID_BYTES = 8
OVERHEAD_BYTES = len(MAGIC) + KEY_ID_BYTES + 32 + 16
CERTIFICATE_NAME = "waycue-sealing"
"""Common name of the certificate by which the server's authority vouches for the public key."""
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class SealedPlace:
    """What a sealed file is: opened as anything else it is refused."""

    device: str
    record_id: str
    kind: str
    """record, or a part kind."""

    @property
    def info(self) -> bytes:
        return MAGIC + "\n".join((self.device, self.record_id, self.kind)).encode()


def key_id(key: X25519PublicKey) -> bytes:
    return hashlib.sha256(key.public_bytes_raw()).digest()[:KEY_ID_BYTES]


def seal(content: bytes, key: X25519PublicKey, place: SealedPlace) -> bytes:
    """The sealed file. Never the same twice."""
    return MAGIC + key_id(key) + _SUITE.encrypt(content, key, info=place.info)


def is_sealed(head: bytes) -> bool:
    """Whether a file with these first bytes is a sealed one: no picture, sound or video begins so."""
    return head.startswith(MAGIC)


def sealed_to(file: bytes) -> bytes:
    """The id of the key that a sealed file is for."""
    return file[len(MAGIC) : len(MAGIC) + KEY_ID_BYTES]


def unseal(file: bytes, key: X25519PrivateKey, place: SealedPlace) -> bytes:
    """The content. Raises: MessageError for a file that was sealed to another key or as another one, or altered."""
    if not is_sealed(file) or len(file) < OVERHEAD_BYTES:
        raise MessageError(f"The {place.kind} of {place.record_id} is no sealed file.")
    if sealed_to(file) != key_id(key.public_key()):
        raise MessageError(
            f"The {place.kind} of {place.record_id} is sealed to another key than this server's.",
            hint="Restore ca/ from the backup of the server that the device was enrolled at, then send it again.",
        )
    try:
        return _SUITE.decrypt(file[len(MAGIC) + KEY_ID_BYTES :], key, info=place.info)
    except (InvalidTag, ValueError) as error:
        raise MessageError(f"The {place.kind} of {place.record_id} was altered after it was sealed.") from error
