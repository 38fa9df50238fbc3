"""A broker that is away, a model damaged on its way, a torn log, a full disk, strangers on our topics."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from server.broker.child import BrokerChild
from shared import bundle, topics
from tests.e2e.conftest import Film
from tests.e2e.site import DEVICE, Site, flags_at, sealed, slot_version, walked
from tests.pulse import until

pytestmark = pytest.mark.slow


def starter_of(home: Path) -> Path:
    (folder,) = (home / "models").glob("*/bundle")
    return folder


def test_without_a_broker_guidance_goes_on_and_a_later_run_delivers(
    site: Site, broker: BrokerChild, film: Film, starter_home: Path, tmp_path: Path
) -> None:
    broker.stop()
    walk = walked(
        site.state,
        film.source,
        "--pace",
        "fast",
        "--broker",
        site.broker_address,
        "--linger-s",
        "2",
        "--model",
        str(starter_of(starter_home)),
        "--buttons",
        flags_at(tmp_path, 1.0, 7.0),
    )
    assert walk.status == 0, walk.err
    assert walk.guided
    queued = sealed(site.state)
    assert sorted(queued) == sorted(walk.report["flagged"])
    assert walk.report["sync"]["queued"] == len(queued) >= 3

    broker.start()
    site.serve()
    home = site.walk("none")
    assert home.status == 0, home.err
    assert set(site.wait_merged(walk)) == set(queued)
    assert home.report["sync"]["queued"] == 0
    assert sealed(site.state) == {}


def test_a_model_with_one_byte_changed_is_refused_and_the_old_one_kept(taught_site: Site, film: Film) -> None:
    site = taught_site
    starter = site.versions()["champion"]
    site.serve()
    assert site.walk("none", "--update-first-s", "90", "--allow-demo-model").status == 0
    assert slot_version(site.state) == starter

    _register_another(site, "another-1")
    site.server("models", "promote", "another-1")
    served = site.home / "models" / "another-1" / "bundle" / "tokenizer.json"
    data = bytearray(served.read_bytes())
    data[-1] ^= 1
    served.write_bytes(data)
    walk = site.walk(film.source, "--pace", "fast", "--update-first-s", "60")
    assert walk.status == 0, walk.err
    assert walk.report["model_state"].startswith("refused: another-1")
    assert "tokenizer.json" in walk.report["model_state"]
    assert walk.version == starter == slot_version(site.state)
    assert walk.guided
    assert walk.report["updates"] == []


def _register_another(site: Site, version: str) -> None:
    """The starter under another name, with a tokenizer file of other bytes and the same sense."""
    folder = site.folder / version
    shutil.copytree(starter_of(site.home), folder)
    old = bundle.read_manifest(folder)
    with open(folder / "tokenizer.json", "a") as tokenizer:
        tokenizer.write("\n ")
    bundle.write_bundle(folder, replace(old, version=version, parent=old.version, extra={}))
    site.server("models", "add", str(folder))


def test_a_torn_last_line_of_the_dataset_is_dropped_and_the_server_goes_on(
    site: Site, film: Film, tmp_path: Path
) -> None:
    site.serve()
    walk = site.walk(film.source, "--pace", "fast", "--buttons", flags_at(tmp_path, 1.0, 7.0))
    before = site.wait_merged(walk)
    site.stop_serving()
    log = site.home / "dataset" / "metadata.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + whole[: len(whole) // 3].splitlines()[0][:100])

    site.serve()
    assert site.samples() == before
    assert log.read_bytes() == whole
    one = next(iter(before))
    site.people.review(before[one], "Stop, curb ahead.")
    assert site.samples()[one]["ground_truth"] == "Stop, curb ahead."
    assert len(site.rows()) == len(whole.splitlines()) + 1
    again = site.walk(film.source, "--pace", "fast", "--buttons", flags_at(tmp_path, 1.0))
    assert set(site.wait_merged(again)) >= {*before, *again.report["flagged"]}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes for the state of a device."""
    folder = tmp_path / "device"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_is_announced_and_guidance_goes_on(
    small_disk: Path, film: Film, starter_home: Path, tmp_path: Path
) -> None:
    # Room for the agent's own files and a chunk or two; a chunk of this film takes some 200 kB. In real time: as fast
    # as possible, the walk is over before the disk has answered.
    (small_disk / "filler").write_bytes(b"x" * 1_650_000)
    walk = walked(
        small_disk,
        film.source,
        "--pace",
        "real",
        "--model",
        str(starter_of(starter_home)),
        "--buttons",
        flags_at(tmp_path, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0),
    )
    assert walk.status == 0, walk.err
    assert "Storage full." in walk.announced  # once more where a warning cut it short
    assert walk.report["not_kept"] > 0
    assert len(sealed(small_disk)) + walk.report["not_kept"] == walk.report["chunks"] == 6
    full_s = next(entry["t_s"] for entry in walk.report["announced"] if entry["text"] == "Storage full.")
    said = [(entry["t_s"], entry["text"]) for entry in walk.report["guidance"]]
    assert [t_s for t_s, _ in said if t_s > full_s], (full_s, said)
    assert not list((small_disk / "outbox").glob("*.sealing"))


STRANGE = {
    topics.event(DEVICE): b"not json",
    topics.event("other"): b'{"kind": "party", "record_id": "x-1", "body": {}}',
    topics.begin(DEVICE, "x-2.frame"): b"{}",
    topics.begin(DEVICE, "x-3.party"): b"\xff\xfe",
    topics.part(DEVICE, "x-4.audio", 0): b"\x00" * 100,
    topics.want(DEVICE): b'{"sha256": "../../etc/passwd", "ranges": [[0, 9]]}',
    topics.status(DEVICE): b"[1, 2",
    "wc/v1/DEVICE/up/event": b"{}",
    f"wc/v1/{DEVICE}/up/a/b/c/d/e": b"",
    f"wc/v1/{DEVICE}/up/": b"",
}


def test_messages_that_are_not_ours_are_refused_and_logged_and_the_server_lives(
    site: Site, broker: BrokerChild, film: Film, tmp_path: Path
) -> None:
    site.serve()
    refused: dict[str, str] = {}
    done = threading.Event()

    def on_message(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        refused[message.topic] = json.loads(message.payload)["state"]

    stranger = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    stranger.on_message = on_message
    stranger.on_subscribe = lambda *_: done.set()
    stranger.connect(broker.host, broker.port)
    stranger.loop_start()
    try:
        stranger.subscribe("wc/v1/+/down/+/ack", qos=1)
        assert done.wait(20)
        for topic, payload in STRANGE.items():
            stranger.publish(topic, payload, qos=1).wait_for_publish(20)
        expected = {topics.ack("other", "x-1"), topics.ack(DEVICE, "x-2.frame"), topics.ack(DEVICE, "x-3.party")}
        until(lambda: expected <= set(refused), f"answers, so far {refused}")
    finally:
        stranger.disconnect()
        stranger.loop_stop()
    assert {refused[topic] for topic in expected} == {"refused"}
    assert refused.get(topics.ack(DEVICE, "x-4.audio")) == "unknown"  # nobody announced this file

    walk = site.walk(film.source, "--pace", "fast", "--buttons", flags_at(tmp_path, 1.0))
    assert set(site.wait_merged(walk)) == set(walk.report["flagged"])
    assert site.serving
    assert "Traceback" not in site.server_log
    assert site.server_log.count("Not ours") >= 4
