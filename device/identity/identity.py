"""Who this device is, as its server can check: key, certificate and whom it trusts, in one folder.

    <state>/identity → identity-<n>     a link; a new identity is a new folder, and one rename makes it the one
        device.key       0600, EC P-256, made here; it never leaves the device
        device.crt       from the server's authority; its name is the device's
        ca.crt           the authority: who has a certificate of it and is called `broker` is our broker
        root.json        the TUF root from which releases are trusted
        sealing.crt      the authority's word for the key that moments are sealed to; absent = the server has none
        enrolment.json   {"format": 1, "device", "broker": HOST:PORT, "server": HOST:PORT, "enrolled_at_utc"}

Promises:

1. An identity is there whole or not at all, whenever power goes; its parts fit together, or `open` says what to do.
2. A key that others can read is not used.
3. Dates are held against the clock floor, never against the wall clock alone: a Pi starts in the past, and a clock that
   is ten years ahead must not cut it off from its server.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.x509.oid import NameOID

from shared import atomic, settings, tls, topics
from shared.errors import ConfigError
from shared.floor import ClockFloor
from shared.sealing import CERTIFICATE_NAME

FOLDER = "identity"
KEY, CERTIFICATE, CA, ROOT, ENROLMENT = "device.key", "device.crt", "ca.crt", "root.json", "enrolment.json"
SEALING = "sealing.crt"
FORMAT = 1
BACKDATED_S = 86400.0  # the server dates certificates a day back
_NUMBERED = re.compile(rf"{FOLDER}-([0-9]+)\Z")
UNREADABLE = (UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion, RecursionError, ConfigError)
STEPS = ("files_written", "files_synced", "renamed", "pointed")
"""The durable steps of `store`, in their order."""
AGAIN = "Enrol this device again: waycue-device enroll"


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity as it is on disk. A renewed one is another."""

    folder: Path
    device: str
    broker: str
    """HOST:PORT."""
    server: str
    enrolled_at_utc: float
    issued_utc: float
    """When the certificate was issued, seconds since 1970."""
    not_after_utc: float
    certificate_pem: bytes
    ca_pem: bytes
    root_json: bytes
    floor: ClockFloor
    sealing_key: X25519PublicKey | None = None
    """What moments are sealed to; None = the server named no such key."""
    sealing_dated: float = 0.0
    """When the authority vouched for that, seconds since 1970: no older one is taken instead."""

    @classmethod
    def open(cls, state_dir: Path, *, floor: ClockFloor) -> Identity | None:
        """The identity of this device; None where it was never enrolled. Raises: ConfigError."""
        link = state_dir / FOLDER
        if not link.exists() and not link.is_symlink():
            return None
        try:
            return _read(link.resolve(strict=True), floor)
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, *UNREADABLE) as error:
            raise ConfigError(f"The identity in {link} cannot be used ({error}).", hint=AGAIN) from None

    @property
    def ended(self) -> bool:
        """The certificate has certainly ended: the broker will not take it."""
        return self.not_after_utc < self.floor.floor_s()

    def context(self) -> ssl.SSLContext:
        """For connections to the broker. Raises: OSError."""
        return tls.client_context(
            ca_pem=self.ca_pem.decode(),
            certificate=self.folder / CERTIFICATE,
            key=self.folder / KEY,
            now_s=self.floor.floor_s,
        )


def store(state_dir: Path, files: Mapping[str, bytes], *, crash_point: atomic.Step = atomic.no_step) -> Path:
    """Make these files the identity, durably and at once. Returns the folder. crash_point: called with each of STEPS.

    Raises: OSError; the identity before is then still the one.
    """
    atomic.make_dirs(state_dir)
    older = [entry for entry in state_dir.iterdir() if _NUMBERED.match(entry.name)]
    number = 1 + max((int(entry.name.rpartition("-")[2]) for entry in older), default=0)
    folder = state_dir / f"{FOLDER}-{number}"
    atomic.write_folder(folder, files, private=True, step=crash_point)
    atomic.point(state_dir / FOLDER, folder.name)
    crash_point("pointed")
    for entry in older:  # also what a crash left behind
        with contextlib.suppress(OSError):
            atomic.remove_tree(entry)
    return folder


def enrolment_json(*, device: str, broker: str, server: str, enrolled_at_utc: float) -> bytes:
    value = {"format": FORMAT, "device": device, "broker": broker, "server": server, "enrolled_at_utc": enrolled_at_utc}
    return (json.dumps(value, indent=1) + "\n").encode()


def new_key() -> bytes:
    """A private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_request(key_pem: bytes, device: str) -> str:
    """A request (PEM) for a certificate for this key. Raises: ValueError."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(read_key(key_pem), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def proof_by(key_pem: bytes, csr_pem: str) -> str:
    """That the holder of this key asks for what the request asks for. Raises: ValueError."""
    return base64.b64encode(read_key(key_pem).sign(csr_pem.encode(), ec.ECDSA(hashes.SHA256()))).decode()


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises: ValueError, UnsupportedAlgorithm."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the key needs a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is no EC key")
    return key


def check_pair(certificate_pem: bytes, key_pem: bytes, ca_pem: bytes, device: str) -> x509.Certificate:
    """The certificate, if it is this device's, for this key and from this authority. Raises: ValueError."""
    certificate, ca = x509.load_pem_x509_certificate(certificate_pem), x509.load_pem_x509_certificate(ca_pem)
    names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device]:
        raise ValueError(f"the certificate is for {names}, not for {device}")
    if not is_for(certificate, key_pem):
        raise ValueError("the certificate is for another key")
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, TypeError) as error:
        raise ValueError(f"the certificate is from another authority ({error})") from None
    return certificate


def check_sealing(sealing_pem: bytes, ca_pem: bytes) -> X25519PublicKey:
    """The key that moments are sealed to, if this authority vouches for it. Raises: ValueError."""
    certificate, ca = x509.load_pem_x509_certificate(sealing_pem), x509.load_pem_x509_certificate(ca_pem)
    names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    key = certificate.public_key()
    if names != [CERTIFICATE_NAME] or not isinstance(key, X25519PublicKey):
        raise ValueError(f"the certificate of the key for sealing is one for {names}")
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, TypeError) as error:
        raise ValueError(f"the certificate of the key for sealing is from another authority ({error})") from None
    return key


def is_for(certificate: x509.Certificate, key_pem: bytes) -> bool:
    return certificate.public_key() == read_key(key_pem).public_key()


def files_of(identity: Identity) -> dict[str, bytes]:
    names = (KEY, CERTIFICATE, CA, ROOT, ENROLMENT, *((SEALING,) if identity.sealing_key is not None else ()))
    return {name: (identity.folder / name).read_bytes() for name in names}


def _read(folder: Path, floor: ClockFloor) -> Identity:
    mode = (folder / KEY).stat().st_mode
    if mode & 0o077:
        raise ConfigError(f"{folder / KEY} can be read by others (mode {mode & 0o777:04o})")
    key, certificate_pem, ca_pem, root = ((folder / name).read_bytes() for name in (KEY, CERTIFICATE, CA, ROOT))
    enrolment: Any = json.loads((folder / ENROLMENT).read_bytes())
    if not isinstance(enrolment, dict) or enrolment["format"] != FORMAT:
        raise ConfigError(f"{ENROLMENT} is in a format that this version does not know")
    device, broker, server = (str(enrolment[name]) for name in ("device", "broker", "server"))
    if not topics.DEVICE_NAME.match(device):
        raise ConfigError(f"{device!r} is no device name")
    settings.address(broker)
    ca_pem.decode("ascii")  # `context` hands it on as text
    certificate = check_pair(certificate_pem, key, ca_pem, device)
    sealing = (folder / SEALING).read_bytes() if (folder / SEALING).exists() else None
    return Identity(
        folder,
        device,
        broker,
        server,
        float(enrolment["enrolled_at_utc"]),
        issued_s(certificate),
        certificate.not_valid_after_utc.timestamp(),
        certificate_pem,
        ca_pem,
        root,
        floor,
        None if sealing is None else check_sealing(sealing, ca_pem),
        0.0 if sealing is None else dated(sealing),
    )


def dated(certificate_pem: bytes) -> float:
    """What a certificate is valid from, seconds since 1970. Raises: ValueError."""
    return x509.load_pem_x509_certificate(certificate_pem).not_valid_before_utc.timestamp()


def issued_s(certificate: x509.Certificate) -> float:
    """When the server's clock stood so: a time that is certainly past."""
    return certificate.not_valid_before_utc.timestamp() + BACKDATED_S
