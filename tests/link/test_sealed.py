"""What a device sealed to its server arrives as it is, is opened there, and is the moment that it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.outbox.outbox import Outbox, OutboxItem
from server.broker.child import BrokerChild
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.identity import sealing_key
from server.identity.authority import Authority
from server.identity.sealing_key import SealingKey
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from shared import messages, sealing
from shared.clock import SystemClock
from shared.messages import Ack, Begin, Envelope, Part
from shared.sealing import SealedPlace
from tests.device.outbox.records import DEVICE, chunk, correction, jpeg, payloads, wav
from tests.faults.carrier import said
from tests.link.depot import Depot
from tests.link.parties import DEADLINE_S, MakeLink, Server, check, seal

KEY = X25519PrivateKey.generate()
RECORD = chunk(1).chunk_id


class Ends:
    """An outbox and an intake, without a network in between."""

    def __init__(self, folder: Path, *, key: X25519PrivateKey | None = KEY) -> None:
        self.folder = folder
        self.box = Outbox(folder / "outbox", key=KEY.public_key())
        self.depot = Depot(folder / "depot")
        self.ingest = Ingest(folder / "incoming", self.depot, settings=LimitsSettings(free_mb=0)).opening_with(key)

    def close(self) -> None:
        self.box.close()
        self.ingest.close()

    def bring(self, item: OutboxItem) -> Ack:
        """The last answer about it."""
        replies = [reply for about in said(self.box, item, DEVICE) for reply in self.ingest.handle(DEVICE, *about)]
        return messages.decode(Ack, [*replies, *self.ingest.settle()][-1][1])

    def items(self) -> dict[str, OutboxItem]:
        return {item.kind: item for item in (*self.box.claim(99), *self.box.claim(99, bulk=True))}

    @property
    def left_over(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "incoming").rglob("*") if path.is_file())


@pytest.fixture
def ends(memory_path: Path) -> Iterator[Ends]:
    with closing(Ends(memory_path)) as made:
        yield made


def event(ends: Ends, envelope: Envelope) -> Ack:
    replies = ends.ingest.handle(DEVICE, ["up", "event"], messages.encode(envelope)) + ends.ingest.settle()
    return messages.decode(Ack, replies[-1][1])


def envelope_of(ends: Ends) -> Envelope:
    return messages.decode(Envelope, (ends.box.folder / RECORD / "record.json").read_bytes())


def test_a_sealed_moment_is_merged_as_what_it_was(ends: Ends) -> None:
    ends.box.seal_chunk(chunk(1), payloads(1, clip_bytes=700_000))
    assert {kind: ends.bring(item).state for kind, item in ends.items().items()} == dict.fromkeys(
        ("record", "frame", "audio", "clip"), "merged"
    )
    for name, data in {
        "frame.jpg": jpeg(1),
        "audio.wav": wav(1),
        "clip.mp4": payloads(1, clip_bytes=700_000)["clip"],
    }.items():
        assert (ends.depot.folder / f"{DEVICE}.{RECORD}.{name}").read_bytes() == data
    record = json.loads(ends.depot.entries[f"{DEVICE}/{RECORD}"])
    assert (record["spoken"], record["parts"][0]["sha256"]) == ("Stop, curb ahead.", sha256(jpeg(1)).hexdigest())
    assert ends.left_over == []


def test_a_sealed_correction_is_one(ends: Ends) -> None:
    ends.box.seal_correction(correction(1), wav(7))
    assert [ends.bring(item).state for item in ends.items().values()] == ["merged", "merged"]
    name = f"{DEVICE}.{correction(1).correction_id}.correction.wav"
    assert (ends.depot.folder / name).read_bytes() == wav(7)


def test_everything_may_come_twice(ends: Ends) -> None:
    ends.box.seal_chunk(chunk(1), payloads(1, clip_bytes=700_000))
    for _ in range(2):
        assert {ends.bring(item).state for item in ends.items().values()} <= {"merged"}
        ends.box.release(list(ends.items().values()))
    for item in ends.items().values():
        assert ends.bring(item).state == "merged"
    assert ends.left_over == []


def test_a_server_without_the_key_refuses_and_the_moment_stays_on_the_device(memory_path: Path) -> None:
    with closing(Ends(memory_path, key=None)) as ends:
        ends.box.seal_chunk(chunk(1), payloads(1))
        items = ends.items().values()
        answers = {item.kind: ends.bring(item) for item in items}
        assert {answer.reason for answer in answers.values()} == {"This server has no key for what is sealed."}
        for item in items:
            ends.box.refused(item, answers[item.kind].reason)
        assert [row.record_id for row in ends.box.failures()] == [RECORD]
        ends.box.retry(RECORD)
        with closing(
            Ingest(memory_path / "other", ends.depot, settings=LimitsSettings(free_mb=0)).opening_with(KEY)
        ) as again:
            ends.ingest = again
            assert {ends.bring(item).state for item in ends.items().values()} == {"merged"}


def test_another_servers_key_opens_nothing(memory_path: Path) -> None:
    with closing(Ends(memory_path, key=X25519PrivateKey.generate())) as ends:
        ends.box.seal_chunk(chunk(1), payloads(1))
        answers = [ends.bring(item) for item in ends.items().values()]
        assert {answer.state for answer in answers} == {"refused"}
        assert all("another key than this server's" in answer.reason for answer in answers)
        assert ends.left_over == []


def test_a_file_in_the_place_of_another_one_is_refused(ends: Ends) -> None:
    ends.box.seal_chunk(chunk(1), payloads(1))
    ends.box.seal_chunk(chunk(2), payloads(2))
    frame = (ends.box.folder / chunk(2).chunk_id / "frame.jpg").read_bytes()
    part = Part("frame", "frame.jpg", len(frame), sha256(frame).hexdigest())
    begin = messages.encode(Begin(RECORD, part, DEVICE))
    for verb, payload in (("begin", begin), ("0", frame), ("end", b"")):
        ends.ingest.handle(DEVICE, ["up", f"{RECORD}.frame", verb], payload)
    answer = messages.decode(Ack, ends.ingest.settle()[-1][1])
    assert (answer.state, "altered" in answer.reason) == ("refused", True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sealed": "AAAA"}, "is no sealed file"),
        ({"sealed": "A"}, "not sealed as it says"),
        ({"sealed": "no base64!"}, "SealedRecord"),
        ({"of": "correction"}, "holds the chunk"),
        ({"of": "party"}, "SealedRecord"),
        ({"importance": 7}, "SealedRecord"),
    ],
)
def test_an_envelope_that_is_not_what_it_says_is_refused(ends: Ends, changes: dict[str, object], reason: str) -> None:
    ends.box.seal_chunk(chunk(1), payloads(1))
    envelope = envelope_of(ends)
    answer = event(ends, replace(envelope, body={**envelope.body, **changes}))
    assert (answer.state, reason in answer.reason) == ("refused", True), answer.reason


def test_a_record_of_another_device_is_refused_though_it_can_be_opened(ends: Ends) -> None:
    ends.box.seal_chunk(chunk(1), payloads(1))
    envelope = envelope_of(ends)
    inside = Envelope("chunk", RECORD, messages.to_dict(replace(chunk(1), device="ben")))
    sealed = sealing.seal(messages.encode(inside), KEY.public_key(), SealedPlace(DEVICE, RECORD, "record"))
    answer = event(ends, replace(envelope, body={**envelope.body, "sealed": base64.b64encode(sealed).decode()}))
    assert (answer.state, "names ben" in answer.reason) == ("refused", True)


def test_a_dataset_takes_a_sealed_moment_in_as_a_sample(memory_path: Path) -> None:
    store, dataset = open_store(memory_path / "home"), Dataset(memory_path / "home" / "dataset")
    with closing(store), closing(Ends(memory_path)) as ends:
        ends.ingest.close()
        merge = Merge(store, dataset, SystemClock())
        ends.ingest = Ingest(memory_path / "home" / "incoming", merge, settings=LimitsSettings(free_mb=0)).opening_with(
            KEY
        )
        ends.box.seal_chunk(chunk(1), payloads(1))
        for item in ends.items().values():
            assert ends.bring(item).state == "merged"
        (row,) = dataset.rows()
        assert row.sample_id == RECORD
        assert (dataset.folder / row.frame_path).read_bytes() == jpeg(1)


def test_sealed_moments_cross_a_broker_as_any_other_and_leave_the_device(
    broker: BrokerChild, memory_path: Path, make_link: MakeLink
) -> None:
    with closing(Outbox(memory_path / "sealed", key=KEY.public_key())) as box, Server(broker, memory_path) as server:
        server.ingest.opening_with(KEY)
        expected = seal(box, 5, clip_bytes=900_000)
        size = box.counts().queued_bytes
        link = make_link(outbox=box)
        link.start()
        assert link.wait_idle(DEADLINE_S)
        link.stop()
        check(memory_path, box, expected, 6)
        assert (link.sent_bytes, link.resent_bytes) == (size, 0)


def test_what_was_sealed_before_and_after_the_key_was_changed_under_a_running_server_is_opened(
    memory_path: Path,
) -> None:
    authority = Authority.make(memory_path / "home", clock=SystemClock())
    first = SealingKey.of(authority)
    with closing(Ends(memory_path, key=None)) as ends:
        ends.ingest.opening_with(first.private, others=sealing_key.finder(authority))
        ends.box.use_key(first.private.public_key())
        ends.box.seal_chunk(chunk(1), payloads(1, clip_bytes=700_000))
        second = sealing_key.rotate(authority)
        ends.box.use_key(second.private.public_key())
        ends.box.seal_chunk(chunk(2), payloads(2))
        sealed = (ends.box.folder / chunk(2).chunk_id / "frame.jpg").read_bytes()
        assert sealing.sealed_to(sealed).hex() == second.key_id
        items = [*ends.box.claim(99), *ends.box.claim(99, bulk=True)]
        assert {ends.bring(item).state for item in items} == {"merged"}
        for number in (1, 2):
            name = f"{DEVICE}.{chunk(number).chunk_id}.frame.jpg"
            assert (ends.depot.folder / name).read_bytes() == jpeg(number)


def test_an_older_key_that_cannot_be_read_now_refuses_nothing(memory_path: Path) -> None:
    authority = Authority.make(memory_path / "home", clock=SystemClock())
    first = SealingKey.of(authority)
    second = sealing_key.rotate(authority)
    path = authority.folder / f"waycue-sealing-{first.key_id}.key"
    with closing(Ends(memory_path, key=None)) as ends:
        ends.ingest.opening_with(second.private, others=sealing_key.finder(authority))
        ends.box.use_key(first.private.public_key())
        ends.box.seal_chunk(chunk(1), payloads(1))
        path.chmod(0o644)
        items = ends.items().values()
        for item in items:
            replies = [reply for about in said(ends.box, item, DEVICE) for reply in ends.ingest.handle(DEVICE, *about)]
            replies += ends.ingest.settle()
            assert "refused" not in {messages.decode(Ack, payload).state for _, payload in replies}
        path.chmod(0o600)
        assert {ends.bring(item).state for item in items} == {"merged"}
