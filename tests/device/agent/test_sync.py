"""The agent, a real Mosquitto, and the server's real intake, dataset and registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.updates.slots import current_slot
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.ingest.ingest import Ingest
from server.releases.offers import Offers
from server.releases.registry import Registry
from shared import bundle
from shared.clock import SystemClock
from shared.runtime.seen import Hazard
from tests.device.agent.stage import CLEAR, Card, Running, StoryModel, agent, config, film, nothing, presses, result
from tests.device.agent.test_walk import curb_then_pole
from tests.device.updates.house import no_problems
from tests.pulse import until
from tests.shared.bundle.bundles import make_bundle

CLOCK = SystemClock()


class Server:
    """Intake, dataset, registry and offers in this process."""

    def __init__(self, home: Path, broker: BrokerChild) -> None:
        self.store = open_store(home)
        self.dataset = Dataset(home / "dataset")
        self.registry = Registry(home, store=self.store, clock=CLOCK)
        self.push = Offers(self.registry, clock=CLOCK)
        merge = Merge(self.store, self.dataset, CLOCK)
        self.ingest = Ingest(home / "incoming", merge)
        ports = Ports(self.ingest.handle, {"want": self.push.blocks.handle}, settling=self.ingest)
        self.link = ServerLink(BrokerSession(broker.host, broker.port), ports)
        self.link.start()

    def offer(self, folder: Path, version: str) -> None:
        make_bundle(folder / version, version)
        self.registry.add(folder / version)
        self.link.publish(*self.push.make("dev-1", version), retain=True)

    def close(self) -> None:
        self.link.stop()
        self.store.close()


@pytest.fixture
def server(tmp_path: Path, broker: BrokerChild) -> Iterator[Server]:
    with closing(Server(tmp_path / "home", broker)) as made:
        yield made


def address(broker: BrokerChild) -> str:
    return f"{broker.host}:{broker.port}"


def test_flagged_chunks_and_the_correction_reach_the_dataset_and_leave_the_device(
    tmp_path: Path, broker: BrokerChild, server: Server
) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"}, {"t_s": 6.2, "action": "hold", "until_s": 7.4})
    chosen = config(
        tmp_path, film(tmp_path), buttons__script=str(script), broker__address=address(broker), capture__clips=True
    )
    agent(chosen, StoryModel(curb_then_pole), tmp_path, linger_s=60.0).run()
    done = result(tmp_path)
    rows = {row.sample_id: row for row in server.dataset.rows()}
    assert sorted(rows) == sorted(done.report["flagged"])
    assert sorted(row.flags for row in rows.values()) == [("correction",), ("predecessor",), ("wearer",)]
    flagged = next(row for row in rows.values() if row.flags == ("wearer",))
    assert flagged.spoken == "Caution, pole on the left."
    assert flagged.clip_path
    assert server.ingest.counters["records"] == 3 + 1
    assert done.report["sync"]["queued"] == 0
    assert done.report["sync"]["sent_bytes"] > 0
    assert done.records == {}


def test_an_offered_model_is_in_use_before_the_walk_begins_and_the_next_one_during_it(
    tmp_path: Path, broker: BrokerChild, server: Server
) -> None:
    models: dict[str, StoryModel] = {}

    def load(folder: Path) -> StoryModel:
        version = bundle.verify(folder).version
        if not models:
            threading.Event().wait(2.5)  # as on a Pi: longer than a walk waits for an offer to come
        models[version] = StoryModel(
            lambda look: ((Hazard("curb", "ahead", 0.95),), CLEAR) if look > 3 else ((), CLEAR), Card(version)
        )
        return models[version]

    server.offer(tmp_path, "v1")
    chosen = config(
        tmp_path,
        film(tmp_path, 60.0),
        broker__address=address(broker),
        capture__pace="real",
        guidance__switch_while_walking=True,
    )
    options = RunOptions(
        report=tmp_path / "report.json", captions=tmp_path / "captions.jsonl", exit_at_end=True, update_first_s=30.0
    )
    captions = tmp_path / "captions.jsonl"
    with Running(Agent(chosen, options, AgentPorts(CLOCK, load=load, selftest=no_problems))) as running:
        until(lambda: "v1" in models and models["v1"].looks > 8, "looks with the first model")
        server.offer(tmp_path, "v2")
        until(lambda: "v2" in models and models["v2"].looks > 8, "looks with the second model")
        until(lambda: "Guidance updated." in captions.read_text(), "the announcement")
        running.agent.stop()
    done = result(tmp_path)
    assert done.texts[0] == "Guidance ready."
    assert "No model. Recording only." not in done.texts
    assert {entry["model_version"] for entry in done.report["guidance"]} <= {"v1", "v2"}
    updates = done.report["updates"]
    assert [(update["from_version"], update["to_version"]) for update in updates] == [("", "v1"), ("v1", "v2")]
    current = current_slot(done.state)
    assert current is not None
    assert bundle.read_manifest(current).version == "v2"


def test_offline_is_said_once_and_back_online_once_and_the_walk_goes_on(tmp_path: Path, broker: BrokerChild) -> None:
    script = presses(tmp_path, {"t_s": 1.0, "action": "flag"})
    chosen = config(
        tmp_path,
        film(tmp_path, 120.0),
        buttons__script=str(script),
        broker__address=address(broker),
        capture__pace="real",
    )
    captions, status = tmp_path / "captions.jsonl", tmp_path / "state" / "status.json"

    def said(text: str) -> bool:
        return captions.exists() and text in captions.read_text()

    def online() -> bool:
        return status.exists() and json.loads(status.read_bytes())["online"]

    with Running(agent(chosen, StoryModel(nothing), tmp_path)):
        until(online, "the first connection")
        broker.stop()
        until(lambda: said("Offline."), "the announcement")
        broker.start()
        until(lambda: said("Back online."), "the other announcement", timeout_s=60)
    texts = result(tmp_path).texts
    assert (texts.count("Offline."), texts.count("Back online.")) == (1, 1)
    assert len(result(tmp_path).records) == 1
