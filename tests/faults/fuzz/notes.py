"""Fuzz targets: the small files that a device keeps beside its outbox and models, and its side of enrolment."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from device.identity import admission, enrol, identity, renew
from device.identity.renew import ASK_AGAIN_S, Renewal
from device.outbox import inspect
from device.outbox.folder import FAILED, LOST, REASON, REQUESTS, SIDECAR
from device.outbox.outbox import Outbox
from device.sync import conditions
from device.updates import operator_requests
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from shared import enrolment, messages
from shared.clock import ManualClock
from shared.enrolment import EnrolAnswer
from shared.errors import MessageError, Refused
from shared.messages import Certificate
from tests.enrolment.quick import enrolled
from tests.faults import cargo
from tests.faults.fuzz.shape import DEEP, RAW, patched, several, shaped
from tests.faults.fuzz.target import Run, Target, emptied, scratch

DEVICE = "pi-1"
EPOCH_S = 1_795_200_000.0


def _outbox_command() -> Run:
    """`waycue-device outbox` on a folder that lies: it may refuse. The agent on the same folder may not."""
    folder = scratch()
    good = folder / "good"
    waits, refused = _outbox_with_two(good)
    places = (good / waits / SIDECAR, good / FAILED / refused / REASON, good / LOST, good / "index.sqlite")
    contents = [place.read_bytes() for place in places]

    def run(data: bytes) -> None:
        outbox = folder / "outbox"
        shutil.rmtree(outbox, ignore_errors=True)
        shutil.copytree(good, outbox)
        at = data[0] % len(places) if data else 0
        plain = data[1:2] < b"\x40" or places[at].suffix == ".sqlite"
        changed = patched(data[2:], contents[at]) if plain else shaped(data[1:], [contents[at]])
        (outbox / places[at].relative_to(good)).write_bytes(changed)
        _commands(outbox, folder / "target", (waits, refused))

    return run


def _commands(outbox: Path, target: Path, record_ids: tuple[str, ...]) -> None:
    emptied(target)
    looks: list[Callable[[], object]] = [lambda: inspect.waiting(outbox), lambda: inspect.lost(outbox)]
    for record_id in record_ids:
        looks.append(lambda record_id=record_id: json.dumps(inspect.show(outbox, record_id)))  # type: ignore[misc]
        looks.append(lambda record_id=record_id: inspect.export(outbox, record_id, target))  # type: ignore[misc]
    for look in looks:
        try:
            look()
        except (MessageError, OSError):
            continue
    box = Outbox(outbox)  # and the agent starts on it, whatever it is
    try:
        box.release(box.claim(10) + box.claim(10, bulk=True))
        box.failures()
        box.counts()
        box.prune(0)
    finally:
        box.close()


def _outbox_with_two(folder: Path) -> tuple[str, str]:
    """An outbox with a record that waits and one that was refused."""
    box = Outbox(folder)
    try:
        ids = [box.seal_chunk(*cargo.chunk(DEVICE, number)).chunk_id for number in range(2)]
        items = box.claim(10) + box.claim(10, bulk=True)
        own = [item for item in items if item.record_id == ids[1]]
        box.merged(own[1:])
        box.refused(own[0], "for a test")
    finally:
        box.close()
    (folder / LOST).write_bytes(b'{"record_id": "pi-1-x", "why": "no room"}\n')
    return ids[0], ids[1]


def _requests() -> Run:
    """Whatever lies where people leave their requests."""
    folder = scratch()

    def run(data: bytes) -> None:
        outbox = emptied(folder / "outbox")
        (outbox / REQUESTS).mkdir()
        name = bytes(byte for byte in data if byte not in b"/\0")[:200]
        if name not in (b"", b".", b".."):
            (Path(os.fsdecode(os.path.join(os.fsencode(outbox / REQUESTS), name)))).touch()
        box = Outbox(outbox)
        try:
            box.retry_requested()
        finally:
            box.close()

    return run


def _operator_requests() -> Run:
    folder = scratch()
    examples = [
        operator_requests.encode(operator_requests.OperatorRequest(kind, "m1"))
        for kind in operator_requests.RequestKind
    ]

    def run(data: bytes) -> None:
        (folder / operator_requests.NAME).write_bytes(shaped(data, examples))
        operator_requests.take(folder)
        assert not (folder / operator_requests.NAME).exists()

    return run


def _renewals() -> Run:
    """Certificates that come, and the notes of a renewal that was interrupted."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    certificates = Certificates(open_store(home), Authority.make(home, clock=clock), clock=clock)
    held = enrolled(certificates, home / "state", DEVICE, clock=clock)
    context = held.context()
    sent: list[bytes] = []

    def publish(topic: str, payload: bytes) -> bool:
        sent.append(payload)
        return True

    renewing = Renewal(home / "state", held, context, publish=publish, clock=clock)
    pem = held.certificate_pem.decode()
    examples = [messages.encode(Certificate(pem, pem))]
    key = identity.new_key()

    def run(data: bytes) -> None:
        kind, rest = data[:1], data[1:]
        if kind == b"w":
            (home / "state" / renew.REQUEST).write_bytes(shaped(rest, [b'{"rekey": true}']))
        elif kind == b"k":
            (home / "state" / renew.REQUEST).write_bytes(b'{"rekey": true}')
            (home / "state" / renew.NEXT_KEY).write_bytes(rest if rest[:1] == b"-" else patched(rest, key))
        elif kind == b"p":
            altered = patched(rest, pem.encode()).decode("utf-8", "replace")
            renewing.on_certificate(["certificate"], messages.encode(Certificate(altered, pem)))
        else:
            renewing.on_certificate(["certificate"], shaped(rest, examples))
        clock.sleep(ASK_AGAIN_S + 1.0)
        renewing.tick()
        for name in (renew.REQUEST, renew.NEXT_KEY):
            (home / "state" / name).unlink(missing_ok=True)

    return run


def _enrolling() -> Run:
    """What an interrupted enrolment left, the parts of an answer, and the rest of a damaged identity."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    certificates = Certificates(open_store(home), Authority.make(home, clock=clock), clock=clock)
    held = enrolled(certificates, home / "good", DEVICE, clock=clock)
    files = identity.files_of(held)
    pending = enrol.PendingRequest(files[identity.KEY], "-----BEGIN")
    answer = EnrolAnswer(
        files[identity.CERTIFICATE].decode(), files[identity.CA].decode(), "127.0.0.1:8883", '{"signed": {}}'
    )
    examples = [enrolment.encode(answer)]
    state = home / "state"

    def run(data: bytes) -> None:
        emptied(state)
        if data[:1] == b"p":
            (state / enrol.PENDING).mkdir()
            for name, value in ((enrol.FOR, shaped(data[1:], [b'"x"'])), (identity.KEY, data), (enrol.REQUEST, data)):
                (state / enrol.PENDING / name).write_bytes(value)
            enrol.pending_request(state, "x", DEVICE)
        elif data[:1] == b"i":
            (state / identity.FOLDER).mkdir()
            (state / identity.FOLDER / identity.ENROLMENT).write_bytes(shaped(data[1:], [files[identity.ENROLMENT]]))
            admission.name_left(state)
        else:
            try:
                reported = enrolment.decode(EnrolAnswer, shaped(data[1:], examples))
                parts = asdict(reported)
                for one in several(data[40:], most=2):
                    name = sorted(parts)[one[0] % len(parts)] if one else "broker"
                    parts[name] = patched(one[1:], str(parts[name]).encode()).decode("utf-8", "replace")
                enrol.check_answer(EnrolAnswer(**parts), pending, DEVICE)
            except (MessageError, Refused):
                return

    return run


def _machine() -> Run:
    """What the machine says about its network and its heat."""
    folder = scratch()
    zone = folder / "thermal_zone0"
    zone.mkdir()

    def run(data: bytes) -> None:
        (zone / "type").write_bytes(data[:12] if data[:1] == b"t" else b"cpu-thermal\n")
        (zone / "temp").write_bytes(data[12:])
        text = data.decode("utf-8", "replace")
        conditions.look(folder, lambda _command: text)

    return run


def _encrypted_key() -> bytes:
    """What somebody may have put in place of a key: it needs a passphrase."""
    key = identity.read_key(identity.new_key())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


TARGETS = (
    Target("outbox command", _outbox_command, (
        b"\x00\x40", b"\x01\x40\x00\x00\x10", b"\x02\x40\x01\x00\x09", b"\x03\x00\x00\x40\x09\x00",
        b"\x02\x40" + bytes(2), b"\x02" + DEEP, b"\x01" + DEEP, b"\x00" + DEEP, b"\x00\x40\x05\x00\x10",
    )),
    Target("outbox requests", _requests, (b"pi-1-b1-000001", b"..x", b"\xff", b".tmp")),
    Target("operator_requests", _operator_requests, (b"\x40", b"\x41\x01\x00\x10", RAW + b"{}", DEEP)),
    Target("renewals", _renewals, (
        b"w\x40", b"w" + DEEP, b"k\x00\x20\x09A", b"k" + _encrypted_key(), b"p", b"p\x00\x40\x09A", b"c\x40",
        b"c\x40\x00\x00\x09",
    )),
    Target("enrolling", _enrolling, (
        b"p\x40", b"p" + DEEP, b"i\x40", b"i\x40\x01\x00\x10", b"i" + DEEP, b"a\x40", b"a\x40\x02\x00\x10",
    )),
    Target("machine", _machine, (b"u 4", b"throttled=0x50005", b"t" + bytes(11) + b"48312\n", b"tcpu-thermal\n85000")),
)  # fmt: skip
