"""A record and its files as one, at the intake and over a real broker: merged as a whole, or refused as a whole and
then sent file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select

from device.outbox import containers
from device.outbox import folder as outbox_folder
from device.outbox.enclosed import enclose
from device.outbox.outbox import Outbox, OutboxItem
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database import store as db
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from shared import container, messages
from shared.clock import SystemClock
from shared.messages import Ack, Begin, ChunkRecord, Envelope, EraseRecord, Part
from shared.topics import Reply
from tests.device.outbox.records import DEVICE, chunk, correction, jpeg, payloads, wav
from tests.link.depot import Depot
from tests.link.parties import DEADLINE_S, MakeLink, Server, check, seal

KEY = X25519PrivateKey.generate()
RECORD = chunk(1).chunk_id
NAME = f"{RECORD}.container"
FREE = LimitsSettings(free_mb=0)


class Side:
    """An outbox, an intake, and messages that somebody else may have written."""

    def __init__(self, folder: Path, *, key: X25519PrivateKey | None = None) -> None:
        self.folder, self.key = folder, key
        self.box = Outbox(folder / "outbox", key=None if key is None else key.public_key())
        self.depot = Depot(folder / "depot")
        self.ingest = self.start()

    def start(self) -> Ingest:
        return Ingest(self.folder / "incoming", self.depot, settings=FREE).opening_with(self.key).granting(1000)

    def restart(self) -> None:
        self.ingest.close()
        self.ingest = self.start()

    def close(self) -> None:
        self.ingest.close()
        self.box.close()

    def sealed(self, **changes: bytes) -> tuple[OutboxItem, bytes]:
        """A chunk in the outbox, and the bytes of its container."""
        self.box.seal_chunk(chunk(1), payloads(1, clip_bytes=9000) | changes)
        (item,) = self.box.claim_whole(9, clips=True)
        return item, containers.read(item, 0, item.size_bytes)

    def send(self, verb: str, payload: bytes = b"", *, name: str = NAME) -> list[Ack]:
        return acks(self.ingest.handle(DEVICE, ["up", name, verb], payload))

    def settle(self) -> list[Ack]:
        return acks(self.ingest.settle())

    def announce(self, data: bytes, *, size: int | None = None, digest: str | None = None) -> list[Ack]:
        own = digest or container.digest(data[: container.head_bytes(data)])
        part = Part("container", "record.json", len(data) if size is None else size, own)
        return self.send("begin", messages.encode(Begin(RECORD, part, DEVICE)))

    def in_parts(self, data: bytes, **announced: object) -> list[Ack]:
        said = self.announce(data, **announced)  # type: ignore[arg-type]
        for at in range(0, len(data), 5000):
            said += self.send(str(at), data[at : at + 5000])
        return said + self.send("end") + self.settle()

    @property
    def left_over(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "incoming").rglob("*") if path.is_file())


def acks(replies: list[Reply]) -> list[Ack]:
    return [messages.decode(Ack, payload) for _, payload in replies]


@pytest.fixture
def side(memory_path: Path) -> Iterator[Side]:
    with closing(Side(memory_path)) as made:
        yield made


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
@pytest.mark.parametrize("alone", [True, False], ids=["one message", "parts"])
def test_a_container_is_merged_as_its_record_and_its_files(
    memory_path: Path, alone: bool, key: X25519PrivateKey | None
) -> None:
    with closing(Side(memory_path, key=key)) as side:
        _, data = side.sealed()
        said = [*side.send("0", data), *side.settle()] if alone else side.in_parts(data)
        assert [(ack.state, ack.containers) for ack in said] == [("merged", True)]
        files = {kind: sha256(content).hexdigest() for kind, content in payloads(1, clip_bytes=9000).items()}
        assert {f"{DEVICE}/{RECORD}", *(f"{DEVICE}/{RECORD}.{kind}" for kind in files)} == set(side.depot.entries)
        assert {kind: side.depot.entries[f"{DEVICE}/{RECORD}.{kind}"] for kind in files} == files
        assert (side.left_over, side.ingest.open_transfers) == ([], 0)
        counted = {name: side.ingest.counters[name] for name in ("records", "parts", "bytes")}
        assert counted == {"records": 1, "parts": 3, "bytes": 17_000}
        for verb, payload in (("0", data), ("ask", b""), ("end", b"")):  # the answer was lost
            assert [ack.state for ack in side.send(verb, payload)] == ["merged"]
            side.settle()
        assert side.ingest.counters["parts"] == 3


def test_a_container_with_other_bytes_under_a_name_that_was_merged_is_not_taken_for_it(side: Side) -> None:
    _, data = side.sealed()
    side.send("0", data)
    side.settle()
    other = made(replace(chunk(1), spoken="Go."), {"frame": jpeg(1)})
    assert side.send("0", other) == []
    assert [ack.state for ack in side.settle()] == ["refused"]


def test_one_sync_for_each_file_and_no_range_for_a_container_that_comes_whole(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = side.sealed()
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    side.in_parts(data)
    assert sorted(path.split(".")[-2] for path in synced) == ["audio", "clip", "frame"]


def test_a_container_goes_on_after_a_restart_of_the_server(side: Side) -> None:
    _, data = side.sealed()
    side.announce(data)
    side.send("0", data[:8000])
    assert [ack.ranges for ack in side.settle()] == [((0, 8000),)]
    side.restart()
    side.send("ask")
    assert [ack.ranges for ack in side.settle()] == [((0, 8000),)]
    side.send("8000", data[8000:])
    side.send("end")
    assert [ack.state for ack in side.settle()] == ["merged"]
    assert side.left_over == []


def test_a_container_that_is_not_begun_and_not_whole_is_unknown(side: Side) -> None:
    _, data = side.sealed()
    assert [ack.state for ack in side.send("0", data[:8000])] == ["unknown"]
    assert side.left_over == []


def test_while_a_container_is_being_merged_nothing_is_said_about_it(side: Side) -> None:
    _, data = side.sealed()
    side.send("0", data)
    assert side.send("ask") == side.send("0", data) == []
    assert side.ingest.begin() == []
    assert side.send("ask") == side.send("0", data) == side.announce(data) == []
    side.ingest.run()
    assert [ack.state for ack in acks(side.ingest.finish())] == ["merged"]


# what is wrong


def made(record: ChunkRecord, files: dict[str, bytes], *, kind: str = "chunk", own: str = RECORD) -> bytes:
    names = {"frame": "frame.jpg", "audio": "audio.wav", "clip": "clip.mp4", "correction_audio": "correction.wav"}
    parts = tuple(Part(one, names[one], len(data), sha256(data).hexdigest()) for one, data in files.items())
    envelope = Envelope(kind, own, messages.to_dict(replace(record, parts=parts)))
    return container.make_head(messages.encode(envelope), len(parts)) + b"".join(files.values())


FRAME = {"frame": jpeg(1)}
BAD = {
    "another record": (made(chunk(2), FRAME, own=chunk(2).chunk_id), "holds pi-1-b0071-000002"),
    "a record that calls itself otherwise": (made(chunk(2), FRAME), "the record pi-1-b0071-000002"),
    "no record": (made(chunk(1), FRAME, kind="correction"), "CorrectionRecord"),
    "no picture": (made(chunk(1), {"frame": b"MZ" + bytes(50)}), "the frame is not a JPEG picture"),
    "no sound": (made(chunk(1), FRAME | {"audio": b"RIFF" + bytes(50)}), "the audio is not a WAV sound"),
    "nothing that was sealed": (made(chunk(1), {"frame": b"WCSEAL1\n" + bytes(90)}), "no key for what is sealed"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("alone", [True, False], ids=["one message", "parts"])
def test_what_is_wrong_in_a_container_refuses_all_of_it(side: Side, name: str, alone: bool) -> None:
    data, reason = BAD[name]
    said = [*side.send("0", data), *side.settle()] if alone else side.in_parts(data)
    assert [ack.state for ack in said] == ["refused"]
    assert reason in said[0].reason
    assert (side.depot.entries, side.depot.quarantined, side.left_over) == ({}, [], [])


def test_a_sealed_file_that_the_record_inside_does_not_name_refuses_the_container(memory_path: Path) -> None:
    with closing(Side(memory_path, key=KEY)) as side:
        record = replace(chunk(1), parts=outbox_folder.parts(FRAME))
        inside = Envelope("chunk", RECORD, messages.to_dict(record))
        envelope, files = enclose(record, inside, {"frame": jpeg(2)}, KEY.public_key())
        data = container.make_head(messages.encode(envelope), 1) + files["frame"]
        said = [*side.send("0", data), *side.settle()]
        assert [ack.state for ack in said] == ["refused"]
        assert "names no frame, or another one" in said[0].reason
        assert (side.depot.entries, side.depot.quarantined, side.left_over) == ({}, [], [])


def test_a_container_that_is_not_the_announced_one_is_asked_for_again(side: Side) -> None:
    _, data = side.sealed()
    assert [ack.state for ack in side.in_parts(data, digest=sha256(data).hexdigest())] == ["unknown"]
    assert [ack.state for ack in side.in_parts(data[:-1] + b"?")] == ["refused"]  # its head was
    assert [ack.state for ack in side.in_parts(data + b"?")] == ["refused"]
    assert (side.depot.entries, side.left_over) == ({}, [])


def test_a_container_that_is_too_large_is_refused_when_it_is_announced(side: Side) -> None:
    _, data = side.sealed()
    (said,) = side.announce(data, size=container.MAX_BYTES + 1)
    assert (said.state, side.left_over) == ("refused", [])
    assert "at most 524288" in said.reason


def test_a_record_that_names_a_container_among_its_files_is_refused(side: Side) -> None:
    part = messages.to_dict(Part("container", "x", 1, "0" * 64))
    body = messages.to_dict(chunk(1)) | {"parts": [part]}
    replies = side.ingest.handle(DEVICE, ["up", "event"], messages.encode(Envelope("chunk", RECORD, body)))
    assert [ack.state for ack in acks(replies)] == ["refused"]


def test_a_disk_that_does_not_take_the_files_leaves_nothing_and_is_not_answered(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = side.sealed()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(28, "full")))
        side.send("0", data)
        assert side.settle() == []
    assert (side.depot.entries, side.left_over) == ({}, [])
    assert [ack.state for ack in side.send("ask")] == ["unknown"]
    assert [ack.state for ack in side.in_parts(data)] == ["receiving", "merged"][1:]


def test_files_that_had_begun_to_come_by_themselves_are_given_up_for_a_container_and_the_other_way_round(
    side: Side,
) -> None:
    _, data = side.sealed()
    part = Part("frame", "frame.jpg", 3000, sha256(jpeg(1)).hexdigest())
    side.send("begin", messages.encode(Begin(RECORD, part, DEVICE)), name=f"{RECORD}.frame")
    side.send("0", jpeg(1)[:1000], name=f"{RECORD}.frame")
    side.settle()
    assert side.left_over == [f"{RECORD}.frame.data", f"{RECORD}.frame.ranges"]
    side.in_parts(data)
    assert side.left_over == []
    other = made(chunk(2), FRAME, own=chunk(2).chunk_id)
    name = f"{chunk(2).chunk_id}.container"
    announced = Part("container", "record.json", len(other), container.digest(other[: container.head_bytes(other)]))
    side.send("begin", messages.encode(Begin(chunk(2).chunk_id, announced, DEVICE)), name=name)
    side.send("0", other[:500], name=name)
    side.settle()
    envelope = other[container.FIXED_BYTES : container.head_bytes(other)]
    side.ingest.handle(DEVICE, ["up", "event"], envelope)
    assert [ack.state for ack in side.settle()] == ["merged"]
    assert side.left_over == []


# the dataset itself


def test_a_moment_that_was_erased_is_not_taken_in_a_container_either(side: Side) -> None:
    _, data = side.sealed()
    wish = EraseRecord(f"{DEVICE}-e1", DEVICE, asked_at_utc=1.0, record_ids=(RECORD,))
    with closing(open_store(side.folder / "home")) as store:
        dataset = Dataset(side.folder / "home" / "dataset")
        merge = Merge(store, dataset, SystemClock())
        side.ingest = Ingest(side.folder / "home" / "incoming", merge, settings=FREE).granting(1000)
        envelope = Envelope("erase", wish.erase_id, messages.to_dict(wish))
        side.ingest.handle(DEVICE, ["up", "event"], messages.encode(envelope))
        side.send("0", data)
        assert sorted(ack.state for ack in side.settle()) == ["merged", "refused"]
        with store.reading() as connection:
            assert connection.execute(select(db.records)).all() == connection.execute(select(db.parts)).all() == []
        assert [path for path in dataset.folder.rglob("*") if path.suffix in (".jpg", ".wav", ".mp4")] == []
        assert [path for path in (side.folder / "home" / "incoming").rglob("*") if path.is_file()] == []


# over a broker


class Granting(Server):
    """As the product's server is: it grants credit, and settles beside receiving."""

    def __init__(self, broker: BrokerChild, folder: Path) -> None:
        super().__init__(broker, folder)
        self.ingest.granting(1000)
        self.link = ServerLink(BrokerSession(broker.host, broker.port), Ports(self.ingest.handle, settling=self.ingest))


def test_over_a_broker_nothing_travels_by_itself_but_what_does_not_fit(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 8, clip_bytes=9000)
    large = payloads(8, clip_bytes=600_000)
    own = box.seal_chunk(chunk(8), large).chunk_id
    expected |= {f"{DEVICE}/{own}.{kind}": sha256(data).hexdigest() for kind, data in large.items()}
    with Granting(broker, memory_path) as server:
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 10)
    assert server.ingest.counters["messages"] < 40 + 600_000 // 16_384  # eight chunks alone were 70 and more
    assert link.resent_bytes == 0


def test_a_server_of_before_gets_a_record_and_files(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 8, clip_bytes=9000)
    with Server(broker, memory_path) as server:
        server.ingest._kinds = messages.PART_KINDS
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 9)
    assert (server.ingest.counters["foreign"], link.counters["refused"]) == (1, 0)


def test_of_a_container_that_is_refused_what_is_sound_is_merged(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    box.seal_correction(correction(1), wav(1))
    box.seal_chunk(chunk(1), payloads(1) | {"frame": b"no picture at all"})
    with closing(open_store(memory_path / "home")) as store:
        merge = Merge(store, Dataset(memory_path / "home" / "dataset"), SystemClock())
        ingest = Ingest(memory_path / "home" / "incoming", merge, settings=FREE).granting(1000)
        server = ServerLink(BrokerSession(broker.host, broker.port), Ports(ingest.handle, settling=ingest))
        server.start()
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        server.stop()
        ingest.close()
        with store.reading() as connection:
            kinds = connection.execute(select(db.parts.c.kind).order_by(db.parts.c.kind)).scalars().all()
    assert kinds == ["audio", "correction_audio"]
    (failure,) = box.failures()
    assert (failure.record_id, failure.reason) == (RECORD, "frame: the frame is not a JPEG picture")
