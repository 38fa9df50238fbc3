"""Home Assistant finds each device at a real broker, sees its figures change, and loses it when it is revoked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from server.admin.fleet import FleetDevice
from server.broker.child import BrokerChild
from server.home_assistant import entities
from server.home_assistant import link as link_module
from server.home_assistant.entities import AVAILABILITY
from server.home_assistant.link import HomeAssistantLink
from server.home_assistant.settings import HomeAssistantSection
from shared import mqtt
from shared.errors import ConfigError
from shared.messages import Status
from tests.pulse import until

STATUS = Status(online=True, agent_version="0.1.0", model_version="m1", backlog=3, battery_percent=71.5, heat_c=48.0)
DEVICE = FleetDevice("pi-1", "", "enrolled", False, True, 1_795_200_000.0, None, "", STATUS, "m2", (), 0)
CONFIG, STATE = "homeassistant/device/waycue_pi-1/config", "waycue/pi-1/state"


@contextmanager
def listening(broker: BrokerChild) -> Iterator[dict[str, bytes]]:
    """What is retained at the broker, as Home Assistant hears it; topics that were cleared are gone."""
    heard: dict[str, bytes] = {}

    def on_event(event: mqtt.MqttEvent) -> None:
        if isinstance(event, mqtt.MessageReceived):
            heard[event.topic] = event.payload

    topics = (mqtt.Subscription("homeassistant/#"), mqtt.Subscription("waycue/#"))
    client = mqtt.MqttClient(mqtt.MqttSettings("home-assistant", topics), on_event)
    client.start(broker.host, broker.port)
    try:
        yield heard
    finally:
        client.stop(5.0)


def test_a_device_appears_changes_and_goes_when_it_is_revoked(broker: BrokerChild) -> None:
    devices = [DEVICE]
    section = HomeAssistantSection(broker=f"{broker.host}:{broker.port}")
    link = HomeAssistantLink(section, lambda: entities.wanted(devices, prefix=section.prefix))
    with listening(broker) as heard:
        link.start()

        def told(topic: str, wanted: bytes | None = None) -> bool:
            link.round()
            return topic in heard and (wanted is None or heard[topic] == wanted)

        try:
            until(lambda: told(STATE) and told(CONFIG) and told(AVAILABILITY, b"online"), "the device")
            config, state = json.loads(heard[CONFIG]), json.loads(heard[STATE])
            assert set(config["components"]) == {"battery", "backlog", "heat", "seen", "model", "online", "update"}
            assert config["device"]["identifiers"] == ["waycue_pi-1"]
            assert config["state_topic"] == STATE
            assert all(part["platform"] and part["unique_id"] for part in config["components"].values())
            assert "command_topic" not in json.dumps(config), "Home Assistant installs no model"
            assert (state["battery"], state["backlog"], state["model"], state["offered"]) == (71.5, 3, "m1", "m2")
            assert state["online"] == "ON"

            devices[0] = replace(DEVICE, status=replace(STATUS, battery_percent=8.0))
            until(lambda: told(STATE) and json.loads(heard[STATE])["battery"] == 8.0, "the new charge")

            devices[0] = replace(DEVICE, state="revoked", online=False)
            until(lambda: told(STATE, b"") and told(CONFIG, b""), "the end of it")
        finally:
            link.stop()
        until(lambda: heard[AVAILABILITY] == b"offline", "that the server is away")
    with listening(broker) as later:
        until(lambda: AVAILABILITY in later, "what is retained")
        assert CONFIG not in later
        assert STATE not in later


def published(link: HomeAssistantLink, heard: dict[str, bytes]) -> bool:
    link.round()
    return CONFIG in heard and STATE in heard


def test_after_a_broker_that_forgot_everything_all_of_it_is_published_again(broker: BrokerChild) -> None:
    section = HomeAssistantSection(broker=f"{broker.host}:{broker.port}")
    link = HomeAssistantLink(section, lambda: entities.wanted([DEVICE], prefix=section.prefix))
    link.start()
    try:
        for _ in range(2):
            with listening(broker) as heard:
                until(partial(published, link, heard), "the device")
            broker.kill()
            broker.start()
    finally:
        link.stop()


def test_a_password_is_never_sent_in_plain_text_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    section = HomeAssistantSection("192.168.1.5", "ana", str(tmp_path / "password"))
    with pytest.raises(ConfigError, match="sent unencrypted"):
        link_module.settings_of(section)
    _, port, how = link_module.settings_of(replace(section, tls=True))
    assert (port, how.user, how.password) == (8883, "ana", "hunter2")
    assert "hunter2" not in repr(how)
    with pytest.raises(ConfigError, match="cannot be read"):
        link_module.settings_of(replace(section, password_file=str(tmp_path / "none")))
