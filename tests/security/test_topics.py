"""A device that was let in touches its own topics and nothing else. Each attempt works without the rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.broker import dynsec_rules
from shared import topics
from tests.secure import Card, SecureSite, secure_site
from tests.security.changes import without_rules
from tests.security.intruder import Intruder

NOT_ALLOWED = "Not authorized"
WRITES = (
    "wc/v1/ben/up/event",
    "wc/v1/ben/up/want",
    "wc/v1/ben/up/renew",
    "wc/v1/ben/up/some-transfer/0",
    "wc/v1/ben/status",
    "wc/v1/ben/down/offer",  # a model of the attacker's choice
    "wc/v1/anna/down/offer",  # also to itself: offers come from the server
    "wc/v1/%u/up/event",  # what a pattern would mean, were it taken literally
    "other/topic",
)
READS = (
    "wc/v1/ben/down/#",
    "wc/v1/+/down/#",
    "wc/v1/+/up/#",  # everybody's recordings
    "wc/v1/ben/status",
    "wc/v1/anna/up/#",
    "$share/waycue/wc/v1/+/up/#",  # would also take messages away from the server
    "#",
    "$SYS/#",
    dynsec_rules.RESPONSE,
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureSite]:
    with secure_site(tmp_path_factory.mktemp("guarded")) as site:
        yield site


@pytest.fixture(scope="module")
def anna(guarded: SecureSite) -> Card:
    guarded.enrol("ben", wait=False)
    return guarded.enrol("anna")


@pytest.fixture(scope="module")
def intruder(guarded: SecureSite, anna: Card) -> Iterator[Intruder]:
    with Intruder(guarded, anna.context(), client_id="anna") as client:
        assert client.connect() == "Success"
        yield client


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intruder]:
    """The same device at a broker without the rules."""
    with secure_site(tmp_path_factory.mktemp("unguarded"), change=without_rules, sync=False) as site:
        card = site.enrol("anna", wait=False)
        with Intruder(site, card.context(), client_id="anna") as client:
            assert client.connect() == "Success"
            yield client


@pytest.mark.parametrize("topic", WRITES)
def test_a_device_cannot_write_what_is_not_its_own(topic: str, intruder: Intruder) -> None:
    assert intruder.publish(topic) == NOT_ALLOWED


@pytest.mark.parametrize("topic", WRITES)
def test_without_the_rules_it_could_write(topic: str, unguarded: Intruder) -> None:
    assert unguarded.publish(topic) != NOT_ALLOWED


@pytest.mark.parametrize("topic", READS)
def test_a_device_cannot_read_what_is_not_its_own(topic: str, intruder: Intruder) -> None:
    assert intruder.subscribe(topic) == NOT_ALLOWED


@pytest.mark.parametrize("topic", READS)
def test_without_the_rules_it_could_read(topic: str, unguarded: Intruder) -> None:
    assert unguarded.subscribe(topic) == "Granted QoS 1"


def test_its_own_topics_work(intruder: Intruder) -> None:
    written = [intruder.publish(f"wc/v1/anna/{below}") for below in ("up/event", "up/renew", "status")]
    assert NOT_ALLOWED not in written
    assert intruder.subscribe("wc/v1/anna/down/#") == "Granted QoS 1"


def test_a_device_cannot_change_the_rules(intruder: Intruder, guarded: SecureSite) -> None:
    assert (
        intruder.publish(dynsec_rules.CONTROL, b'{"commands":[{"command":"deleteClient","username":"ben"}]}')
        == NOT_ALLOWED
    )
    guarded.settle()
    assert "ben" in (guarded.folder / "dynamic-security.json").read_text()


def wills_heard(site: SecureSite, card: Card) -> list[str]:
    """Which last wills reach the server: one on another's status, then one on the device's own."""
    heard: list[str] = []
    with Intruder(site, site.server_context(), client_id=dynsec_rules.SERVER) as server:
        assert server.connect() == "Success"
        assert server.subscribe("wc/v1/+/status") == "Granted QoS 1"
        for victim in ("ben", card.device):
            with Intruder(site, card.context(), client_id=card.device, will=f"wc/v1/{victim}/status") as dying:
                if dying.connect() == "Success":
                    dying.drop()
        while not heard or heard[-1] != f"wc/v1/{card.device}/status":
            heard.append(server.next_heard()[0])
    return heard


def test_a_last_will_on_another_status_is_not_published(guarded: SecureSite) -> None:
    assert wills_heard(guarded, guarded.enrol("carl")) == ["wc/v1/carl/status"]


def test_without_the_rules_a_last_will_would_speak_for_another(tmp_path: Path) -> None:
    with secure_site(tmp_path, change=without_rules, sync=False) as site:
        assert wills_heard(site, site.enrol("carl", wait=False)) == ["wc/v1/ben/status", "wc/v1/carl/status"]


def test_the_server_cannot_change_the_rules_and_who_can_hears_no_device(guarded: SecureSite) -> None:
    with Intruder(guarded, guarded.server_context("waycue-worker-8"), client_id="x") as server:
        assert server.connect() == "Success"
        assert server.publish(dynsec_rules.CONTROL, b'{"commands":[]}') == NOT_ALLOWED
        heard = (topics.UP_ALL, topics.STATUS_ALL, topics.WANT_ALL, topics.RENEW_ALL, *topics.intake("anna"))
        assert {topic: server.subscribe(topic) for topic in heard} == dict.fromkeys(heard, "Granted QoS 1")
    context = guarded.server_context(dynsec_rules.CONTROLLER)
    guarded.access.stop()
    with Intruder(guarded, context, client_id="x") as controller:
        assert controller.connect() == "Success"
        assert controller.subscribe("wc/v1/+/up/#") == NOT_ALLOWED
        assert controller.publish("wc/v1/anna/down/offer") == NOT_ALLOWED
