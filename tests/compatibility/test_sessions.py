"""Devices and servers of different age over a real Mosquitto: old device and new server, new device and old server."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import session, site
from tests.compatibility.commands import SERVER_COMMANDS
from tests.compatibility.conftest import Unpack
from tests.compatibility.site import ANNA, BERT, HOST, call, call_json, free_port

pytestmark = pytest.mark.usefixtures("needs_broker")


def test_an_old_device_gets_the_answers_that_its_old_server_gave(old: Path, memory_path: Path) -> None:
    recorded = session.load(old / "session" / "exchanges.jsonl")
    sent = [(exchange.topic, exchange.payload) for exchange in recorded]
    home = memory_path / "home"
    session.copy_home(old / "home", home)
    with ExitStack() as ending:
        port = ending.enter_context(site.plain_broker(memory_path / "broker"))
        ending.enter_context(site.server(home, "--plain", "--broker", f"{HOST}:{port}"))
        replayed = session.replay(port, BERT, sent, expected=[len(exchange.answers) for exchange in recorded])
    for now, known in zip(replayed, recorded, strict=True):
        if known.topic.endswith("/ask") and b'"unknown"' in known.answers[0][1] and b'"merged"' in now.answers[0][1]:
            continue  # of what was merged: older servers had the device begin again
        assert session.comparable(now) == session.comparable(known), known.topic
    samples = call_json("waycue-server", "--home", home, *SERVER_COMMANDS["samples"])
    merged = [row for row in samples if row["device"] == BERT]
    assert merged == json.loads((old / "session" / "samples.json").read_bytes())
    assert call_json("waycue-server", "--home", home, "check", "--json")["well"]


def test_a_new_device_delivers_and_updates_on_the_answers_of_an_old_server(old: Path, memory_path: Path) -> None:
    state, config = old / "session" / "state", old / "device" / "device.toml"
    recorded = session.load(old / "session" / "exchanges.jsonl")
    report = memory_path / "report.json"
    with site.plain_broker(memory_path / "broker") as port, session.RecordedServer(port, BERT, recorded) as server:
        more = ("--device", BERT, "--broker", f"{HOST}:{port}", "--report", report, "--quiet")
        with site.device(state, config, *more) as process:
            process.until(lambda: on_probation(state) == "tiny-1" and not sealed(state), "delivery and a model")
            assert process.stop() == 0, process.text()
    assert server.unknown == []
    assert len(server.containers) == 1, "the server's first answer says that it takes none"
    now, known = (json.loads(path.read_bytes()) for path in (report, old / "session" / "report.json"))
    assert keys(now) == keys(known) | {"vibrations": []}  # what came in since
    assert now["sync"] == known["sync"]
    assert now["updates"][0]["fetched_bytes"] == known["updates"][0]["fetched_bytes"]


def test_an_old_home_and_an_old_device_resume_what_was_cut_off(unpack: Unpack, memory_path: Path) -> None:
    """Over TLS: a clip that was half sent, a model that was half fetched, a certificate to be renewed."""
    old = unpack(memory_path / "old")
    home, state, config = old / "home", old / "device" / "state", old / "device" / "device.toml"
    report, broker = memory_path / "report.json", f"{HOST}:{free_port()}"
    identity = ("identity", "--config", config, "--state", state, "--json")
    before = call_json("waycue-device", *identity)
    (record,) = [path.name for path in (state / "outbox").glob(f"{ANNA}-*-00002")]
    (root_key,) = (home / "root-key").glob("*.pem")
    # The root of the fixture ends three years after it was made; this test must not.
    for words in (("keys", "renew-root", "--root-key", root_key), ("broker", "config", "--address", broker)):
        assert call("waycue-server", "--home", home, *words)[0] == 0
    with ExitStack() as ending:
        ending.enter_context(site.mosquitto(home / "broker" / "mosquitto.conf"))
        ending.enter_context(site.server(home, "--broker", broker, "--enrol", f"{HOST}:{free_port()}"))
        with site.device(state, config, "--broker", broker, "--report", report, "--quiet") as process:
            process.until(
                lambda: on_probation(state) == "tiny-4" and not sealed(state) and not (state / "renew.json").exists(),
                "the rest of the clip, the rest of the model and a certificate",
            )
            assert process.stop() == 0, process.text()
    written = json.loads(report.read_bytes())
    assert written["sync"]["queued"] == 0
    assert written["sync"]["sent_bytes"] < 60_000, "the server had 65,536 of 116,768 bytes"
    (update,) = written["updates"]
    assert (update["from_version"], update["to_version"]) == ("tiny-2", "tiny-4")
    assert update["fetched_bytes"] < 40_000, "the device had 65,536 of 87,324 bytes"
    assert call_json("waycue-device", *identity)["issued_utc"] > before["issued_utc"]
    assert call_json("waycue-server", "--home", home, "check", "--json")["well"]
    sample = call_json("waycue-server", "--home", home, "samples", "show", record, "--json")
    assert sample["files"]["clip"]["size_bytes"] > 90_000
    assert not list((home / "incoming" / ANNA).iterdir())


def on_probation(state: Path) -> str | None:
    """The version that was just put in use, as update.json says."""
    try:
        update: dict[str, Any] = json.loads((state / "models" / "update.json").read_bytes())
    except FileNotFoundError:
        return None
    return str(update["target"]["version"]) if update["phase"] == "probation" else None


def sealed(state: Path) -> list[str]:
    """Records in the outbox that are not refused: not delivered, or not deleted yet."""
    folders = [path.name for path in (state / "outbox").iterdir() if path.is_dir()]
    return [name for name in folders if not name.startswith(".") and name != "failed"]


def keys(value: Any) -> Any:
    """The keys of a JSON value at any depth; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(inner) for inner in value[:1]] if isinstance(value, list) else None
