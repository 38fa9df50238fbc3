"""Fuzz targets: everything that reads what came over the network."""

from __future__ import annotations

import atexit
import hashlib
from dataclasses import replace
from typing import Any

import server.identity.enrol_http  # noqa: F401  the module is what an enrolling device talks to
from device.outbox import folder as outbox_folder
from device.outbox.outbox import Outbox, OutboxItem
from device.sync import uploads
from device.sync.link import Link, LinkPorts, LinkSettings
from device.sync.uploads import Answered, Claimed, Uploads
from device.updates.permission import Permission
from device.updates.state import Settings
from device.updates.updater import Updater, UpdaterPorts
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database.store import open_store
from server.dataset import row_log
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from server.releases.offers import Offers
from server.releases.registry import Registry
from shared import blocks, bundle, claim_code, container, enrolment, messages, setup_code, topics
from shared.clock import ManualClock
from shared.enrolment import EnrolAnswer, EnrolRequest
from shared.errors import ConfigError, MessageError, WaycueError
from shared.messages import (
    Ack,
    Begin,
    Certificate,
    ChunkRecord,
    CorrectionRecord,
    Envelope,
    MetadataFile,
    Offer,
    Renew,
    Status,
    Want,
)
from shared.transfer import Online, Ranges
from tests.faults import cargo
from tests.faults.fuzz.shape import DEEP, RAW, joined, several, shaped
from tests.faults.fuzz.target import Run, Target, emptied, scratch
from tests.shared.bundle.bundles import contents, make_bundle

DEVICE = "pi-1"
EPOCH_S = 1_795_200_000.0
KINDS: tuple[type[Any], ...] = (
    Envelope, ChunkRecord, CorrectionRecord, Begin, Ack, Want, Offer, Status, Renew, Certificate, MetadataFile,
)  # fmt: skip
NO_FLOOR = LimitsSettings(free_mb=0)  # the folder may lie in memory
RESTART_EVERY = 200  # inputs: then the server must be able to read its own disk again
MODEL = {"decoder_model_merged.onnx": 90_000, "golden/000.jpg": 700}


def _chunk() -> tuple[ChunkRecord, dict[str, bytes]]:
    record, payloads = cargo.chunk(DEVICE, 0)
    return replace(record, parts=outbox_folder.parts(payloads)), payloads


def _examples() -> list[bytes]:
    """One good message of each kind, in the order of KINDS."""
    chunk, _ = _chunk()
    spoken, wav = cargo.correction(DEVICE, 1)
    spoken = replace(spoken, parts=outbox_folder.parts({"correction_audio": wav}))
    digest = hashlib.sha256(b"").hexdigest()
    file = MetadataFile("1.root.json", 700, digest)
    return [
        messages.encode(one)
        for one in (
            Envelope("chunk", chunk.chunk_id, messages.to_dict(chunk)),
            chunk,
            spoken,
            Begin(chunk.chunk_id, chunk.parts[0], DEVICE),
            Ack("receiving", ((0, 5), (7, 9)), answers="ask"),
            Want(digest, ((0, 70_000), (80_000, 80_001))),
            Offer("m1", digest, 500, EPOCH_S, 3, (file,)),
            Status(online=True, model_state="idle"),
            Renew("-----BEGIN"),
            Certificate("-----BEGIN", "-----BEGIN"),
            file,
        )
    ]


def _read_messages() -> Run:
    """Whatever is read can be written, and reads the same again."""
    examples = _examples()

    def run(data: bytes) -> None:
        kind = KINDS[data[0] % len(KINDS)] if data else Envelope
        try:
            message = messages.decode(kind, shaped(data[1:], [examples[KINDS.index(kind)]]))
        except MessageError:
            return
        assert messages.decode(kind, messages.encode(message)) == message

    return run


def _topics() -> Run:
    def run(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        for topic in (text, f"wc/v1/{text}", f"wc/v1/{DEVICE}/{text}"):
            found = topics.levels(topic)
            assert found is None or topics.DEVICE_NAME.match(found[0])
        offset = topics.parse_offset(text)
        assert offset is None or str(offset) == text.lstrip("0") or offset == 0

    return run


LEVELS = ("event", "begin", "end", "ask", "0", "1000", "2000", "999999999999", "want", "../x", "")


def _take_in() -> Run:
    """A script of messages at a server with its real database; from time to time it must come up again."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    store, dataset = open_store(home), Dataset(home / "dataset")
    ingest = Ingest(home / "incoming", Merge(store, dataset, clock), counts=DailyCounts(clock))
    examples = _examples()
    chunk, payloads = _chunk()
    name = f"{chunk.chunk_id}.{chunk.parts[0].kind}"
    count = 0

    def run(data: bytes) -> None:
        nonlocal count
        for step in several(data):
            verb = LEVELS[step[0] % len(LEVELS)] if step else ""
            rest = step[1:]
            if verb == "event":
                levels, payload = ["up", "event"], shaped(rest, examples[:3])
            elif verb == "begin":
                levels, payload = ["up", name, verb], shaped(rest, [examples[3]])
            elif verb == "0" and not rest:
                levels, payload = ["up", name, verb], payloads[chunk.parts[0].kind]
            else:
                levels, payload = ["up", name, verb], rest
            ingest.handle(DEVICE, levels, payload)
        ingest.settle()
        clock.sleep(1.0)
        count += 1
        if count % RESTART_EVERY == 0:
            row_log.reconcile(store, dataset, now_s=EPOCH_S)

    return run


def _take_in_seeds() -> tuple[bytes, ...]:
    def step(verb: str, payload: bytes = b"") -> bytes:
        return bytes((LEVELS.index(verb),)) + payload

    event, begin = RAW + _examples()[0], RAW + _examples()[3]
    return (
        joined([step("event", event)]),
        joined([step("begin", begin), step("0"), step("end"), step("end")]),
        joined([step("begin", begin), step("1000", b"x" * 50), step("ask"), step("begin", begin), step("end")]),
        joined([step("event", b"\x40" + bytes(9)), step("begin", b"\x41" + bytes(9))]),
    )


def _containers() -> Run:
    """A container at a server with its real database is refused, or merged as what it says; nothing of it is left."""
    home = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    store, dataset = open_store(home), Dataset(home / "dataset")
    ingest = Ingest(home / "incoming", Merge(store, dataset, clock), counts=DailyCounts(clock), settings=NO_FLOOR)
    name = f"{_chunk()[0].chunk_id}.{messages.CONTAINER}"

    def run(data: bytes) -> None:
        replies = [*ingest.handle(DEVICE, ["up", name, "0"], data), *ingest.settle()]
        states = {messages.decode(Ack, payload).state for _, payload in replies}
        assert states <= ({"merged", "refused"} if container.is_complete(data) else {"unknown", "merged"})
        assert not [path for path in (home / "incoming").rglob("*") if path.is_file()]
        clock.sleep(1.0)

    return run


def _container_seeds() -> tuple[bytes, ...]:
    chunk, payloads = _chunk()
    envelope = messages.encode(Envelope("chunk", chunk.chunk_id, messages.to_dict(chunk)))
    contents_of = [payloads[part.kind] for part in chunk.parts]
    return tuple(
        container.make_head(envelope, count) + b"".join(contents_of[:count]) for count in range(1, len(contents_of) + 1)
    )


def _server_link() -> Run:
    link = ServerLink(BrokerSession("127.0.0.1", 1), Ports(lambda device, levels, payload: []))
    examples = [_examples()[KINDS.index(Status)]]

    class Message:
        mid, qos, session = 1, 0, 0

        def __init__(self, topic: str, payload: bytes) -> None:
            self.topic, self.payload = topic, payload

    def run(data: bytes) -> None:
        tail, _, payload = data.partition(b"\n")
        topic = f"wc/v1/{tail.decode('utf-8', 'replace')}" if tail else topics.status(DEVICE)
        link.on_message(Message(topic, shaped(payload, examples)))  # type: ignore[arg-type]  # all it reads of one

    return run


def _wants() -> Run:
    home = scratch() / "home"
    make_bundle(home.parent / "made", "m1", contents(MODEL))
    registry = Registry(home)
    registry.add(home.parent / "made")
    push = Offers(registry, clock=ManualClock(epoch_s=EPOCH_S))
    digest = hashlib.sha256(contents(MODEL)["golden/000.jpg"]).hexdigest()
    examples = [messages.encode(Want(digest, ((0, 500),))), messages.encode(Want(digest, ((0, 700),), 1024))]

    def run(data: bytes) -> None:
        for topic, payload in push.blocks.handle(DEVICE, ["up", "want"], shaped(data, examples)):
            assert topics.levels(topic)
            assert len(payload) <= 256 * 1024

    return run


def _answers() -> Run:
    """Acknowledgements at a device that is sending."""
    folder = scratch()
    item = OutboxItem("pi-1-b1-000001", "frame", folder / "x", 200_000, "0" * 64, False, True, (0, 0, 0, 0))
    letter = replace(item, kind="record", size_bytes=900)
    began, _ = uploads.step(Uploads(), Online(65536), 0.0)
    began, _ = uploads.step(began, Claimed((item, letter)), 0.0)
    examples = [messages.encode(Ack("receiving", ((0, 65536),), answers=answers)) for answers in ("", "ask", "end")]
    examples += [messages.encode(Ack(state)) for state in ("merged", "refused", "unknown", "paused")]

    def run(data: bytes) -> None:
        state, now_s = began, 0.0
        for one in several(data):
            try:
                ack = messages.decode(Ack, shaped(one, examples))
                Ranges.of(ack.ranges)
            except MessageError:
                continue
            now_s += 1.0
            for name in (item.name, letter.name):
                state, actions = uploads.step(state, Answered(name, ack), now_s)
                assert len(actions) < 100

    return run


def _device_link() -> Run:
    box = Outbox(scratch() / "outbox")
    link = Link(LinkSettings("127.0.0.1", 1, DEVICE), LinkPorts(box, ManualClock(epoch_s=EPOCH_S)))
    link.on("offer", lambda levels, payload: None)
    atexit.register(box.close)
    atexit.register(link.stop)

    def run(data: bytes) -> None:
        tail, _, payload = data.partition(b"\n")
        link.on_message(f"wc/v1/{DEVICE}/down/{tail.decode('utf-8', 'replace')}", payload)
        link.delivery.answers.clear()

    return run


def _updates() -> Run:
    """Offers and blocks at an updater, and what it makes of them on its disk."""
    folder = scratch()
    files = contents(MODEL)
    manifest = make_bundle(folder / "made", "m1", files)
    data_of = {hashlib.sha256(value).hexdigest(): value for value in files.values()}
    manifest_bytes = bundle.manifest_bytes(manifest)
    digest = hashlib.sha256(manifest_bytes).hexdigest()
    examples = [messages.encode(Offer("m1", digest, len(manifest_bytes), EPOCH_S, 1))]
    hashes = (digest, *data_of)

    def run(data: bytes) -> None:
        ports = UpdaterPorts(
            clock=ManualClock(epoch_s=EPOCH_S),
            publish=lambda topic, payload: True,
            selftest=lambda _: [],
            use_model=lambda _, __: None,
        )
        permission = Permission(bundle.FOR_JUDGING, device=DEVICE)
        updater = Updater(emptied(folder / "state"), ports, permission, settings=Settings(margin_bytes=0))
        try:
            for one in several(data, most=6):
                if one[:1] == b"o":
                    updater.on_offer(shaped(one[1:], examples))
                elif one[:1] == b"m":
                    updater.on_block(["block", digest, "0"], manifest_bytes)
                else:
                    sha256 = hashes[one[0] % len(hashes)] if one else ""
                    updater.on_block(["block", sha256, str(int.from_bytes(one[1:4], "big"))], one[4:])
                updater.tick()
        finally:
            updater.close()

    return run


def _manifests() -> Run:
    folder = scratch()
    manifest = make_bundle(folder / "made", "m1", contents(MODEL))
    examples = [bundle.manifest_bytes(manifest)]

    def run(data: bytes) -> None:
        head, _, tail = data.partition(b"\n\n")
        try:
            found = bundle.parse_manifest(shaped(head, examples))
            blocks.parse(found, tail)
        except WaycueError:
            return

    return run


def _enrolment() -> Run:
    key = claim_code.key_of("0000-0000-0000-0000")
    request = EnrolRequest(DEVICE, "-----BEGIN", enrolment.proof(key, DEVICE, "-----BEGIN", "00"))
    answer = EnrolAnswer("-----BEGIN", "-----BEGIN", "127.0.0.1:8883", "{}")
    kinds: tuple[type[EnrolRequest | EnrolAnswer], ...] = (EnrolRequest, EnrolAnswer)
    examples = [enrolment.encode(request), enrolment.encode(answer)]

    def run(data: bytes) -> None:
        which = data[0] % 4 if data else 0
        try:
            if which < 2:
                found = enrolment.decode(kinds[which], shaped(data[1:], [examples[which]]))
                enrolment.encode(found)
                enrolment.answer_mac(key, "x", data)
            elif which == 2:
                setup_code.parse(data[1:].decode("utf-8", "surrogateescape"))
            else:
                claim_code.key_of(data[1:].decode("utf-8", "surrogateescape"))
        except (MessageError, ConfigError):
            return

    return run


def _typed(examples: list[bytes]) -> tuple[bytes, ...]:
    """Seeds: each example raw, and each with an edit."""
    return tuple(RAW + one for one in examples) + tuple(bytes((64 + at, 0, 0, 9)) for at in range(len(examples)))


TARGETS = (
    Target("messages", _read_messages, tuple(bytes((at,)) + RAW + one for at, one in enumerate(_examples()))
           + tuple(bytes((at, 64, 3, 0, 20)) for at in range(len(KINDS)))),
    Target("topics", _topics, (b"wc/v1/pi-1/up/x.frame/0", b"up/event", b"0012", b"down/offer")),
    Target("ingest", _take_in, _take_in_seeds()),
    Target("containers", _containers, _container_seeds()),
    Target("server link", _server_link, (b"pi-1/status\n" + RAW + _examples()[7], b"\n\x40\x01\x00\x05", b"pi-1/up/x")),
    Target("wants", _wants, (b"\x40", b"\x41", b"\x40\x01\x00\x1f", b"\x00{}", DEEP)),
    Target("answers", _answers, (joined([b"\x40", b"\x41", b"\x42"]), joined([b"\x45"]), joined([b"\x43", b"\x44"]))),
    Target("device link", _device_link, (b"x/ack\n" + _examples()[4], b"offer\n{}", b"block/00/0\nxx", b"\n")),
    Target("updates", _updates, (joined([b"o\x40", b"m", b"\x01\x00\x00\x00abc"]), joined([b"o\x40\x03\x00\x10"]))),
    Target("manifests", _manifests, (b"\x40", b"\x40\x05\x00\x10", b"\x40\x09\x02\x00\n\nxx", DEEP)),
    Target("enrolment", _enrolment, (b"\x00\x40", b"\x01\x40", b"\x02waycue:enrol?server=a:1&device=pi-1&code=0000",
                                     b"\x030000-0000-0000-0000", b"\x00" + DEEP, b"\x01" + DEEP)),
)  # fmt: skip
