"""The whole way as in the field: mutual TLS, signed metadata on the same topics, a rollout to one device, and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from device.updates.permission import Permission
from device.updates.slots import current_slot
from device.updates.state import Settings
from device.updates.tuf_client import Trust
from device.updates.updater import Updater, UpdaterPorts
from server.broker.link import BrokerSession, Ports, ServerLink
from server.releases.offers import Offers
from server.releases.registry import Registry
from server.releases.rollout_requests import RolloutRequest
from server.releases.signing import Release
from shared import bundle
from shared.clock import SystemClock
from shared.floor import ClockFloor
from shared.messages import Status
from tests.device.updates.house import no_problems
from tests.secure import SecureSite
from tests.shared.bundle.bundles import contents, make_bundle

CLOCK = SystemClock()
DEADLINE_S = 60.0


class Agent:
    """A device that was let in: its link, its trust and its updater."""

    def __init__(self, site: SecureSite, name: str, state_dir: Path, root_json: bytes) -> None:
        self._state_dir, self._stop, self.changed = state_dir, threading.Event(), threading.Condition()
        self._outbox = Outbox(state_dir / "outbox")
        settings = LinkSettings(site.host, site.port, name, tls=site.enrol(name).context())
        self._link = Link(settings, LinkPorts(self._outbox, CLOCK, draw=lambda: 0.1), status=Status(online=True))
        ports = UpdaterPorts(clock=CLOCK, publish=self._link.publish, selftest=no_problems, use_model=self._activated)
        trust = Trust(state_dir / "trust", root_json, ClockFloor(state_dir, CLOCK))
        self.updater = Updater(
            state_dir,
            ports,
            Permission(bundle.FOR_JUDGING, trust, name),
            settings=Settings(margin_bytes=1_000_000, probation_looks=1),
        )
        self._link.on("offer", lambda levels, payload: self.updater.on_offer(payload))
        self._link.on("block", self.updater.on_block)
        self._thread = threading.Thread(target=self.updater.run, args=(self._stop,), name=f"updates {name}")
        self._link.start()
        self._thread.start()

    def _activated(self, folder: Path, version: str) -> None:
        self.updater.report_look_ok(version)
        with self.changed:
            self.changed.notify_all()

    @property
    def current(self) -> str:
        folder = current_slot(self._state_dir)
        return "" if folder is None else bundle.verify(folder).version

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        self._link.stop()
        self.updater.close()
        self._outbox.close()


class PublishingServer:
    """The server's part, publishing what is due as `waycue-server run` does each second."""

    def __init__(self, site: SecureSite, place: Path) -> None:
        self.registry = Registry(site.home, store=site.store, clock=CLOCK)
        self.release = Release.make(site.home, clock=CLOCK)
        self.push = Offers(self.registry, clock=CLOCK, release=self.release)
        self._stop = threading.Event()
        self.link = ServerLink(
            BrokerSession(site.host, site.port, tls=site.server_context()),
            Ports(
                lambda device, levels, payload: [],
                {"want": self.push.blocks.handle},
                on_statuses=self._statuses,
                is_enrolled=site.enrolled.__contains__,
            ),
        )
        for number in (1, 2):
            make_bundle(place / f"m{number}", f"m{number}", contents({"a.onnx": 200_000}, seed=number))
            self.registry.add(place / f"m{number}")
        self._thread = threading.Thread(target=self._offer, name="offers")
        self.link.start()
        self._thread.start()

    def _statuses(self, statuses: Mapping[str, Status]) -> None:
        for offer in self.push.greet({device: status.online for device, status in statuses.items()}):
            self.link.publish(*offer, retain=True)

    def _offer(self) -> None:
        while not self._stop.wait(0.1):
            for offer in self.push.due():
                self.link.publish(*offer, retain=True)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        self.link.stop()


@pytest.fixture
def house(secure_broker: SecureSite, tmp_path: Path) -> Iterator[PublishingServer]:
    with closing(PublishingServer(secure_broker, tmp_path)) as house:
        assert house.link.ready.wait(DEADLINE_S)
        yield house


def until(holds: Callable[[], bool], agents: list[Agent]) -> None:
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError([agent.updater.state_text() for agent in agents])


def test_a_signed_rollout_reaches_one_device_over_tls_and_is_taken_back(
    secure_broker: SecureSite, house: PublishingServer, tmp_path: Path
) -> None:
    house.registry.promote("m1", "first")
    root = house.release.root_json()
    with (
        closing(Agent(secure_broker, "anna", tmp_path / "anna", root)) as anna,
        closing(Agent(secure_broker, "bert", tmp_path / "bert", root)) as bert,
    ):
        both = [anna, bert]
        until(lambda: (anna.current, bert.current) == ("m1", "m1"), both)
        house.push.rollouts.start(RolloutRequest("m2", devices=["anna"]))
        until(lambda: anna.current == "m2" and anna.updater.phase == "idle", both)
        assert bert.current == "m1"
        house.push.rollouts.halt(why="taken back")
        until(lambda: anna.current == "m1", both)
        assert (anna.updater.counters["refused"], bert.updater.counters["distrusted"]) == (0, 0)
