"""Fuzz targets: certificates, requests for them and signed release metadata, from the network and from disk."""

from __future__ import annotations

from tuf.api.metadata import Metadata

from device.identity import identity
from device.identity.identity import Identity
from device.updates.tuf_client import Trust
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.releases.rollout_rules import Grant
from server.releases.signing import Release, ReleaseTarget
from shared import messages
from shared.clock import ManualClock
from shared.errors import ConfigError, Refused, Transient
from shared.floor import ClockFloor
from shared.messages import Offer, Renew
from tests.enrolment.quick import enrolled
from tests.faults.fuzz.shape import DEEP, RAW, SHAPED, WHOLE, joined, patched, replaced, several, shaped
from tests.faults.fuzz.target import Run, Target, emptied, scratch

DEVICE = "pi-1"
EPOCH_S = 1_795_200_000.0
DIGEST = "0" * 64


def _signed(data: bytes) -> object:
    return Metadata.from_bytes(data).signed


def _release_metadata() -> Run:
    """Any mixture of altered metadata files, at a device that has seen good ones."""
    folder = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    release = Release.make(folder / "home", clock=clock)
    release.publish([ReleaseTarget(Grant("m1", 1, 100), DIGEST, 500)])
    good = {entry.name: data for entry, data in release.files()}
    offer = Offer("m1", DIGEST, 500, EPOCH_S, 1, tuple(entry for entry, _ in release.files()))
    names = sorted(good)
    root = release.root_json()

    def run(data: bytes) -> None:
        state = emptied(folder / "state")
        trust = Trust(state / "trust", root, ClockFloor(state, clock))
        files = dict(good)
        for one in several(data, most=4):
            name = names[one[0] % len(names)] if one else names[0]
            changed = shaped(one[1:], [good[name]]) if one[1:2] >= SHAPED else replaced(one[1:], good[name])
            files[name] = changed
        try:
            trust.check(files, offer, DEVICE)
        except (Refused, Transient):
            return
        # The first root came with the identity; what an offer calls so is not read.
        for name in names:
            assert name == "1.root.json" or _signed(files[name]) == _signed(good[name]), f"{name} was not signed"

    return run


def _requests() -> Run:
    """Certificate requests, in PEM and in a renewal."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    authority = Authority.make(home, clock=clock)
    certificates = Certificates(open_store(home), authority, clock=clock)
    enrolled(certificates, home / "state", DEVICE, clock=clock)
    good = identity.certificate_request(identity.new_key(), DEVICE).encode()
    examples = [messages.encode(Renew(good.decode()))]

    def run(data: bytes) -> None:
        if data[:1] == b"r":
            certificates.renew(DEVICE, ["up", "renew"], shaped(data[1:], examples))
            return
        try:
            authority.issue_device(patched(data[1:], good), DEVICE)
        except Refused:
            return

    return run


def _identities() -> Run:
    """The files of an identity, on a disk that lies."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    authority = Authority.make(home, clock=clock)
    certificates = Certificates(open_store(home), authority, clock=clock)
    enrolled(certificates, home / "good", DEVICE, clock=clock)
    folder = (home / "good" / identity.FOLDER).resolve()
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = sorted(good)
    floor = ClockFloor(home, clock)
    state = home / "state"

    def run(data: bytes) -> None:
        emptied(state)
        files = dict(good)
        for one in several(data, most=3):
            name = names[one[0] % len(names)] if one else names[0]
            structured = name == identity.ENROLMENT and one[1:2] >= b"\x40"
            files[name] = shaped(one[1:], [good[name]]) if structured else patched(one[2:], good[name])
        (state / "x").mkdir()
        for name, content in files.items():
            (state / "x" / name).write_bytes(content)
            (state / "x" / name).chmod(0o600)
        (state / identity.FOLDER).symlink_to("x")
        try:
            found = Identity.open(state, floor=floor)
            assert found is not None
            found.context()
        except (ConfigError, OSError):
            return

    return run


TARGETS = (
    Target(
        "release metadata", _release_metadata,
        (b"", b"\x00\x04\x00\x40\x03\x00\x10", b"\x00\x06\x01\x00\x00\x09\x01A", b"\x00\x05\x02\x40\x08\x00\x0b",
         *(joined([bytes((at, *WHOLE)) + DEEP[1:2000]]) for at in range(4))),
    ),
    Target(
        "certificate requests", _requests,
        (b"c", b"c\x00\x30\x09A", b"r\x40", b"r\x40\x00\x00\x10", b"r" + RAW + b"{}"),
    ),
    Target("identities", _identities, (b"", b"\x00\x06\x00\x00\x00\x09\x01A", b"\x00\x05\x03\x40\x00\x00\x10")),
)  # fmt: skip
