"""`waycue-device enroll`: this device makes a key, and gets a certificate for it with a one-time code.

Promises:

1. The key is made here and never leaves. It is on disk before anything is sent, so that an answer lost on the way costs
   nothing: the same command asks the same question again, and the server gives the same answer.
2. Nothing that the server says is read before its MAC was right (shared.enrolment): whoever sits in the middle can stop
   this, and no more.
3. The identity appears whole, by one rename. The old one stays until then.
4. The clock floor is set to the server's time: a person has just vouched for it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from device.identity import identity
from device.identity.identity import Identity
from shared import atomic, claim_code, enrolment, settings
from shared.clock import Clock
from shared.enrolment import EnrolAnswer, EnrolRequest
from shared.errors import MessageError, Refused, Transient, Unreachable
from shared.floor import ClockFloor

PENDING = "enrolling"
REQUEST, FOR = "request.csr", "for.json"
STEPS = ("asked_for", "answered", *identity.STEPS, "forgotten")
"""The durable steps of `enrol`, in their order."""
TIMEOUT_S = 20.0
BUSY = (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.INTERNAL_SERVER_ERROR, http.HTTPStatus.SERVICE_UNAVAILABLE)
"""What a server of ours answers when it cannot now."""
NOT_TAKEN = "It may be mistyped, expired or used already, or be meant for another name"


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A key and its request, on disk before they are used."""

    key_pem: bytes
    csr_pem: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person brings from the server."""

    server: str
    """HOST:PORT."""
    code: str
    """The claim code."""
    device: str
    """The name that the code was made for."""


def enrol(
    state_dir: Path,
    invitation: Invitation,
    *,
    floor: ClockFloor,
    clock: Clock,
    crash_point: atomic.Step = atomic.no_step,
) -> Identity:
    """Enrol, or enrol again. crash_point: called with each of STEPS.

    raises: ConfigError (code or address), Refused, Unreachable, Transient, OSError
    """
    device = invitation.device
    address = settings.address(invitation.server, what="server's address", default_port=enrolment.DEFAULT_PORT)
    key = claim_code.key_of(invitation.code)
    pending = pending_request(state_dir, hashlib.sha256(b"\n".join((key, device.encode()))).hexdigest(), device)
    crash_point("asked_for")
    answer = _ask(address, key, device, pending.csr_pem)
    crash_point("answered")
    issued_s = check_answer(answer, pending, device)
    files = {
        identity.KEY: pending.key_pem,
        identity.CERTIFICATE: answer.certificate_pem.encode(),
        identity.CA: answer.ca_pem.encode(),
        identity.ROOT: answer.root_json.encode(),
        identity.ENROLMENT: identity.enrolment_json(
            device=device, broker=answer.broker, server=f"{address[0]}:{address[1]}", enrolled_at_utc=clock.utc_s()
        ),
        **({identity.SEALING: answer.sealing_pem.encode()} if answer.sealing_pem else {}),
    }
    floor.reset(issued_s)
    identity.store(state_dir, files, crash_point=crash_point)
    atomic.remove_tree(state_dir / PENDING)
    crash_point("forgotten")
    enrolled = Identity.open(state_dir, floor=floor)
    assert enrolled is not None  # it was just written
    return enrolled


def pending_request(state_dir: Path, asked_for: str, device: str) -> PendingRequest:
    """What an interrupted try with the same code left, or something new."""
    folder = state_dir / PENDING
    try:
        if json.loads((folder / FOR).read_bytes()) == asked_for:
            return PendingRequest((folder / identity.KEY).read_bytes(), (folder / REQUEST).read_text("ascii"))
    except (OSError, ValueError, RecursionError):
        pass  # there was none, or it is damaged: a new key does as well
    made = PendingRequest(key_pem := identity.new_key(), identity.certificate_request(key_pem, device))
    atomic.make_dirs(state_dir)
    atomic.remove_tree(folder)
    files = {identity.KEY: made.key_pem, REQUEST: made.csr_pem.encode(), FOR: json.dumps(asked_for).encode()}
    atomic.write_folder(folder, files, private=True)
    return made


def _ask(address: tuple[str, int], key: bytes, device: str, csr_pem: str) -> EnrolAnswer:
    host, port = address
    try:
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_blind())
        return _exchange(connection, key, device, csr_pem)
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # UnicodeError: a host that cannot be a name
        raise Unreachable(
            f"The server {host}:{port} cannot be reached ({str(error) or type(error).__name__}).",
            hint="Is `waycue-server run` on, and this device in the same network? The code stays good; try again.",
        ) from None


def _blind() -> ssl.SSLContext:
    """The certificate is not checked here: it becomes part of the proof instead."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _exchange(connection: http.client.HTTPSConnection, key: bytes, device: str, csr_pem: str) -> EnrolAnswer:
    try:
        connection.connect()
        fingerprint = _fingerprint(connection.sock)
        request = EnrolRequest(device, csr_pem, enrolment.proof(key, device, csr_pem, fingerprint))
        connection.request("POST", enrolment.PATH, enrolment.encode(request), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read(enrolment.MAX_ANSWER_BYTES + 1)
    finally:
        connection.close()
    mac = response.headers.get(enrolment.MAC_HEADER, "")
    _check_status(response.status, body, is_signed=bool(mac))
    if not mac.isascii() or not enrolment.is_equal(mac, enrolment.answer_mac(key, csr_pem, body)):
        raise Refused(
            "The answer is not from the server that made the code: nothing of it was used.",
            hint="Is the address right? Otherwise somebody in this network answers in the server's place.",
        )
    return enrolment.decode(EnrolAnswer, body)


def _check_status(status: int, body: bytes, *, is_signed: bool) -> None:
    """Raises: Refused, Transient; Unreachable where another program has that address now."""
    if status == http.HTTPStatus.OK and is_signed:
        return
    if status == http.HTTPStatus.FORBIDDEN and body == enrolment.REFUSAL:
        raise Refused("The server did not take the code.", hint=f"{NOT_TAKEN}; the server's log says which.")
    if status in BUSY:
        raise Transient(f"The server answered {status}.", hint="Try again in a minute, or read its log.")
    raise Unreachable(
        f"What answers there ({status}) is no waycue server.",
        hint="Has the server another address now? The code stays good; add --server with the right one.",
    )


def _fingerprint(connection: socket.socket) -> str:
    shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    if not shown:
        raise OSError("it shows no certificate")
    return enrolment.fingerprint(shown)


def check_answer(answer: EnrolAnswer, pending: PendingRequest, device: str) -> float:
    """When the certificate was issued. Raises: Refused where the parts of the answer do not fit together."""
    try:
        settings.address(answer.broker)
        json.loads(answer.root_json)
        if answer.sealing_pem:
            identity.check_sealing(answer.sealing_pem.encode(), answer.ca_pem.encode())
        certificate = identity.check_pair(
            answer.certificate_pem.encode(), pending.key_pem, answer.ca_pem.encode(), device
        )
    except (ValueError, MessageError, *identity.UNREADABLE) as error:
        raise Refused(f"The server's answer cannot be used: {error}.", hint="Is it of the same version?") from None
    return identity.issued_s(certificate)
