"""The commands that people run, killed as machines are: agent, server and broker, in the middle of the work."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from scripts.demo.children import Child, Children, command
from server.broker.child import HOST, BrokerChild, free_port
from server.database import settings as database_settings
from tests.e2e.site import called
from tests.faults import cargo
from tests.faults.judge import Party, judge
from tests.faults.relay import Relay, Weather

DEVICE = "pi-1"
CHUNKS = 24
BYTES_PER_S = 1_500_000  # so that each of them is in the middle of something when it is killed
START_S = 60.0


class Installation:
    """A server, and a device behind a slow relay, as systemd would run them."""

    def __init__(self, folder: Path, children: Children, broker: BrokerChild, relay: Relay) -> None:
        self.folder, self._children, self._broker, self._relay = folder, children, broker, relay
        self.home, self.state = folder / "home", folder / "device"
        self._starts = 0
        database_settings.of_home(self.home)  # with PostgreSQL its settings are written now

    def serve(self) -> Child:
        self._starts += 1
        ready = self.folder / f"ready-{self._starts}"
        child = self._children.start(
            f"server-{self._starts}",
            [
                command("waycue-server"),
                "--home",
                str(self.home),
                "run",
                "--plain",
                "--broker",
                f"{self._broker.host}:{self._broker.port}",
                "--web",
                f"{HOST}:{free_port()}",
                "--ready-file",
                str(ready),
            ],
        )
        self._children.until(child, ready.exists, timeout_s=START_S, what="ready server")
        return child

    def walk(self) -> Child:
        self._starts += 1
        return self._children.start(
            f"device-{self._starts}",
            [
                command("waycue-device"),
                "run",
                "--source",
                "none",
                "--state",
                str(self.state),
                "--device",
                DEVICE,
                "--broker",
                f"{self._relay.host}:{self._relay.port}",
                "--speech",
                "none",
                "--quiet",
                "--exit-at-end",
                "--linger-s",
                "90",
            ],
        )

    def kill(self, child: Child) -> None:
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()


@pytest.mark.soak
@pytest.mark.both_databases
def test_agent_server_and_broker_are_killed_midway_and_all_is_merged_once(
    tmp_path: Path, memory_path: Path, broker: BrokerChild
) -> None:
    ledger = cargo.Ledger(memory_path / "ledger")
    with (
        Relay(broker.host, broker.port, weather=Weather(bytes_per_s=BYTES_PER_S)) as relay,
        Children(tmp_path / "logs") as children,
    ):
        house = Installation(memory_path, children, broker, relay)
        box = Outbox(house.state / "outbox")
        for number in range(CHUNKS):
            ledger.say("sealed", box.seal_chunk(*cargo.chunk(DEVICE, number)).chunk_id)
            if cargo.has_correction(number):
                ledger.say("sealed", box.seal_correction(*cargo.correction(DEVICE, number)).correction_id)
        size = box.counts().queued_bytes
        box.close()
        assert called([command("waycue-server"), "--home", str(house.home), "init"]).status == 0
        server, agent = house.serve(), house.walk()
        relay.wait(lambda: relay.bytes["up"] > size // 4)
        house.kill(agent)
        agent = house.walk()
        relay.wait(lambda: relay.bytes["up"] > size // 2)
        house.kill(server)
        server = house.serve()
        relay.wait(lambda: relay.bytes["up"] > size * 3 // 4)
        broker.kill()
        broker.start()
        children.wait(agent, timeout_s=120)
        children.stop(server)
    verdict = judge(house.home, [Party(DEVICE, house.state, ledger.path)])
    assert verdict.clean, verdict
    assert len(verdict.merged) == verdict.chunks + verdict.corrections == CHUNKS + 3
