"""The keys that devices seal moments to (shared.sealing): the server reads what they keep, and they themselves do not.

    <home>/ca/waycue-sealing.key         0600, X25519: without it what is still on the devices is lost
    <home>/ca/waycue-sealing.crt         the authority's word for its public half, which devices check
    <home>/ca/waycue-sealing-<id>.key    0600, keys before it, by their key id: what was sealed to them is opened still

Promises: the newest is given to devices, all of them open; no key is ever deleted here; whole at any moment; a key that
others can read is not used. A newer certificate is dated later than the one before it, whatever the clock says: devices
take no older one back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from server.identity.authority import BACKDATE, FOLDER, Authority, private_bytes
from shared import atomic, file_lock, sealing
from shared.errors import ConfigError
from shared.sealing import CERTIFICATE_NAME

STEPS = ("older_kept", "key_written", "vouched")
"""The durable steps of `rotate`, in their order."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The newest key and what is told of it."""

    private: X25519PrivateKey
    certificate_pem: str

    @classmethod
    def of(cls, authority: Authority) -> SealingKey:
        """The key of this authority's home, made where there is none. Raises: ConfigError, OSError."""
        with file_lock.locked(authority.folder / ".lock"):
            return _read(authority)

    @property
    def key_id(self) -> str:
        """In hexadecimal digits."""
        return sealing.key_id(self.private.public_key()).hex()

    @property
    def since_utc_s(self) -> float:
        """When the authority vouched for it, seconds since 1970."""
        return (_dated(self.certificate_pem) + BACKDATE).timestamp()


def exists(home: Path) -> bool:
    """Whether a key was made in this home."""
    return (home / FOLDER / f"{CERTIFICATE_NAME}.key").exists()


def rotate(authority: Authority, *, crash_point: atomic.Step = atomic.no_step) -> SealingKey:
    """A new key, which devices seal to once they have heard of it; the one before it goes on opening.

    Cut short, the key is the old one or the new one, never none. crash_point: called with each of STEPS.
    raises: ConfigError, OSError
    """
    with file_lock.locked(authority.folder / ".lock"):
        before = _read(authority)
        atomic.write_bytes(_older_path(authority, before.key_id), _pem(before.private), mode=0o600)
        crash_point("older_kept")
        atomic.write_bytes(_path(authority, "key"), _pem(X25519PrivateKey.generate()), mode=0o600)
        crash_point("key_written")
        made = _read(authority)
        crash_point("vouched")
        return made


def older(authority: Authority) -> list[str]:
    """Ids of the keys before the newest one, in hexadecimal digits. Raises: ConfigError, OSError."""
    newest = SealingKey.of(authority).key_id
    found = authority.folder.glob(f"{CERTIFICATE_NAME}-*.key")
    return sorted({path.stem.removeprefix(f"{CERTIFICATE_NAME}-") for path in found} - {newest})


def finder(authority: Authority) -> Callable[[bytes], X25519PrivateKey | None]:
    """What gives the key of a key id, None = it is not here. It looks anew each time: `rotate` runs in another process.

    It raises: ConfigError for a key that cannot be used, OSError.
    """

    def find(key_id: bytes) -> X25519PrivateKey | None:
        path = _older_path(authority, key_id.hex())
        if path.exists():
            return _load(path)
        newest = SealingKey.of(authority)
        return newest.private if newest.key_id == key_id.hex() else None

    return find


def _read(authority: Authority) -> SealingKey:
    """As `SealingKey.of`, for who holds the lock. A certificate of another key is one that a crash left: made anew."""
    key_path, crt_path = _path(authority, "key"), _path(authority, "crt")
    if not key_path.exists():
        atomic.write_bytes(key_path, _pem(X25519PrivateKey.generate()), mode=0o600)
    private = _load(key_path)
    held = crt_path.read_text("ascii") if crt_path.exists() else None
    if held is None or not _is_for(held, private):
        after = None if held is None else _dated(held)
        held = authority.vouch_for_sealing(private.public_key(), after=after).decode("ascii")
        atomic.write_bytes(crt_path, held.encode("ascii"))
    return SealingKey(private, held)


def _is_for(certificate_pem: str, private: X25519PrivateKey) -> bool:
    return x509.load_pem_x509_certificate(certificate_pem.encode()).public_key() == private.public_key()


def _dated(certificate_pem: str) -> dt.datetime:
    return x509.load_pem_x509_certificate(certificate_pem.encode()).not_valid_before_utc


def _load(path: Path) -> X25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(private_bytes(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is no key ({error}).", hint="Restore it from a backup.") from None
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError(f"{path} is no X25519 key.", hint="Restore it from a backup.")
    return key


def _pem(key: X25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _path(authority: Authority, kind: str) -> Path:
    return authority.folder / f"{CERTIFICATE_NAME}.{kind}"


def _older_path(authority: Authority, key_id: str) -> Path:
    return authority.folder / f"{CERTIFICATE_NAME}-{key_id}.key"
