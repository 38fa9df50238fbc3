"""Device and server over a real Mosquitto: what is sealed is merged once, whatever dies on the way.

Over 500 lines because the two real sides at the top serve every way of dying below them.
"""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.outbox.outbox import Outbox
from device.sync.connection import MAX_UNACKED
from device.sync.uploads import SMALL
from server.broker.child import BrokerChild, free_port
from server.broker.link import BrokerSession, Ports, ServerLink
from shared import messages, topics
from shared.messages import Ack, Offer, Status
from shared.topics import Reply
from tests.device.outbox.records import DEVICE, chunk, payloads
from tests.link.parties import DEADLINE_S, MakeLink, Server, check, device_child, seal, until

# the normal day


def test_chunks_and_a_correction_are_merged_and_leave_the_device(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 20, clip_bytes=100_000)
    size = box.counts().queued_bytes
    with Server(broker, memory_path):
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        link.stop()
        check(memory_path, box, expected, 21)
        assert (link.sent_bytes, link.resent_bytes) == (size, 0)
        assert [p.name for p in box.folder.iterdir() if p.is_dir()] == ["failed"]


def test_what_is_sealed_while_online_goes_out_at_once(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    with Server(broker, memory_path):
        link = make_link()
        link.start()
        until(lambda: link.online)
        expected = seal(box, 2)
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 3)


def test_two_devices_do_not_disturb_each_other(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    other = Outbox(memory_path / "outbox-2")
    expected = seal(box, 5, clip_bytes=20_000) | seal(other, 5, clip_bytes=20_000, device="pi-2")
    with Server(broker, memory_path) as server:
        links = [make_link(), make_link(device="pi-2", outbox=other)]
        for link in links:
            link.start()
        assert all(link.wait_idle(DEADLINE_S) for link in links)
        assert {key: value for key, value in server.depot.entries.items() if "." in key} == expected
        for link in links:
            link.stop()
    other.close()


def test_little_is_held_in_memory_while_much_waits(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    seal(box, 10, clip_bytes=400_000)
    link = make_link()
    most = 0

    def look(_key: str) -> None:
        nonlocal most
        most = max(most, link.unacked, len(link.delivery.outgoing))

    with Server(broker, memory_path, on_part=look):
        link.start()
        assert link.wait_idle(DEADLINE_S)
    assert 0 < most <= MAX_UNACKED + SMALL


# status, offers and other messages


def test_status_is_retained_and_says_offline_after_a_stop(
    broker: BrokerChild, memory_path: Path, make_link: MakeLink
) -> None:
    link = make_link(status=Status(online=True, agent_version="1"))
    link.start()
    until(lambda: link.online)
    link.set_status(Status(online=True, agent_version="2", backlog=7))
    with Server(broker, memory_path) as server:
        until(lambda: [s.backlog for _, s in server.statuses][-1:] == [7])
        assert server.online_of(DEVICE) is True
        link.stop()
        until(lambda: server.online_of(DEVICE) is False)
        assert server.statuses[-1][1].agent_version == "2"


def test_the_last_will_speaks_for_a_device_that_died(broker: BrokerChild, memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    seal(box, 1)
    box.close()
    server = Server(broker, memory_path)
    server.handle = lambda *_: []  # it never answers, so that the device stays
    with server:
        child = device_child(broker, memory_path / "outbox")
        until(lambda: server.online_of(DEVICE) is True)
        child.kill()
        child.wait()
        until(lambda: server.online_of(DEVICE) is False)


def test_offers_reach_their_handler_also_when_published_before_it_connects(
    broker: BrokerChild, memory_path: Path, make_link: MakeLink
) -> None:
    offer = messages.encode(Offer("v2", "0" * 64, 100, 1.0))
    heard: list[tuple[list[str], bytes]] = []
    came = threading.Event()

    def handler(levels: list[str], payload: bytes) -> None:
        heard.append((levels, payload))
        came.set()
        raise RuntimeError("a handler with a bug")

    with Server(broker, memory_path) as server:
        assert server.link.publish(topics.offer(DEVICE), offer, retain=True)
        link = make_link()
        link.on("offer", handler)
        link.start()
        assert came.wait(DEADLINE_S)
        assert heard == [(["offer"], offer)]
        until(lambda: link.counters["handler_errors"] == 1)
        assert link.online


def test_retained_offers_are_given_again_to_a_broker_that_forgot(
    broker: BrokerChild, memory_path: Path, make_link: MakeLink
) -> None:
    with Server(broker, memory_path) as server:
        server.link.publish(topics.offer(DEVICE), b"the offer", retain=True)
        broker.kill()
        broker.start()
        heard = threading.Event()
        link = make_link()
        link.on("offer", lambda _levels, payload: heard.set() if payload == b"the offer" else None)
        link.start()
        assert heard.wait(DEADLINE_S)


def test_a_device_can_publish_and_the_matching_handler_answers(
    broker: BrokerChild, memory_path: Path, make_link: MakeLink
) -> None:
    got = threading.Event()

    def wants(device: str, levels: list[str], payload: bytes) -> list[Reply]:
        assert (device, levels) == (DEVICE, ["up", "want"])
        return [(topics.block(device, "a" * 64, 5), payload * 2)]

    server = ServerLink(BrokerSession(broker.host, broker.port), Ports(lambda *_: [], {"want": wants}))
    server.start()
    assert server.ready.wait(DEADLINE_S)
    link = make_link()
    link.on("block", lambda levels, payload: got.set() if (levels[2], payload) == ("5", b"xyxy") else None)
    assert not link.publish(topics.want(DEVICE), b"xy")  # offline: not kept
    link.start()
    until(lambda: link.online)
    assert link.publish(topics.want(DEVICE), b"xy")
    assert got.wait(DEADLINE_S)
    server.stop()


# answers that get lost, and refusals


def _lose_answers(server: Server, lost: list[str], patch: pytest.MonkeyPatch) -> None:
    """The first `merged` about each thing never arrives."""
    take_in, begin, finish = server.ingest.handle, server.ingest.begin, server.ingest.finish

    def kept(replies: list[Reply]) -> list[Reply]:
        left = []
        for topic, answer in replies:
            if messages.decode(Ack, answer).state == "merged" and topic not in lost:
                lost.append(topic)
            else:
                left.append((topic, answer))
        return left

    server.handle = lambda *message: kept(take_in(*message))
    patch.setattr(server.ingest, "begin", lambda: kept(begin()))
    patch.setattr(server.ingest, "finish", lambda: kept(finish()))


def test_a_lost_answer_means_that_it_is_asked_for_and_merged_once(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = seal(box, 3, clip_bytes=100_000)
    lost: list[str] = []
    server = Server(broker, memory_path)
    _lose_answers(server, lost, monkeypatch)
    with server:
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        assert len(lost) == len(expected) + 4
        check(memory_path, box, expected, 4)
        assert link.resent_bytes < 4 * 2000  # the records; of the files not a byte, the server says that it has them
        assert server.ingest.counters["repeated"] == len(expected) + 4


def test_what_the_server_refuses_is_kept_with_its_reason_and_not_sent_again(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    box.seal_chunk(chunk(1), payloads(1))
    foreign = box.seal_chunk(replace(chunk(2), device="pi-9"), payloads(2)).chunk_id
    with Server(broker, memory_path) as server:
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        assert [(f.record_id, "pi-9" in f.reason) for f in box.failures()] == [(foreign, True)]
        assert (box.counts().failed, box.counts().merged) == (1, 1)
        assert server.ingest.counters["refused"] >= 1


def test_the_same_id_with_other_content_is_refused(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    other = Outbox(memory_path / "cloned-card")
    box.seal_chunk(chunk(1), payloads(1))
    other.seal_chunk(chunk(1), payloads(7))
    with Server(broker, memory_path) as server:
        for outbox in (box, other):
            link = make_link(outbox=outbox)
            link.start()
            assert link.wait_idle(DEADLINE_S)
            link.stop()
        assert other.counts().failed == 1
        assert "already used" in other.failures()[0].reason
        assert server.depot.quarantined
        assert server.depot.entries[f"{DEVICE}/{chunk(1).chunk_id}.frame"] == sha256(payloads(1)["frame"]).hexdigest()
    other.close()


# brokers that are not there, small, or mute


def test_without_a_broker_everything_waits_and_goes_out_when_it_comes(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    broker.stop()
    states: list[str] = []
    link = make_link(on_state=states.append)
    link.start()
    until(lambda: bool(states))
    assert states[0].startswith("offline: the broker")
    expected = seal(box, 2)
    assert not link.wait_idle(0.2)
    broker.start()
    with Server(broker, memory_path):
        assert link.wait_idle(DEADLINE_S)
    check(memory_path, box, expected, 3)
    assert states[1] == "online"


def test_small_packets_make_small_parts(box: Outbox, memory_path: Path, make_link: MakeLink, tmp_path: Path) -> None:
    expected = seal(box, 3, clip_bytes=60_000)
    with BrokerChild(tmp_path / "small", options=["max_packet_size 5000"]) as small, Server(small, memory_path):
        link = make_link(port=small.port)
        link.start()
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 4)
        assert not link.publish(topics.want(DEVICE), bytes(5000))


def test_a_record_larger_than_the_brokers_packets_is_refused_by_name(
    box: Outbox, memory_path: Path, make_link: MakeLink, tmp_path: Path
) -> None:
    large = replace(chunk(1), context="x" * 3000)
    box.seal_chunk(large, payloads(1))
    box.seal_chunk(chunk(2), payloads(2))
    with BrokerChild(tmp_path / "small", options=["max_packet_size 3000"]) as small, Server(small, memory_path):
        link = make_link(port=small.port)
        link.start()
        assert link.wait_idle(DEADLINE_S)
        assert [(f.record_id, "3000 bytes" in f.reason) for f in box.failures()] == [(large.chunk_id, True)]
        assert box.counts().merged == 1


def test_a_broker_with_uselessly_small_packets_is_named(box: Outbox, make_link: MakeLink, tmp_path: Path) -> None:
    states: list[str] = []
    with BrokerChild(tmp_path / "tiny", options=["max_packet_size 400"]) as tiny:
        link = make_link(port=tiny.port, on_state=states.append)
        link.start()
        until(lambda: any("max_packet_size" in state for state in states))
        assert not link.online
        link.stop()


def test_a_broker_that_accepts_and_says_nothing_is_given_up_and_stop_does_not_hang(make_link: MakeLink) -> None:
    states: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        link = make_link(port=mute.getsockname()[1], on_state=states.append)
        link.start()
        until(lambda: any("does not answer" in state for state in states))
        link.stop()
        assert "device link" not in {thread.name for thread in threading.enumerate()}


def test_stop_before_start_and_twice_is_harmless(make_link: MakeLink) -> None:
    link = make_link(port=free_port())
    link.stop()
    link.stop()


def test_a_second_device_of_the_same_name_is_named_as_the_problem(
    broker: BrokerChild, memory_path: Path, make_link: MakeLink
) -> None:
    states: list[str] = []
    other = Outbox(memory_path / "outbox-2")
    links = [make_link(on_state=states.append), make_link(on_state=states.append, outbox=other)]
    for link in links:
        link.start()
    until(lambda: any("another device named pi-1" in state for state in states))
    links[1].stop()
    other.close()
    until(lambda: links[0].online)


# a disk that fails while answers come


def test_answers_that_cannot_be_written_down_are_kept_until_the_disk_lets_us(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = seal(box, 2)
    real = box.merged

    def full(_items: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(box, "merged", full)
    with Server(broker, memory_path):
        link = make_link()
        link.start()
        until(lambda: link.counters["disk_errors"] > 2)
        assert box.counts().merged == 0
        monkeypatch.setattr(box, "merged", real)
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 3)


# messages that are not ours


def test_garbage_on_our_topics_is_counted_and_the_work_goes_on(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    expected = seal(box, 5, clip_bytes=50_000)
    stranger = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="stranger", protocol=MQTTProtocolVersion.MQTTv5)
    stranger.connect(broker.host, broker.port)
    stranger.loop_start()
    names = [chunk(0).chunk_id, f"{chunk(0).chunk_id}.clip", "x", "ä ö", "a" * 200]
    with Server(broker, memory_path) as server:
        link = make_link()
        link.start()
        until(lambda: link.online)
        for device in (DEVICE, "pi-2", "UPPER", "x" * 60):
            for verb in ("begin", "gossip", "-5", "1e9", "0/1"):
                for name in names if verb == "0/1" else names[2:]:  # a named thing would be refused
                    stranger.publish(f"wc/v1/{device}/up/{name}/{verb}", b'{"record_id": 5', qos=1)
            stranger.publish(f"wc/v1/{device}/up/event", b"\xff\xfe", qos=1)
            stranger.publish(f"wc/v1/{device}/status", b"[]", qos=1)
            stranger.publish(f"wc/v1/{device}/down/{chunk(0).chunk_id}/ack", b"{}", qos=1)
            stranger.publish(f"wc/v1/{device}/down/gossip", b"", qos=1)
            last = stranger.publish(f"wc/v1/{device}/down/x/ack", b'{"state": "receiving", "ranges": [[9, 1]]}', qos=1)
        last.wait_for_publish(DEADLINE_S)
        assert link.wait_idle(DEADLINE_S)
        until(lambda: link.counters["foreign"] >= 3)
        assert server.ingest.counters["foreign"] + server.link.counters["foreign"] > 50
        assert server.link.counters["handler_errors"] == 0
        assert {key for key in server.depot.entries if "." in key} == set(expected)
    stranger.disconnect()
    stranger.loop_stop()


def test_a_handler_that_raises_does_not_stop_the_server(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 2)
    server = Server(broker, memory_path)
    healthy = server.ingest.handle
    fell: list[list[str]] = []

    def faulty(device: str, levels: list[str], payload: bytes) -> list[Reply]:
        if len(fell) < 3:
            fell.append(levels)
            raise RuntimeError("a bug")
        return healthy(device, levels, payload)

    server.handle = faulty
    with server:
        link = make_link()
        link.start()
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 3)
        assert server.link.counters["handler_errors"] == 3
