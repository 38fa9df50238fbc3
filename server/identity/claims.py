"""Claims: a person lets a device in by a one-time code, and the device proves that it has the code (shared.enrolment).

Promises:

1. The code is shown once and not stored; the database holds the key derived from it, which lets in one device of one
   name, once, until it expires. A newer code for a device ends the older one; so does revoking the device.
2. Claim, certificate and the end of the older certificates are one transaction: a power cut leaves all or nothing.
3. The same request for a certificate, within the claim's life, gets the same answer again: the first may have been lost
   on the way. Any other gets none.
4. A device that is refused is not given the reason; the log has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from server.database import store as db
from server.identity.authority import is_reserved
from server.identity.certificates import Certificates
from server.identity.sealing_key import SealingKey
from shared import claim_code, enrolment, messages, strict, topics
from shared.enrolment import EnrolAnswer, EnrolRequest
from shared.errors import ConfigError, MessageError, Refused

DEFAULT_HOURS = 24.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A code that lets one device in once."""

    device: str
    code: str
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """What is known of one device."""

    device: str
    cohort: str
    state: str
    """enrolled | waiting (for its code to be used) | ended (its certificate has) | revoked | not enrolled"""
    code_open: bool
    """A code was given out, and can still be used."""
    not_after_s: float | None
    """When its newest certificate ends."""
    revoked_why: str
    seen_at_s: float | None
    online: bool
    device_kind: str = ""
    """In its last status: raspberry-pi-5, jetson-orin-nano, x86-64 …; "" = not reported."""
    look_p95_ms: float = 0.0
    """95th percentile of how long a look of its model takes there; 0 = not reported."""


class Claims:
    """root: gives the TUF root that new devices shall trust; None = no code can be redeemed here."""

    def __init__(self, certificates: Certificates, *, root: Callable[[], bytes] | None = None) -> None:
        self.certificates = certificates
        self._store, self._clock = certificates.store, certificates.clock
        self._root = root

    def add(self, device: str, *, cohort: str | None = None, hours: float = DEFAULT_HOURS) -> Claim:
        """A new code for a device, which may be known already. cohort: None = as it was. Raises: Refused."""
        if not topics.DEVICE_NAME.match(device) or is_reserved(device):
            raise Refused(
                f"{device!r} is not a name that a device may have.",
                hint="Use 1 to 32 lower-case letters, digits and hyphens, and no name of a part of the server.",
            )
        if cohort and not topics.NAME.match(cohort):
            raise Refused(f"{cohort!r} is not a cohort's name.", hint="Use letters, digits, hyphens and dots.")
        now_s, code = self._clock.utc_s(), claim_code.new_code()
        with self._store.writing() as connection:
            _admit(connection, device, cohort, now_s)
            _end_claims(connection, device, now_s)
            connection.execute(
                db.claims.insert().values(
                    device=device, key=claim_code.key_of(code).hex(), made_at=now_s, expires_at=now_s + hours * 3600
                )
            )
        return Claim(device, code, now_s + hours * 3600)

    def redeem(self, request: EnrolRequest, *, fingerprints: Collection[str], broker: str) -> tuple[bytes, str]:
        """(body, MAC) of the answer. fingerprints: of this server's own certificates. Raises: Refused, with the reason,
        which is for the log and not for the device."""
        if self._root is None:
            raise ConfigError("Nobody can be let in without a root for releases.")
        with self._store.reading() as connection:  # strangers must not take the write lock from the ingest
            self._claim(connection, request, fingerprints)
        csr_sha256, root = hashlib.sha256(request.csr_pem.encode()).hexdigest(), self._root()
        with self._store.writing() as connection:
            claim = self._claim(connection, request, fingerprints)
            if claim.used_at is None:
                pem = self._first_use(connection, claim, request, csr_sha256)
            elif claim.csr_sha256 == csr_sha256:
                pem = _pem_of(connection, claim.serial)
            else:
                raise Refused(f"The code for {request.device} was used already, by another request.")
        self.certificates.publish_crl()
        answer = EnrolAnswer(
            certificate_pem=pem,
            ca_pem=self.certificates.authority.ca_pem.decode(),
            broker=broker,
            root_json=root.decode(),
            sealing_pem=SealingKey.of(self.certificates.authority).certificate_pem,
        )
        body = enrolment.encode(answer)
        return body, enrolment.answer_mac(bytes.fromhex(claim.key), request.csr_pem, body)

    def devices(self) -> tuple[DeviceSummary, ...]:
        """Every device that was added or ever spoke, by name."""
        with self._store.reading() as connection:
            names = {
                *connection.scalars(select(db.enrolments.c.device)),
                *connection.scalars(select(db.devices.c.device)),
            }
            return tuple(self._summary(connection, name) for name in sorted(names))

    def _claim(self, connection: Connection, request: EnrolRequest, fingerprints: Collection[str]) -> Any:
        """The row of the claim that the request proves to know."""
        query = select(db.claims).where(db.claims.c.device == request.device).order_by(db.claims.c.id.desc()).limit(1)
        claim = connection.execute(query).first()
        if claim is None:
            raise Refused(f"No code was ever made for {request.device}.")
        key = bytes.fromhex(claim.key)
        proofs = [enrolment.proof(key, request.device, request.csr_pem, fingerprint) for fingerprint in fingerprints]
        if not any(enrolment.is_equal(proof, request.proof) for proof in proofs):
            raise Refused(f"The proof of {request.device} is wrong: another code, or somebody in the middle.")
        if claim.expires_at <= self._clock.utc_s():
            raise Refused(f"The code for {request.device} has expired, or was withdrawn.")
        return claim

    def _first_use(self, connection: Connection, claim: Any, request: EnrolRequest, csr_sha256: str) -> str:
        self.certificates.revoke_all(connection, request.device, "enrolled again")
        issued = self.certificates.issue(connection, request.device, request.csr_pem)
        used = {"used_at": self._clock.utc_s(), "csr_sha256": csr_sha256, "serial": issued.serial}
        connection.execute(update(db.claims).where(db.claims.c.id == claim.id).values(**used))
        return issued.pem

    def _summary(self, connection: Connection, device: str) -> DeviceSummary:
        now_s = self._clock.utc_s()
        enrolled = connection.execute(select(db.enrolments).where(db.enrolments.c.device == device)).first()
        seen = connection.execute(select(db.devices).where(db.devices.c.device == device)).first()
        held = db.certificates.c
        newest = connection.scalar(
            select(held.not_after)
            .where(held.device == device, held.revoked_at.is_(None))
            .order_by(held.not_after.desc())
        )
        claim = db.claims.c
        is_open = select(claim.id).where(claim.device == device, claim.used_at.is_(None), claim.expires_at > now_s)
        revoked = enrolled is not None and enrolled.revoked_at is not None
        return DeviceSummary(
            device,
            cohort="" if enrolled is None else enrolled.cohort,
            state=_state(is_known=enrolled is not None, is_revoked=revoked, not_after_s=newest, now_s=now_s),
            code_open=connection.scalar(is_open) is not None,
            not_after_s=newest,
            revoked_why="" if enrolled is None or not revoked else enrolled.why,
            seen_at_s=None if seen is None else seen.seen_at,
            online=seen is not None and seen.online and not revoked,  # its last will is no longer listened to
            **_reported({} if seen is None else seen.status),
        )


def _reported(status: Any) -> dict[str, Any]:
    """What a device reported in its last status, where that can be read."""
    try:
        read = strict.read(messages.Status, status)
    except MessageError:
        return {}
    return {"device_kind": read.device_kind, "look_p95_ms": read.look_p95_ms}


def _state(*, is_known: bool, is_revoked: bool, not_after_s: float | None, now_s: float) -> str:
    if not is_known:
        return "not enrolled"
    if is_revoked:
        return "revoked"
    if not_after_s is None:
        return "waiting"
    return "enrolled" if not_after_s > now_s else "ended"


def _admit(connection: Connection, device: str, cohort: str | None, now_s: float) -> None:
    """The device's row, made or made valid again. It lets nobody in: a certificate does."""
    known = update(db.enrolments).where(db.enrolments.c.device == device).values(revoked_at=None, why="")
    if not connection.execute(known if cohort is None else known.values(cohort=cohort)).rowcount:
        row = db.enrolments.insert().values(device=device, cohort=cohort or "", added_at=now_s, why="")
        connection.execute(row)


def _end_claims(connection: Connection, device: str, now_s: float) -> None:
    """End the codes that can still be used: only the newest may."""
    older = (db.claims.c.device == device) & (db.claims.c.expires_at > now_s)
    connection.execute(update(db.claims).where(older).values(expires_at=now_s))


def _pem_of(connection: Connection, serial: str) -> str:
    held = db.certificates.c
    pem = connection.scalar(select(held.pem).where(held.serial == serial, held.revoked_at.is_(None)))
    if pem is None:
        raise Refused("The certificate that this code gave was taken back.")
    return str(pem)
