"""The whole loop over a real broker, every part started as people start it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from server.broker.child import BrokerChild
from shared import topics, vocabulary
from tests.e2e.conftest import Film
from tests.e2e.site import DEVICE, TAUGHT, Done, Site, presses, sealed, slot_version
from tests.pulse import until


class Overheard:
    """The offers that a device gets, as anyone on the broker can read them."""

    def __init__(self, broker: BrokerChild) -> None:
        self.versions: list[str] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = lambda _client, _data, message: self.versions.append(
            json.loads(message.payload)["version"]
        )
        subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe(topics.offer(DEVICE), qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert subscribed.wait(20)

    def wait(self, version: str) -> None:
        until(lambda: self.versions[-1:] == [version], f"an offer of {version}")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.slow
def test_the_whole_loop(taught_site: Site, broker: BrokerChild, film: Film, tmp_path: Path) -> None:
    site = taught_site
    starter = site.versions()["champion"]
    site.serve()

    first = _first_walk(site, film, tmp_path)
    assert first.version == starter == slot_version(site.state)
    samples = site.wait_merged(first)
    _merged_exactly_once(site, first, samples)
    samples = site.wait_heard(first.report["corrections"])
    _corrections_were_heard(samples, film)
    _review(site, film)

    night = json.loads(site.server("retrain", "--force", "--json").out)
    _reported(night, starter, reviewed=len(samples))
    offers = Overheard(broker)
    try:
        if night["outcome"] == "refused":
            assert site.versions()["champion"] == starter
            site.server("models", "promote", night["version"], "--why", "the test walks with it all the same")
        offers.wait(night["version"])
        _updates_to(site, film, before=starter, after=night["version"])
        assert starter in site.server("models", "rollback").out
        offers.wait(starter)
        _updates_to(site, film, before=night["version"], after=starter)
    finally:
        offers.close()
    site.stop_serving()


def _first_walk(site: Site, film: Film, folder: Path) -> Done:
    """In real time: one plain flag, and a spoken correction at each cone."""
    script = presses(folder, *map(json.loads, film.script.read_text().splitlines()), {"t_s": 5.0, "action": "flag"})
    done = site.walk(film.source, "--pace", "real", "--buttons", script, "--update-first-s", "90")
    assert done.status == 0, done.err
    assert done.report["chunks"] == 6
    assert len(done.report["corrections"]) == len(film.said) == 2
    # Two chunks with corrections, the flagged one, and the chunk before each where there is one.
    flagged = {int(name.rsplit("-", 1)[1]) for name in done.report["flagged"]}
    assert {0, 1, 2, 3} <= flagged
    assert [update["to_version"] for update in done.report["updates"]] == [done.version]
    return done


def _merged_exactly_once(site: Site, first: Done, samples: dict[str, dict[str, Any]]) -> None:
    assert set(samples) == set(first.report["flagged"])
    corrected = [one["correction_id"] for one in samples.values() if one["correction_id"]]
    assert sorted(corrected) == sorted(first.report["corrections"])
    begun = [row["sample_id"] for row in site.rows() if not row["supersedes"]]
    assert sorted(begun) == sorted(first.report["flagged"])
    queue = first.report["sync"]
    assert (queue["queued"], queue["failed"]) == (0, 0)
    assert queue["merged"] == len(first.report["flagged"]) + len(first.report["corrections"])
    assert sealed(site.state) == {}


def _corrections_were_heard(samples: dict[str, dict[str, Any]], film: Film) -> None:
    """Through espeak-ng, the walk's own noise, AAC and the recogniser. It may take a cone for a door, which is why a
    caregiver confirms; that somebody said "on the left" must come through."""
    heard = [vocabulary.parse(one["llm_correction"]) for one in samples.values() if one["correction_id"]]
    sides = {slots.side for text in film.said if (slots := vocabulary.parse(text)) is not None}
    assert [slots for slots in heard if slots is not None and slots.object and slots.side in sides], (heard, sides)


def _review(site: Site, film: Film) -> None:
    """A caregiver goes through all that is pending, over the HTTP API."""
    truths = {truth.index: truth.instruction for truth in film.truths}
    people = site.people
    for sample in people.samples("pending"):
        people.review(sample, truths[int(sample["sample_id"].rsplit("-", 1)[1])])
    assert people.samples("pending") == []
    samples = site.samples().values()
    assert all(sample["reviewed"] for sample in samples)
    assert sum(TAUGHT in sample["ground_truth"] for sample in samples) == 2
    latest = {row["sample_id"]: row for row in site.rows()}
    assert {name: row["ground_truth"] for name, row in latest.items()} == {
        sample["sample_id"]: sample["ground_truth"] for sample in samples
    }


def _reported(night: dict[str, Any], champion: str, *, reviewed: int) -> None:
    """Two steps teach little: promoted or refused are both right, silence about why is not."""
    assert night["outcome"] in ("promoted", "refused")
    assert night["reasons"]
    assert (night["champion"], night["samples"]) == (champion, reviewed)
    assert night["parity_float"] >= 0.95


def _updates_to(site: Site, film: Film, *, before: str, after: str) -> None:
    assert slot_version(site.state) == before
    done = site.walk(film.source, "--pace", "fast", "--update-first-s", "90")
    assert done.status == 0, done.err
    (update,) = done.report["updates"]
    assert (update["from_version"], update["to_version"]) == (before, after)
    assert done.version == after == slot_version(site.state)
    assert done.report["looks"] > 20
