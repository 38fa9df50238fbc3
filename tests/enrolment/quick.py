"""Enrolled devices for tests, without the network in between."""

from __future__ import annotations

from pathlib import Path

from device.identity import identity
from device.identity.identity import Identity
from server.identity.certificates import Certificates
from server.identity.claims import Claims
from shared import claim_code, enrolment
from shared.clock import Clock, SystemClock
from shared.enrolment import EnrolAnswer, EnrolRequest
from shared.floor import ClockFloor

ROOT = b'{"signed": "a root for tests"}'
SHOWN = "00" * 32


def enrolled(
    certificates: Certificates,
    state_dir: Path,
    device: str,
    *,
    broker: str = "127.0.0.1:8883",
    root: bytes = ROOT,
    clock: Clock | None = None,
) -> Identity:
    """Let a device in, as `devices add` and `enroll` do. clock: the device's."""
    clock = clock or SystemClock()
    book = Claims(certificates, root=lambda: root)
    claim = book.add(device)
    key_pem = identity.new_key()
    request = ask(claim.code, device, identity.certificate_request(key_pem, device))
    body, _ = book.redeem(request, fingerprints={SHOWN}, broker=broker)
    answer = enrolment.decode(EnrolAnswer, body)
    files = {
        identity.KEY: key_pem,
        identity.CERTIFICATE: answer.certificate_pem.encode(),
        identity.CA: answer.ca_pem.encode(),
        identity.ROOT: answer.root_json.encode(),
        identity.ENROLMENT: identity.enrolment_json(
            device=device, broker=broker, server="127.0.0.1:8443", enrolled_at_utc=clock.utc_s()
        ),
        identity.SEALING: answer.sealing_pem.encode(),
    }
    identity.store(state_dir, files)
    found = Identity.open(state_dir, floor=ClockFloor(state_dir, clock))
    assert found is not None
    return found


def ask(code: str, device: str, csr_pem: str, *, shown: str = SHOWN) -> EnrolRequest:
    """What a device sends that was shown the certificate with this fingerprint."""
    return EnrolRequest(device, csr_pem, enrolment.proof(claim_code.key_of(code), device, csr_pem, shown))
