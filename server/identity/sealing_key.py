"""The key that devices seal moments to (shared.sealing): the server reads what they keep, and they themselves do not.

    <home>/ca/waycue-sealing.key    0600, X25519: without it what is still on the devices is lost
    <home>/ca/waycue-sealing.crt    the authority's word for its public half, which devices check

Promises: made once, kept for good; whole at any moment; a key that others can read is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from server.identity.authority import Authority, private_bytes
from shared import atomic, file_lock
from shared.errors import ConfigError
from shared.sealing import CERTIFICATE_NAME


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The key and what is told of it."""

    private: X25519PrivateKey
    certificate_pem: str

    @classmethod
    def of(cls, authority: Authority) -> SealingKey:
        """The key of this authority's home, made where there is none. Raises: ConfigError, OSError."""
        key_path, crt_path = (authority.folder / f"{CERTIFICATE_NAME}.{kind}" for kind in ("key", "crt"))
        with file_lock.locked(authority.folder / ".lock"):
            if not key_path.exists():
                made = X25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                atomic.write_bytes(key_path, made, mode=0o600)
            try:
                key = serialization.load_pem_private_key(private_bytes(key_path), password=None)
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                raise ConfigError(f"{key_path} is no key ({error}).", hint="Restore it from a backup.") from None
            if not isinstance(key, X25519PrivateKey):
                raise ConfigError(f"{key_path} is no X25519 key.", hint="Restore it from a backup.")
            if not crt_path.exists():
                atomic.write_bytes(crt_path, authority.vouch_for_sealing(key.public_key()))
        return cls(key, crt_path.read_text("ascii"))
