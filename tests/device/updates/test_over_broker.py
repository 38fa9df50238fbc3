"""The whole way: registry, push and server link; a real Mosquitto; device link and updater, each on its own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from device.updates.permission import Permission
from device.updates.state import Settings
from device.updates.updater import Updater, UpdaterPorts, current_slot
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from shared import bundle, messages, topics
from shared.clock import SystemClock
from shared.messages import Want
from tests.device.updates.house import DEVICE, Server, no_problems
from tests.shared.bundle.bundles import contents

SIZES = {
    "vision_encoder.onnx": 4_000_000,
    "decoder_model_merged.onnx": 1_900_000,
    "tokenizer.json": 100_000,
    "golden/000.jpg": 20_000,
    "golden/001.jpg": 20_000,
}
SETTINGS = Settings(margin_bytes=1_000_000, probation_looks=3, ask_again_s=2.0)
DEADLINE_S = 60.0


class Agent:
    """A device's link and updater as the agent runs them. cut_after: bytes after which no more blocks arrive."""

    def __init__(self, state_dir: Path, broker: BrokerChild, *, cut_after: int = 2**60) -> None:
        self.cut_after = cut_after
        self.state_dir = state_dir
        self.changed = threading.Condition()
        self.carried = 0
        self.loaded: list[str] = []
        self.online = threading.Event()
        self._stop = threading.Event()
        self._outbox = Outbox(state_dir / "outbox")
        ports = LinkPorts(self._outbox, SystemClock(), self._link_changed, lambda: 0.1)
        self.link = Link(LinkSettings(broker.host, broker.port, DEVICE), ports)
        updater_ports = UpdaterPorts(
            clock=SystemClock(), publish=self.link.publish, selftest=no_problems, use_model=self._activated
        )
        permission = Permission(bundle.FOR_JUDGING, device=DEVICE)
        self.updater = Updater(state_dir, updater_ports, permission, settings=SETTINGS)
        self.link.on("offer", lambda levels, payload: self.updater.on_offer(payload))
        self.link.on("block", self._block)
        self._thread = threading.Thread(target=self.updater.run, args=(self._stop,), name="updates")

    def start(self) -> Agent:
        self.updater.start()
        self._thread.start()
        self.link.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        self.link.stop()
        self.updater.close()
        self._outbox.close()

    def _block(self, levels: list[str], payload: bytes) -> None:
        if self.carried < self.cut_after:
            self.updater.on_block(levels, payload)
        with self.changed:
            self.carried += len(payload)
            self.changed.notify_all()

    def _link_changed(self, text: str) -> None:
        self.updater.link_changed(text == "online")
        if text == "online":
            self.online.set()

    def _activated(self, folder: Path, version: str) -> None:
        with self.changed:
            self.loaded.append(version)
            self.changed.notify_all()

    def wait(self, until: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(until, DEADLINE_S), self.updater.state_text()

    def prove(self) -> None:
        idle = threading.Event()
        for _ in range(1000):
            if self.updater.phase == "idle":
                return
            self.updater.report_look_ok()
            idle.wait(0.02)  # as a guidance loop would pace it
        raise AssertionError(self.updater.state_text())

    @property
    def current(self) -> str:
        folder = current_slot(self.state_dir)
        return "" if folder is None else bundle.verify(folder).version


@pytest.fixture
def server_link(server: Server, broker: BrokerChild) -> Iterator[ServerLink]:
    link = ServerLink(
        BrokerSession(broker.host, broker.port), Ports(lambda *_: [], {"want": server.push.blocks.handle})
    )
    link.start()
    assert link.ready.wait(DEADLINE_S)
    yield link
    link.stop()


def offer(server: Server, link: ServerLink, version: str, files: Mapping[str, bytes]) -> bundle.Manifest:
    manifest = server.register(version, files)
    topic, payload = server.push.make(DEVICE, version)
    link.publish(topic, payload, retain=True)
    return manifest


def test_a_model_cut_off_five_times_arrives_whole_and_the_next_one_only_where_it_differs(
    server: Server, server_link: ServerLink, broker: BrokerChild, tmp_path: Path
) -> None:
    manifest = offer(server, server_link, "m1", contents(SIZES))
    size = manifest.size_bytes + len(bundle.manifest_bytes(manifest))
    for _ in range(5):
        agent = Agent(tmp_path / "state", broker, cut_after=size // 8).start()
        agent.wait(lambda agent=agent: agent.carried >= size // 8)  # type: ignore[misc]
        agent.stop()
        assert agent.current == ""
    agent = Agent(tmp_path / "state", broker).start()
    agent.wait(lambda: agent.loaded == ["m1"])
    agent.prove()
    assert agent.current == "m1"
    assert server.push.blocks.counters["bytes"] <= size + 5 * SETTINGS.window_bytes
    before = server.push.blocks.counters["bytes"]
    second = offer(server, server_link, "m2", contents(SIZES) | {"decoder_model_merged.onnx": b"retrained" * 10_000})
    agent.wait(lambda: agent.loaded == ["m1", "m2"])
    agent.prove()
    agent.stop()
    assert agent.current == "m2"
    listed = second.entry(bundle.BLOCKS_NAME)
    assert listed is not None
    assert (
        server.push.blocks.counters["bytes"] - before == 90_000 + len(bundle.manifest_bytes(second)) + listed.size_bytes
    )


def test_a_broker_that_is_killed_in_the_middle_costs_a_window(
    server: Server, server_link: ServerLink, broker: BrokerChild, tmp_path: Path
) -> None:
    manifest = offer(server, server_link, "m1", contents(SIZES))
    agent = Agent(tmp_path / "state", broker).start()
    agent.wait(lambda: agent.carried >= 2_000_000)
    broker.kill()
    broker.start()  # it has forgotten the retained offer and every session
    agent.wait(lambda: agent.loaded == ["m1"])
    agent.stop()
    assert agent.current == "m1"
    size = manifest.size_bytes + len(bundle.manifest_bytes(manifest))
    assert server.push.blocks.counters["bytes"] <= size + 2 * SETTINGS.window_bytes


def test_messages_on_the_update_topics_that_are_not_ours_harm_nobody(
    server: Server, server_link: ServerLink, broker: BrokerChild, tmp_path: Path
) -> None:
    manifest = server.register("m1", contents(SIZES))
    agent = Agent(tmp_path / "state", broker).start()
    assert agent.online.wait(DEADLINE_S)
    wrong = manifest.files[0].sha256
    for topic, payload in (
        (topics.offer(DEVICE), b"\xff not json"),
        (topics.offer(DEVICE), b"[" * 5000),
        (topics.block(DEVICE, wrong, 0), b"x" * 70_000),
        (f"wc/v1/{DEVICE}/down/block/../{2**70}", b"x"),
        (f"wc/v1/{DEVICE}/down/block", b""),
        (topics.want(DEVICE), b"\x00" * 100),
        (topics.want(DEVICE), messages.encode(Want("0" * 64, ((0, 10),)))),
        (topics.want(DEVICE), messages.encode(Want(wrong, ((10, 5),)))),
    ):
        assert server_link.publish(topic, payload)
    topic, payload = server.push.make(DEVICE, "m1")
    server_link.publish(topic, payload, retain=True)
    agent.wait(lambda: agent.loaded == ["m1"])
    agent.stop()
    assert agent.current == "m1"
    assert agent.updater.counters["refused"] == 4
    assert (server.push.blocks.counters["malformed"], server.push.blocks.counters["unknown"]) == (2, 1)
    assert server_link.counters["handler_errors"] == 0
