"""The keys that sign releases, as files: who may read them, and which one is whose.

    <home>/release/keys/<role>.<key id>.pem    targets, snapshot, timestamp: the server signs with them by itself
    <home>/root-key/root.<key id>.pem          says which of those count; its place is a drawer, not this machine

Ed25519, PKCS #8 PEM, mode 0600. A key is named after its id, so the root metadata says by itself which file is in force
and a rotation needs no rename that a crash could cut in half.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from shared import atomic
from shared.errors import ConfigError

ID_CHARS = 16
NOTE = "READ-ME-FIRST.txt"
NOTE_TEXT = """\
This folder holds the root key of your waycue server. Whoever has it decides which models your devices trust.

Move the whole folder to a USB stick (better: two), keep that in a drawer, and delete it here:
the server does not need it in daily use. You need it again
  - once in three years, to renew the root:        waycue-server keys renew-root --root-key FILE
  - after a break-in, to replace the server's keys: waycue-server keys rotate targets snapshot timestamp --root-key FILE
Without it, after such a day every device has to be enrolled again.
"""


def make(folder: Path, role: str) -> CryptoSigner:
    """A new key, durably in its own file. Raises: OSError."""
    signer = CryptoSigner.generate_ed25519()
    _private(folder)
    atomic.write_bytes(path_of(folder, role, signer.public_key.keyid), signer.private_bytes, mode=0o600)
    return signer


def path_of(folder: Path, role: str, keyid: str) -> Path:
    """Where a role's key lies."""
    return folder / f"{role}.{keyid[:ID_CHARS]}.pem"


def list_keys(folder: Path, role: str) -> list[Path]:
    """All keys of a role in a folder."""
    return sorted(folder.glob(f"{role}.*.pem"))


def load(path: Path) -> CryptoSigner:
    """A key from its file. Raises: ConfigError saying what is wrong with it, OSError."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"The key {path} can be read by others.", hint=f"Close it: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise ConfigError(f"There is no key {path}.", hint="Bring it back from where you keep your keys.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a passphrase
        raise ConfigError(f"{path} is no PEM file with a private key that needs no passphrase.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"The key {path} is not an Ed25519 key.", hint="Give the file that waycue-server made.")
    return CryptoSigner(key)


def _private(folder: Path) -> None:
    atomic.make_dirs(folder)
    folder.chmod(0o700)
