"""The server's own certificate authority: who may speak to the broker, and whom a device trusts.

    <home>/ca/ca.key         0600, EC P-256; whoever has it can let anybody in
    <home>/ca/ca.crt         what devices trust
    <home>/ca/<name>.key     0600, of the server's own parts: broker, enrol, waycue-server, waycue-worker-1 …
    <home>/ca/<name>.crt
    <home>/ca/crl.pem        the revoked certificates

Promises:

1. A device's certificate is good for a TLS client only, under the name that the caller gives: the name in a request is
   not read. Names of the server's own parts are never given to a device.
2. Names decide, not addresses: the broker's certificate carries the DNS name `broker` (see shared.tls).
3. Every file is whole at any moment. A part keeps its key when its certificate is renewed, so that the two always fit.
4. A key that others can read is not used.

What was issued and revoked is recorded in the database (server.identity.certificates), not here.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from shared import atomic, file_lock, sealing, tls, topics
from shared.clock import Clock
from shared.errors import ConfigError, Refused

FOLDER = "ca"
KEY, CERTIFICATE, CRL = "ca.key", "ca.crt", "crl.pem"
CA_DAYS = 20 * 365.0  # a family's devices must not all stop on one day; a stolen key is not helped by a shorter life
SERVICE_DAYS = 365.0
BACKDATE = dt.timedelta(days=1)  # the broker may run on another machine, whose clock is behind
MAX_CSR_BYTES = 8192
RSA_BITS = range(2048, 4097)  # above, a signature check costs too much to be asked for by strangers
RESERVED = ("broker", "enrol", "waycue-server", "waycue-worker", "waycue-admin", sealing.CERTIFICATE_NAME)
OWN_HOSTS = ("localhost", "127.0.0.1", "::1")

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | X25519PublicKey


def is_reserved(name: str) -> bool:
    """Whether a device may not have this name, because a part of the server has it, or may have."""
    return name in RESERVED or name.startswith(tuple(f"{part}-" for part in RESERVED))


class Authority:
    """An authority that exists. Threads and processes may share its folder."""

    def __init__(self, home: Path, *, clock: Clock) -> None:
        """Raises: ConfigError where there is none, or where its key is open to others; OSError."""
        self.folder = home / FOLDER
        self._clock = clock
        if not (self.folder / CERTIFICATE).is_file():
            raise ConfigError(
                f"{self.folder} holds no certificate authority yet.", hint=f"Run: waycue-server --home {home} init"
            )
        self._key = read_key(self.folder / KEY)
        self._certificate = x509.load_pem_x509_certificate((self.folder / CERTIFICATE).read_bytes())

    @classmethod
    def make(cls, home: Path, *, clock: Clock) -> Authority:
        """The authority of `home`, made where there is none. Safe to repeat. Raises: ConfigError, OSError."""
        folder = home / FOLDER
        atomic.make_dirs(folder)
        folder.chmod(0o700)
        with file_lock.locked(folder / ".lock"):
            if not (folder / KEY).exists():
                atomic.write_bytes(folder / KEY, _key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
            if not (folder / CERTIFICATE).exists():
                made = _own_certificate(read_key(folder / KEY), _utc(clock))
                atomic.write_bytes(folder / CERTIFICATE, _pem(made))
        authority = cls(home, clock=clock)
        authority.crl()
        return authority

    @property
    def ca_pem(self) -> bytes:
        """The authority's own certificate, for those who shall trust it."""
        return _pem(self._certificate)

    def issue_device(self, csr_pem: bytes, device: str, *, days: float = 90.0) -> bytes:
        """A certificate (PEM) for the key of a request. Raises: Refused."""
        if not topics.DEVICE_NAME.match(device) or is_reserved(device):
            raise Refused(f"{device!r} is not a name that a device may have.")
        key = read_csr(csr_pem)
        return _pem(self._issue(key, device, days, usage=[Usage.CLIENT_AUTH], hosts=()))

    def service(self, name: str, *, hosts: Sequence[str] = (), server_auth: bool) -> tuple[Path, Path]:
        """(key file, certificate file) of a part of the server.

        Made where they are missing; renewed with the same key when a third of the life is left, or for a new host.
        hosts: further names and addresses to put in, for clients that look at them. Raises: ConfigError, OSError.
        """
        if not is_reserved(name):
            raise ConfigError(
                f"{name!r} is not a part of the server.", hint=f"Parts begin with: {', '.join(RESERVED)}."
            )
        key_path, crt_path = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        wanted = tuple(dict.fromkeys((name, *OWN_HOSTS, *hosts))) if server_auth else ()
        with file_lock.locked(self.folder / ".lock"):
            if not key_path.exists():
                atomic.write_bytes(key_path, _key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
            key = read_key(key_path).public_key()
            held = self._held(crt_path, key)
            if held is None or self._is_old(held) or not set(wanted) <= set(_hosts(held)):
                usage = [Usage.SERVER_AUTH] if server_auth else [Usage.CLIENT_AUTH]
                kept = _hosts(held) if held is not None and server_auth else ()
                made = self._issue(key, name, SERVICE_DAYS, usage=usage, hosts=tuple(dict.fromkeys((*wanted, *kept))))
                atomic.write_bytes(crt_path, _pem(made))
        return key_path, crt_path

    def load_service(self, name: str, context: ssl.SSLContext) -> None:
        """Load a client part's certificate, renewed where it is due, into a context. Raises: ConfigError, OSError."""
        key, certificate = self.service(name, server_auth=False)
        context.load_cert_chain(certificate, key)

    def vouch_for_sealing(self, key: X25519PublicKey, *, after: dt.datetime | None = None) -> bytes:
        """A certificate (PEM) by which devices know the key that they seal to; it holds as long as the authority.

        after: what the certificate before it is dated; this one is dated later
        """
        names = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, sealing.CERTIFICATE_NAME)]),
            self._certificate.subject,
        )
        now = _utc(self._clock)
        if after is not None:
            now = max(now, after + BACKDATE + dt.timedelta(seconds=1))
        builder = _builder(*names, key, now, self._certificate.not_valid_after_utc, is_authority=False)
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def client_context(self, name: str = "waycue-server") -> ssl.SSLContext:
        """For the server's own connections to the broker. Raises: ConfigError, OSError."""
        key, certificate = self.service(name, server_auth=False)
        return tls.client_context(ca_pem=self.ca_pem.decode(), certificate=certificate, key=key)

    def crl(self) -> Path:
        """The list of revoked certificates (PEM), as `revoke` last wrote it; an empty one where it never did."""
        path = self.folder / CRL
        if not path.exists():
            self.revoke({})
        return path

    def revoke(self, revoked: Mapping[int, float], *, ended: Collection[int] = ()) -> bool:
        """Write the revocation list anew. Returns whether it changed. Raises: OSError.

        revoked: serial → when, in seconds since 1970; ended: serials that need not be listed any more. What is listed
        and in neither stays listed: a database that was restored from a backup does not know it.
        """
        path = self.folder / CRL
        with file_lock.locked(self.folder / ".lock"):
            listed = self._listed(path)
            wanted = {serial: at_s for serial, at_s in (listed or {}).items() if serial not in ended} | dict(revoked)
            if listed is not None and listed.keys() == wanted.keys():
                return False
            # It never ends on its own: a server that was off for a year would find its broker refusing everybody,
            # itself included. The broker loads a changed list at once instead.
            now = _utc(self._clock)
            builder = (
                x509.CertificateRevocationListBuilder()
                .issuer_name(self._certificate.subject)
                .last_update(now - BACKDATE)
                .next_update(self._certificate.not_valid_after_utc)
                .add_extension(_authority_id(self._certificate), critical=False)
                .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            )
            for serial, at_s in sorted(wanted.items()):
                builder = builder.add_revoked_certificate(_revoked(serial, at_s))
            made = builder.sign(self._key, hashes.SHA256())
            atomic.write_bytes(path, made.public_bytes(serialization.Encoding.PEM))
        return True

    def _listed(self, path: Path) -> dict[int, float] | None:
        """Serial → when, as on the list at `path`; None where it is missing, damaged or of another authority."""
        try:
            listed = x509.load_pem_x509_crl(path.read_bytes())
            ours = listed.is_signature_valid(self._key.public_key())
            return {entry.serial_number: entry.revocation_date_utc.timestamp() for entry in listed} if ours else None
        except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
            return None

    def _held(self, path: Path, key: ec.EllipticCurvePublicKey) -> x509.Certificate | None:
        """The certificate at `path`, if it is ours and of this key."""
        try:
            held = x509.load_pem_x509_certificate(path.read_bytes())
            held.verify_directly_issued_by(self._certificate)
        except Exception:  # noqa: BLE001  missing, damaged, or of an authority before this one: it is made anew
            return None
        return held if held.public_key() == key else None

    def _is_old(self, held: x509.Certificate) -> bool:
        """Also one that was made while the clock was ahead: it is not valid yet."""
        now, start, end = _utc(self._clock), held.not_valid_before_utc, held.not_valid_after_utc
        return now < start or end - now < (end - start - BACKDATE) / 3

    def _issue(
        self, key: PublicKey, name: str, days: float, *, usage: list[x509.ObjectIdentifier], hosts: Sequence[str]
    ) -> x509.Certificate:
        now = _utc(self._clock)
        end = min(now + dt.timedelta(days=days), self._certificate.not_valid_after_utc)
        if end <= now:
            raise ConfigError(
                f"The authority ended on {end:%Y-%m-%d}, or this machine's clock is wrong.", hint="Set the clock."
            )
        names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), self._certificate.subject
        builder = (
            _builder(*names, key, now, end, is_authority=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=True)
            .add_extension(_authority_id(self._certificate), critical=False)
        )
        if hosts:
            alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def read_csr(csr_pem: bytes) -> PublicKey:
    """The public key of a certificate request whose sender has the private one. Raises: Refused."""
    if len(csr_pem) > MAX_CSR_BYTES:
        raise Refused(f"The certificate request has {len(csr_pem)} bytes, at most {MAX_CSR_BYTES} are read.")
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        key = csr.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name != "secp256r1":
            raise Refused(f"The key is of the curve {key.curve.name}; P-256 is taken.")
        if isinstance(key, rsa.RSAPublicKey) and key.key_size not in RSA_BITS:
            raise Refused(f"The RSA key has {key.key_size} bits; {RSA_BITS[0]} to {RSA_BITS[-1]} are taken.")
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise Refused("The key is neither EC P-256 nor RSA.")
        if not csr.is_signature_valid:
            raise Refused("The certificate request is not signed by its own key.")
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise Refused(f"The certificate request cannot be read ({error}).") from None
    return key


def private_bytes(path: Path) -> bytes:
    """A file that nobody else can read. Raises: ConfigError."""
    try:
        mode = path.stat().st_mode & 0o777
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The key {path} cannot be read ({error.strerror}).") from None
    if mode & 0o077:
        raise ConfigError(f"The key {path} can be read by others (mode {mode:04o}).", hint=f"Run: chmod 600 {path}")
    return data


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key that nobody else can read. Raises: ConfigError."""
    data = private_bytes(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is no private key ({error}).", hint="Restore it from a backup.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is not an EC key.", hint="Restore it from a backup.")
    return key


def _own_certificate(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    public = key.public_key()
    short = x509.SubjectKeyIdentifier.from_public_key(public).digest.hex()[:8]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"waycue CA {short}")])
    return (
        _builder(name, name, public, now, now + dt.timedelta(days=CA_DAYS), is_authority=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: dt.datetime, end: dt.datetime, *, is_authority: bool
) -> x509.CertificateBuilder:
    """What all certificates of ours have. is_authority: it signs certificates, and nothing else."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(_key_usage(sign=is_authority, agree=isinstance(key, X25519PublicKey)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, sign: bool, agree: bool) -> x509.KeyUsage:
    """sign: certificates. agree: on the key of what is sealed to it, and nothing else."""
    return x509.KeyUsage(
        digital_signature=not (sign or agree),
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=agree,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    )


def _revoked(serial: int, at_s: float) -> x509.RevokedCertificate:
    at = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _utc(clock: Clock) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock.utc_s(), dt.UTC)
