"""The connection to Home Assistant's broker: what it should hold is compared with what was published, and what differs
is sent. It reconnects for ever; a broker that is away costs nothing but a line in the log."""

from __future__ import annotations

import logging
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from server.home_assistant.entities import AVAILABILITY, OFFLINE, ONLINE
from server.home_assistant.settings import HomeAssistantSection
from shared import mqtt, settings
from shared.errors import ConfigError

EVERY_S = 10.0
RECONNECT_MAX_S = 60
logger = logging.getLogger(__name__)


def settings_of(section: HomeAssistantSection) -> tuple[str, int, mqtt.MqttSettings]:
    """(host, port, how to connect). Raises: ConfigError."""
    default = settings.DEFAULT_TLS_PORT if section.tls else settings.DEFAULT_PORT
    host, port = settings.address(section.broker, what="homeassistant.broker", default_port=default)
    password = _password(section)
    if password and not section.tls and not settings.is_loopback(host):
        raise ConfigError(
            "homeassistant.password_file would be sent unencrypted.",
            hint="Set homeassistant.tls, or use a broker here.",
        )
    return (
        host,
        port,
        mqtt.MqttSettings(
            f"waycue-{secrets.token_hex(6)}",
            (),
            tls=ssl.create_default_context() if section.tls else None,
            will=(AVAILABILITY, OFFLINE),
            user=section.user,
            password=password,
            reconnect_max_s=RECONNECT_MAX_S,
        ),
    )


def _password(section: HomeAssistantSection) -> str:
    if not section.password_file:
        return ""
    try:
        return Path(section.password_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"homeassistant.password_file cannot be read ({error}).") from None


class HomeAssistantLink:
    """wanted: topic → what must be retained there now."""

    def __init__(self, section: HomeAssistantSection, wanted: Callable[[], Mapping[str, bytes]]) -> None:
        """Raises: ConfigError."""
        self._host, self._port, how = settings_of(section)
        self._wanted = wanted
        self._published: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._refusal = ""
        self._client = mqtt.MqttClient(how, self._on_event)

    def start(self) -> None:
        """Connect in the background."""
        self._client.start(self._host, self._port)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Say that the server is away, and disconnect. Idempotent."""
        if self._connected.is_set():
            self._client.publish(AVAILABILITY, OFFLINE, retain=True)
        self._client.stop(timeout_s)
        self._connected.clear()

    def round(self) -> None:
        """Publish what differs from what was published on this connection."""
        if not self._connected.is_set():
            return
        with self._lock:
            for topic, payload in self._wanted().items():
                if self._published.get(topic) != payload and self._client.publish(topic, payload, retain=True):
                    self._published[topic] = payload

    def _on_event(self, event: mqtt.MqttEvent) -> None:
        match event:
            case mqtt.ConnectAccepted():
                self._published, self._refusal = {}, ""  # a broker may have forgotten everything
                self._client.publish(AVAILABILITY, ONLINE, retain=True)
                self._connected.set()
                logger.info("Connected to Home Assistant's broker %s:%s.", self._host, self._port)
            case mqtt.ConnectRefused(reason):
                if reason != self._refusal:
                    self._refusal = reason
                    logger.error("Home Assistant's broker %s:%s refused: %s", self._host, self._port, reason)
            case mqtt.Disconnected():
                self._connected.clear()
            case _:
                pass
