"""A real outbox and a real intake with everything but the network between them: whatever the network, the power and the
restarts do, every sealed record is merged exactly once, and little is sent twice."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.outbox.outbox import Outbox
from device.sync import uploads
from device.sync.outgoing import message_of
from device.sync.uploads import (
    Allow,
    Allowed,
    Answered,
    AskCredit,
    Claimed,
    Granted,
    ItemApart,
    ItemFailed,
    ItemMerged,
    ItemRefused,
    ItemReleased,
    SendMessage,
    Uploads,
    UploadsEvent,
)
from server.ingest.ingest import Ingest
from shared import credit, messages, topics
from shared.link_speed import LinkSpeed, paced_part_bytes, window_bytes, window_parts, wire_bytes
from shared.messages import PART_KINDS, Ack, CreditGrant, CreditWish, Envelope
from shared.transfer import Offline, Online, Ranges, SenderTick
from tests.device.outbox.records import DEVICE, chunk, correction, payloads, wav
from tests.link.depot import Depot

PART = 700
orderly = st.sampled_from(
    ["up", "up", "up", "up", "down", "down", "settle", "tick", "seal", "seal", "correct", "cut", "device restarts",
     "server restarts", "server busy", "slower", "allow all", "allow small", "allow none"]
)  # fmt: skip
chaos = st.one_of(
    orderly, st.sampled_from(["lose up", "lose down", "repeat up", "repeat down", "swap up", "swap down", "wait"])
)


class Wire:
    """One device, one server, and two queues of messages."""

    def __init__(self, folder: Path, *, queue: int | None = None, part: int = PART, containers: bool = False) -> None:
        """queue: how many messages the broker keeps, to a server that grants credit; None = it does not. containers:
        the device may send records and files as one."""
        self.folder = folder
        self.part = part
        self.containers = containers
        self.of_before = False
        """The server is one that knows no containers."""
        self.queue = queue
        self.knows_credit = True
        self.ingest = self.start_server()
        self.box = Outbox(folder / "outbox")
        self.state = Uploads()
        self.up: deque[tuple[str, bytes]] = deque()
        self.down: deque[tuple[str, bytes]] = deque()
        self.now_s = 0.0
        self.sealed: dict[str, bytes | None] = {}
        self.sent: dict[str, Ranges] = {}
        self.resent = 0
        self.most_flying_bytes = 0
        self.refused: list[str] = []
        self.busy = 0
        """So many messages are answered with `paused`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.box.close()

    def start_server(self) -> Ingest:
        self.depot = Depot(self.folder / "depot")
        ingest = Ingest(self.folder / "incoming", self.depot)
        ingest = ingest if self.queue is None else ingest.granting(self.queue)
        if self.of_before:
            ingest._kinds, ingest._replies.containers = PART_KINDS, False
        return ingest

    # the device

    def decide(self, event: UploadsEvent) -> None:
        before = replace(self.state, wire_bytes=self._on_wire())
        self.state, actions = uploads.step(before, event, self.now_s)
        for action in actions:
            match action:
                case SendMessage():
                    self._send(action)
                case ItemMerged(item=item):
                    self.box.merged([item])
                case ItemRefused(item=item, reason=reason):
                    self.refused.append(f"{item.name}: {reason}")
                    self.box.refused(item, reason)
                case ItemReleased(item=item):
                    self.box.release([item])
                case ItemApart(item=item):
                    self.box.apart(item)
                case AskCredit(wish=wish):
                    self.up.append((topics.credit(DEVICE), messages.encode(wish)))
        self.most_flying_bytes = max(self.most_flying_bytes, self.state.flying_bytes)
        self._keeps_its_bounds(before)

    def _on_wire(self) -> int:
        """Of files, on their way to the broker."""
        return sum(len(payload) for topic, payload in self.up if topic.rpartition("/")[2].isdigit())

    def _keeps_its_bounds(self, before: Uploads) -> None:
        paces = before.pace, self.state.pace
        sizes = [paced_part_bytes(pace, self.part) for pace in paces]
        bounds = [(window_bytes(*one), wire_bytes(*one)) for one in zip(paces, sizes, strict=True)]
        window, wire = (max(limits) for limits in zip(*bounds, strict=True))
        parts = window_parts(window)
        assert self.state.flying_bytes <= max(before.flying_bytes, window)
        assert self.state.flying_parts <= max(before.flying_parts, parts)
        assert self._on_wire() <= max(before.wire_bytes, wire)

    def _send(self, say: SendMessage) -> None:
        message = message_of(DEVICE, say)
        place = topics.levels(message.topic)
        assert place is not None
        offset = topics.parse_offset(place[1][-1])
        if offset is not None:
            before = self.sent.get(say.item.name, Ranges())
            after = before.add(offset, offset + len(message.payload))
            self.resent += len(message.payload) - (after.total - before.total)
            self.sent[say.item.name] = after
        self.up.append((message.topic, message.payload))

    def claim(self) -> None:
        small, bulk = self.state.wanted
        if self.containers and self.state.containers is not False:
            small = min(small, 1 - len(self.state.active)) if self.state.containers is None else small
            items = self.box.claim_whole(small, clips=self.state.allowed == "all")
        else:
            items = self.box.claim(small)
        items += self.box.claim(bulk, bulk=True) if len(items) < small else []
        if items:
            self.decide(Claimed(tuple(items)))

    def connect(self) -> None:
        self.decide(Online(self.part))
        self.claim()

    def seal(self, *, spoken: bool) -> None:
        number = len(self.sealed)
        if spoken:
            data = wav(number, 1500)
            record_id = self.box.seal_correction(correction(number), data).correction_id
            found = {"correction_audio": data}
        else:
            found = payloads(number, clip_bytes=9000)
            record_id = self.box.seal_chunk(chunk(number), found).chunk_id
        self.sealed[record_id] = None
        self.sealed.update({f"{record_id}.{kind}": data for kind, data in found.items()})
        self.claim()

    # what may happen

    def do(self, what: str, chance: random.Random) -> None:
        match what.split():
            case ["up"] if self.up:
                topic, payload = self.up.popleft()
                self.deliver(topic, payload)
            case ["down"] if self.down:
                self.hear(*self.down.popleft())
            case ["settle"]:
                self.down += self.ingest.settle()
            case ["tick"]:
                self.pass_time(0.1)
            case ["wait"]:
                self.pass_time(7.0)
            case ["seal"]:
                self.seal(spoken=False)
            case ["correct"]:
                self.seal(spoken=True)
            case ["cut"]:
                self.cut(arrives=chance.randint(0, len(self.up)))
                self.connect()
            case ["device", "restarts"]:
                self.cut(arrives=chance.randint(0, len(self.up)))
                self.box.close()
                self.box = Outbox(self.folder / "outbox")
                self.state = Uploads()
                self.connect()
            case ["server", "restarts"]:
                self.ingest.close()
                self.ingest = self.start_server()
            case ["server", "changes"]:
                self.of_before = not self.of_before
                self.do("server restarts", chance)
            case ["server", "busy"]:
                self.busy = 3
            case ["slower"]:
                self.state = replace(self.state, pace=LinkSpeed(chance.choice([100.0, 300.0, 500.0, 1e6])))
            case ["allow", "all" | "small" | "none" as allowed]:
                self.allow(allowed)
            case [how, where]:
                self.disturb(how, self.up if where == "up" else self.down, chance)

    def allow(self, allowed: Allowed) -> None:
        self.decide(Allow(allowed))
        silent = [u.item.name for u in self.state.active if not self.state.may(u.item)]
        before = len(self.up)
        self.pass_time(400.0)
        self.claim()
        said = {topic.split("/")[4] for topic, _ in list(self.up)[before:]}
        said.discard("credit")
        assert not said & {*silent, *([] if allowed == "all" else ["event"] if allowed == "none" else [])}

    def deliver(self, topic: str, payload: bytes) -> None:
        place = topics.levels(topic)
        assert place is not None
        if self.busy and place[1] != ["up", "credit"]:
            self.busy -= 1
            name = messages.decode(Envelope, payload).record_id if place[1][1] == "event" else place[1][1]
            told = self.ingest._replies.reply(DEVICE, name, Ack("paused", reason="busy"))
            self.down.append(told)
            return
        self.down += self.ingest.handle(place[0], place[1], payload)

    def hear(self, topic: str, payload: bytes) -> None:
        place = topics.levels(topic)
        assert place is not None
        if place[1] == ["down", "credit"]:
            self.decide(Granted(messages.decode(CreditGrant, payload)))
        else:
            ack = messages.decode(Ack, payload)
            self.decide(Answered(place[1][1], replace(ack, grants=ack.grants and self.knows_credit)))
        self.claim()

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.decide(SenderTick())

    def cut(self, *, arrives: int) -> None:
        """The first `arrives` messages had reached the broker; their answers find nobody."""
        for topic, payload in list(self.up)[:arrives]:
            self.deliver(topic, payload)
        self.ingest.settle()
        self.up.clear()
        self.down.clear()
        self.decide(Offline())

    def disturb(self, how: str, where: deque[tuple[str, bytes]], chance: random.Random) -> None:
        if not where:
            return
        at = chance.randrange(len(where))
        message = where[at]
        if how in ("lose", "swap"):
            del where[at]
        if how in ("repeat", "swap"):
            where.insert(chance.randint(0, len(where)), message)

    def finish(self) -> None:
        """Nothing goes wrong any more."""
        self.busy = 0
        self.decide(Allow("all"))
        self.claim()
        for _ in range(1000):  # with credit for one message at a time each takes a round trip
            while self.up:
                self.do("up", random.Random(0))
            self.do("settle", random.Random(0))
            while self.down:
                self.do("down", random.Random(0))
            if not self.state.active and not self.up:
                return
            self.pass_time(0.1 if self.up else 31.0)
        raise AssertionError(f"not finished: {self.state}")

    def check(self) -> None:
        depot = Depot(self.folder / "depot")
        assert set(depot.entries) == {f"{DEVICE}/{name}" for name in self.sealed}
        for name, data in self.sealed.items():
            if data is not None:
                assert depot.entries[f"{DEVICE}/{name}"] == sha256(data).hexdigest()
        assert self.refused == depot.quarantined == []
        assert self.box.counts().queued == self.box.counts().failed == 0
        self.box.forget_merged()
        assert [p.name for p in self.box.folder.iterdir() if p.is_dir()] == ["failed"]
        assert [p for p in (self.folder / "incoming").rglob("*") if p.is_file()] == []


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(orderly, max_size=60), st.randoms(use_true_random=False))
def test_cuts_and_restarts_lose_nothing_and_resend_at_most_a_window_each(
    memory_path: Path, story: list[str], chance: random.Random
) -> None:
    with Wire(Path(mkdtemp(dir=memory_path))) as world:
        world.connect()
        for what in story:
            world.do(what, chance)
        world.finish()
        world.check()
    faults = sum(story.count(what) for what in ("cut", "device restarts", "server restarts", "server busy"))
    assert world.resent <= faults * world.most_flying_bytes


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(chaos, max_size=80), st.randoms(use_true_random=False))
def test_loss_repeats_and_reordering_lose_nothing_either(
    memory_path: Path, story: list[str], chance: random.Random
) -> None:
    with Wire(Path(mkdtemp(dir=memory_path))) as world:
        world.connect()
        for what in story:
            world.do(what, chance)
        world.finish()
        world.check()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(chaos, max_size=80), st.integers(1, 60), st.randoms(use_true_random=False))
def test_a_server_that_grants_credit_loses_nothing_whatever_is_lost_on_the_way(
    memory_path: Path, story: list[str], queue: int, chance: random.Random
) -> None:
    with Wire(Path(mkdtemp(dir=memory_path)), queue=queue) as world:
        world.connect()
        for what in story:
            world.do(what, chance)
        world.finish()
        world.check()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(chaos, st.just("server changes")), max_size=80),
    st.sampled_from([PART, 24_000]),
    st.randoms(use_true_random=False),
)
def test_containers_lose_nothing_whatever_happens_and_whatever_the_server_knows(
    memory_path: Path, story: list[str], part: int, chance: random.Random
) -> None:
    with Wire(Path(mkdtemp(dir=memory_path)), queue=1000, part=part, containers=True) as world:
        world.connect()
        for what in story:
            world.do(what, chance)
        world.finish()
        world.check()


@pytest.mark.parametrize(("part", "in_messages"), [(PART, 28), (24_000, 1)])
def test_a_chunk_is_one_transfer_and_where_it_fits_one_message(memory_path: Path, part: int, in_messages: int) -> None:
    with Wire(memory_path, queue=1000, part=part, containers=True) as world:
        for _ in range(6):
            world.seal(spoken=False)
        names = {f"{name}.container" for name, data in world.sealed.items() if data is None}
        world.connect()
        assert [topic.rpartition("/")[2] for topic, _ in world.up] == ["begin"]  # with all the credit that there is
        seen = set[str]()
        while world.state.active:
            seen |= {topic for topic, _ in world.up if not topic.endswith("/credit")}
            world.do("up" if world.up else "settle", random.Random(0))
            world.do("down", random.Random(0))
            world.pass_time(0.01)
        world.check()
        counts = Counter(topic.split("/")[4] for topic in seen)
        assert set(counts) == names
        assert sorted(counts.values())[:5] == [in_messages] * 5  # the first was begun as a question
        assert world.resent == 0


def test_a_device_with_much_to_send_keeps_to_what_was_granted(memory_path: Path) -> None:
    with Wire(memory_path, queue=40) as world:
        for _ in range(6):
            world.seal(spoken=False)
        world.connect()
        assert len(world.up) == 1  # its answer tells whether the server grants
        while world.state.active:
            world.do("up" if world.up else "settle", random.Random(0))
            world.do("down", random.Random(0))
            ledger = world.ingest.credit
            assert ledger is not None
            assert ledger.held <= ledger.capacity <= 40
            credited = [topic for topic, _ in world.up if not topic.endswith("/credit")]
            assert len(credited) + world.state.purse.available(world.now_s) <= max(1, ledger.held)
            world.pass_time(0.01)
        world.check()
        assert world.resent == 0


def test_a_device_of_before_sends_as_ever_to_a_server_that_grants(memory_path: Path) -> None:
    with Wire(memory_path, queue=40) as world:
        world.knows_credit = False
        for _ in range(3):
            world.seal(spoken=False)
        world.connect()
        world.finish()
        world.check()
        assert world.resent == 0
        ledger = world.ingest.credit
        assert ledger is not None
        assert ledger.capacity == 40 - credit.GREETINGS - credit.OLD_UNITS  # it is left room


def test_many_records_share_one_window_and_go_in_order(memory_path: Path) -> None:
    with Wire(memory_path) as world:
        for _ in range(20):
            world.seal(spoken=False)
        world.seal(spoken=True)
        world.do("device restarts", random.Random(0))
        assert b'"correction"' in world.up[0][1]  # sealed last, sent first
        assert world.state.wanted == (0, uploads.BULK)
        world.finish()
        world.check()
        assert world.resent == 0


def test_a_refused_record_takes_its_files_out_of_the_uploads(memory_path: Path) -> None:
    with Wire(memory_path) as world:
        world.connect()
        world.seal(spoken=False)
        record_id = chunk(0).chunk_id
        assert len(world.state.active) == 4
        world.decide(Answered(record_id, Ack("refused", reason="not welcome")))
        assert [upload.item.name for upload in world.state.active] == []
        assert world.box.counts().failed == 1
        assert world.refused == [f"{record_id}: not welcome"]


def test_a_file_that_cannot_be_read_is_given_up_alone(memory_path: Path) -> None:
    with Wire(memory_path) as world:
        world.connect()
        world.seal(spoken=False)
        world.decide(ItemFailed(f"{chunk(0).chunk_id}.clip", "it cannot be read on the device"))
        world.finish()
        assert [failure.reason for failure in world.box.failures()] == ["clip: it cannot be read on the device"]
        assert len(world.depot.entries) == 3


def test_a_wish_is_granted_at_once_and_not_with_the_next_settlement(memory_path: Path) -> None:
    with Wire(memory_path, queue=4000) as world:
        wish = messages.encode(CreditWish(11))
        ((topic, payload),) = world.ingest.handle(DEVICE, ["up", "credit"], wish)
        assert topic == topics.grant(DEVICE)
        assert messages.decode(CreditGrant, payload) == CreditGrant(11, 1, standing=credit.MOST_STANDING)
        assert messages.to_dict(CreditGrant(11, 1)) == {"units": 11, "number": 1}  # as before, where there is none


def test_a_quiet_device_that_was_told_of_its_standing_credit_asks_no_more(memory_path: Path) -> None:
    with Wire(memory_path, queue=4000) as world:
        world.seal(spoken=False)
        world.decide(Online(64 * 1024))
        world.claim()
        world.finish()
        for _ in range(3):
            world.pass_time(60.0)
            world.seal(spoken=False)
            world.do("tick", random.Random(0))
            assert [topic for topic, _ in world.up if topic.endswith("/credit")] == []
            assert len(world.up) > 3  # all at once
            world.finish()
        world.check()
        ledger = world.ingest.credit
        assert ledger is not None
        assert ledger.capacity == credit.GRANTED_UNITS
        assert world.resent == 0


def test_a_device_that_is_told_of_another_process_asks_it_at_once(memory_path: Path) -> None:
    with Wire(memory_path, queue=4000) as world:
        world.seal(spoken=False)
        world.connect()
        world.do("up", random.Random(0))  # the first message: the first process has it, and dies
        world.ingest = world.start_server()
        anew = messages.encode(CreditGrant(0, credit.FRESH, anew=True))
        world.hear(topics.grant(DEVICE), anew)
        assert [topic for topic, _ in world.up if topic.endswith("/credit")]
        started_s = world.now_s
        world.finish()
        world.check()
        assert world.now_s - started_s < 1.0  # no patience had to end
