"""Devices and servers of different age over a real Mosquitto: old device and new server, new device and old server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import session, site
from tests.compatibility.asked import SERVER_ASKED
from tests.compatibility.conftest import Unpack
from tests.compatibility.site import ANNA, BERT, HOST, called, free_port, told

pytestmark = pytest.mark.usefixtures("needs_broker")


def test_an_old_device_is_answered_as_its_old_server_answered(old: Path, memory_path: Path) -> None:
    recorded = session.load(old / "session" / "exchanges.jsonl")
    sent = [(one.topic, one.payload) for one in recorded]
    session.copy_home(old / "home", memory_path / "home")
    with site.plain_broker(memory_path / "broker") as port:
        with site.server(memory_path / "home", "--plain", "--broker", f"{HOST}:{port}"):
            found = session.replay(port, BERT, sent, expected=[len(one.answers) for one in recorded])
    for new, known in zip(found, recorded, strict=True):
        assert session.comparable(new) == session.comparable(known), known.topic
    merged = told("waycue-server", "--home", memory_path / "home", *SERVER_ASKED["samples"])
    assert [one for one in merged if one["device"] == BERT] == json.loads(
        (old / "session" / "samples.json").read_bytes()
    )
    assert told("waycue-server", "--home", memory_path / "home", "check", "--json")["well"]


def test_a_device_understands_its_old_server(old: Path, memory_path: Path) -> None:
    """Everything is delivered and a model fetched, against the recorded answers."""
    state, config = old / "session" / "state", old / "device" / "device.toml"
    recorded = session.load(old / "session" / "exchanges.jsonl")
    report = memory_path / "report.json"
    with site.plain_broker(memory_path / "broker") as port, session.RecordedServer(port, BERT, recorded) as server:
        more = ("--device", BERT, "--broker", f"{HOST}:{port}", "--report", report, "--quiet")
        with site.device(state, config, *more) as process:
            process.until(lambda: _proving(state) == "tiny-1" and not _sealed(state), "delivery and a model")
            assert process.stop() == 0, process.text()
    assert server.unknown == []
    found, known = (json.loads(path.read_bytes()) for path in (report, old / "session" / "report.json"))
    assert shape(found) == shape(known)
    assert found["sync"] == known["sync"]
    assert found["updates"][0]["fetched_bytes"] == known["updates"][0]["fetched_bytes"]


def test_an_old_home_and_an_old_device_go_on_where_they_were_cut_off(unpack: Unpack, memory_path: Path) -> None:
    """Over TLS: a clip that was half sent, a model that was half fetched, a certificate that was asked for."""
    old = unpack(memory_path / "old")
    home, state, config = old / "home", old / "device" / "state", old / "device" / "device.toml"
    report, broker = memory_path / "report.json", f"{HOST}:{free_port()}"
    before = told("waycue-device", "identity", "--config", config, "--state", state, "--json")
    (cut_off,) = [path.name for path in (state / "outbox").glob(f"{ANNA}-*-00002")]
    (root_key,) = (home / "root-key").glob("*.pem")  # it ends in three years, and this test need not
    for command in (("keys", "renew-root", "--root-key", root_key), ("broker", "config", "--address", broker)):
        assert called("waycue-server", "--home", home, *command)[0] == 0
    with ExitStack() as ending:
        ending.enter_context(site.mosquitto(home / "broker" / "mosquitto.conf"))
        ending.enter_context(site.server(home, "--broker", broker, "--enrol", f"{HOST}:{free_port()}"))
        more = ("--broker", broker, "--report", report, "--quiet")
        with site.device(state, config, *more) as process:
            process.until(
                lambda: _proving(state) == "tiny-4" and not _sealed(state) and not (state / "renew.json").exists(),
                "the rest of the clip, the rest of the model and a certificate",
            )
            assert process.stop() == 0, process.text()
    done = json.loads(report.read_bytes())
    assert done["sync"]["queued"] == 0
    assert done["sync"]["sent_bytes"] < 60_000, "of a clip of 116,768 bytes 65,536 were there"
    (update,) = done["updates"]
    assert (update["from_version"], update["to_version"]) == ("tiny-2", "tiny-4")
    assert update["fetched_bytes"] < 40_000, "of a picture of 87,324 bytes 65,536 were there"
    after = told("waycue-device", "identity", "--config", config, "--state", state, "--json")
    assert after["issued_utc"] > before["issued_utc"]
    assert told("waycue-server", "--home", home, "check", "--json")["well"]
    sample = told("waycue-server", "--home", home, "samples", "show", cut_off, "--json")
    assert sample["files"]["clip"]["size_bytes"] > 90_000
    assert not list((home / "incoming" / ANNA).iterdir())


def _proving(state: Path) -> str:
    """The version that was just put in use, "" = none."""
    try:
        update: dict[str, Any] = json.loads((state / "models" / "update.json").read_bytes())
    except FileNotFoundError:
        return ""
    return str(update["target"]["version"]) if update["phase"] == "probation" else ""


def _sealed(state: Path) -> Iterator[Path] | list[Path]:
    """Records that wait, or lie there until they are deleted."""
    return [
        path for path in (state / "outbox").iterdir() if path.is_dir() and path.name[0] != "." and path.name != "failed"
    ]


def shape(value: Any) -> Any:
    """The keys of a JSON value, at any depth; of a list those of its first entry."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    return [shape(one) for one in value[:1]] if isinstance(value, list) else None
