"""The record of certificates: which device holds which, which devices may come in, and which no longer.

Promises:

1. A certificate is in the database before it leaves the server.
2. A device may come in (`admitted`) while it is enrolled, not revoked, and holds a certificate that has not ended.
3. Revoking a device revokes all its certificates at once, and its open claim codes. `publish_crl` brings the file that
   the broker reads in line with the database; it may be called at any time, and again.
4. Renewal gives a certificate for the device on whose topic it was asked for, for a key that the device has a valid
   certificate for, or that such a key signed: the broker in between cannot ask for itself. The same question gets the
   same answer, nobody gets more than MOST_A_DAY, and who asks more than MOST_ASKED_AN_HOUR is ignored.
"""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, Select, func, select, update

from server.database import store as db
from server.database.store import Store
from server.identity.authority import BACKDATE, Authority, PublicKey, read_csr
from server.identity.sealing_key import SealingKey
from shared import messages, topics
from shared.clock import Clock
from shared.errors import ConfigError, MessageError, Refused
from shared.messages import Certificate, Renew
from shared.topics import Reply

MOST_A_DAY = 24
MOST_ASKED_AN_HOUR = 60  # a device asks every five minutes; more, at some milliseconds each, would hold up the others
SAME_TIME_S = 60.0  # certificates are dated in whole seconds, by clocks that are set; to be told twice is no harm
HOUR_S = 3600.0
DAY_S = 86400.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate of a device."""

    serial: str
    device: str
    issued_at_s: float
    not_after_s: float
    revoked_at_s: float | None
    why: str
    pem: str

    @property
    def life_s(self) -> float:
        return self.not_after_s - self.issued_at_s

    def is_valid(self, now_s: float) -> bool:
        return self.revoked_at_s is None and self.not_after_s > now_s


class Certificates:
    """store, authority: of one home. days: the life of a device's certificate."""

    def __init__(self, store: Store, authority: Authority, *, clock: Clock, days: float = 90.0) -> None:
        self.store, self.authority, self.clock, self.days = store, authority, clock, days
        self._asked: Counter[str] = Counter()
        self._told: set[str] = set()
        """Devices that are online and were greeted."""
        self._counted_from_s = clock.monotonic_s()

    def admitted(self) -> frozenset[str]:
        """Names of the devices that may come in now."""
        with self.store.reading() as connection:
            return frozenset(connection.scalars(_admitted(self.clock.utc_s())))

    def of(self, device: str) -> tuple[Issued, ...]:
        """All certificates that the device ever got, newest first."""
        with self.store.reading() as connection:
            return _of(connection, device)

    def issue(self, connection: Connection, device: str, csr_pem: str) -> Issued:
        """A new certificate, in the caller's transaction. Raises: Refused."""
        pem = self.authority.issue_device(csr_pem.encode(), device, days=self.days)
        made = x509.load_pem_x509_certificate(pem)
        serial, not_after_s = f"{made.serial_number:x}", made.not_valid_after_utc.timestamp()
        row = {"serial": serial, "device": device, "not_after": not_after_s, "why": "", "pem": pem.decode()}
        connection.execute(db.certificates.insert().values(issued_at=self.clock.utc_s(), **row))
        issued_at_s = (made.not_valid_before_utc + BACKDATE).timestamp()
        return Issued(serial, device, issued_at_s, not_after_s, None, "", pem.decode())

    def revoke_all(self, connection: Connection, device: str, why: str) -> int:
        """Revoke all certificates of a device, in the caller's transaction. Returns how many that were."""
        valid = (db.certificates.c.device == device) & db.certificates.c.revoked_at.is_(None)
        values = {"revoked_at": self.clock.utc_s(), "why": why}
        return connection.execute(update(db.certificates).where(valid).values(**values)).rowcount

    def revoke(self, device: str, why: str) -> int:
        """Lock a device out. Returns how many certificates were revoked. Raises: Refused where it is unknown."""
        now_s = self.clock.utc_s()
        with self.store.writing() as connection:
            known = update(db.enrolments).where(db.enrolments.c.device == device)
            if not connection.execute(known.values(revoked_at=now_s, why=why)).rowcount:
                raise Refused(f"No device is called {device}.", hint="See: waycue-server devices list")
            claims = (db.claims.c.device == device) & (db.claims.c.expires_at > now_s)
            connection.execute(update(db.claims).where(claims).values(expires_at=now_s))
            count = self.revoke_all(connection, device, why)
        self.publish_crl()
        return count

    def publish_crl(self) -> bool:
        """Write the list of revoked certificates. Returns whether it changed: the broker must then read it again.
        Raises: OSError."""
        table = db.certificates.c
        query = select(table.serial, table.revoked_at, table.not_after > self.clock.utc_s())
        with self.store.reading() as connection:
            rows = connection.execute(query.where(table.revoked_at.is_not(None))).all()
        return self.authority.revoke(
            {int(serial, 16): at_s for serial, at_s, holds in rows if holds},
            ended={int(serial, 16) for serial, _, holds in rows if not holds},
        )

    def renew(self, device: str, _levels: list[str], payload: bytes) -> list[Reply]:
        """Handler of `up/renew`: the answer goes to the device whose topic it came on, which the broker has checked."""
        if self._asks_too_much(device):
            return []
        try:
            issued = self._renewed(device, _renew_request(payload))
        except (MessageError, Refused, ConfigError) as error:  # ConfigError: this machine's clock is wrong
            logger.warning("%s gets no new certificate: %s", device, error)
            return []
        return [self._certificate(device, issued.pem)]

    def greet(self, devices: Mapping[str, bool]) -> list[Reply]:
        """Tell devices that come online (device → whether it is) of the key that moments are sealed to, where it was
        made after a device got its certificate: to wait until that ends would be two months. Raises: ConfigError,
        OSError."""
        online = {device for device, is_online in devices.items() if is_online}
        came = online - self._told
        self._told = (self._told - devices.keys()) | online
        return [self._certificate(device, "") for device in self._certified_before_the_key(came)]

    def _certified_before_the_key(self, devices: Collection[str]) -> list[str]:
        if not devices:
            return []
        with self.store.reading() as connection:
            newest = {device: next(iter(_of(connection, device)), None) for device in sorted(devices)}
        made_s = SealingKey.of(self.authority).since_utc_s + SAME_TIME_S
        return [device for device, one in newest.items() if one is not None and one.issued_at_s <= made_s]

    def _certificate(self, device: str, certificate_pem: str) -> Reply:
        sealing_pem = SealingKey.of(self.authority).certificate_pem
        answer = Certificate(certificate_pem, self.authority.ca_pem.decode(), sealing_pem)
        return topics.certificate(device), messages.encode(answer)

    def _asks_too_much(self, device: str) -> bool:
        now_s = self.clock.monotonic_s()
        if now_s - self._counted_from_s > HOUR_S:
            self._asked.clear()
            self._counted_from_s = now_s
        self._asked[device] += 1
        if self._asked[device] == MOST_ASKED_AN_HOUR + 1:  # logged once
            logger.warning("%s asks for certificates all the time; it is ignored for up to an hour.", device)
        return self._asked[device] > MOST_ASKED_AN_HOUR

    def _renewed(self, device: str, request: Renew) -> Issued:
        now_s = self.clock.utc_s()
        key = read_csr(request.csr_pem.encode())
        with self.store.writing() as connection:
            if connection.scalar(_admitted(now_s).where(db.enrolments.c.device == device)) is None:
                raise Refused("it is not enrolled, or no longer.")
            held = _of(connection, device)
            valid = [issued for issued in held if issued.is_valid(now_s)]
            if not any(is_asked_by(issued, key, request) for issued in valid):
                raise Refused("it asks for a key that none of its own keys vouches for.")
            newest = valid[0]
            if key_of(newest) == key and newest.not_after_s - now_s > newest.life_s / 2:
                return newest  # asked twice, or the answer was lost
            if sum(issued.issued_at_s > now_s - DAY_S for issued in held) >= MOST_A_DAY:
                raise Refused(f"it got {MOST_A_DAY} within a day.")
            issued = self.issue(connection, device, request.csr_pem)
        logger.info("%s got a new certificate.", device)
        return issued


def _renew_request(payload: bytes) -> Renew:
    request = messages.decode(Renew, payload)
    if not request.csr_pem.isascii():  # JSON may hold what cannot even be encoded
        raise MessageError("Renew.csr_pem is no PEM.")
    return request


def is_asked_by(held: Issued, key: PublicKey, asked: Renew) -> bool:
    """Whether the holder of this certificate asked: for the same key, or for one that this key signed."""
    own = key_of(held)
    if own == key:
        return True
    if not asked.proof or not isinstance(own, ec.EllipticCurvePublicKey):
        return False
    try:
        own.verify(base64.b64decode(asked.proof, validate=True), asked.csr_pem.encode(), ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


def key_of(held: Issued) -> object:
    """The public key that it is for."""
    return x509.load_pem_x509_certificate(held.pem.encode()).public_key()


def count_admitted(store: Store, *, now_s: float) -> int:
    """How many devices may come in."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(_admitted(now_s).subquery())) or 0


def _admitted(now_s: float) -> Select[tuple[str]]:
    held, enrolled = db.certificates.c, db.enrolments.c
    valid = select(held.serial).where(held.device == enrolled.device, held.revoked_at.is_(None), held.not_after > now_s)
    return select(enrolled.device).where(enrolled.revoked_at.is_(None), valid.exists())


def _of(connection: Connection, device: str) -> tuple[Issued, ...]:
    table = db.certificates.c
    columns = (table.serial, table.device, table.issued_at, table.not_after, table.revoked_at, table.why, table.pem)
    query = select(*columns).where(table.device == device).order_by(table.id.desc())
    return tuple(Issued(*row) for row in connection.execute(query))
