"""Somebody who speaks MQTT to the broker: with a device's certificate, another one, or none. A plain client, so that
nothing of waycue's own good manners is between the attack and the broker."""

from __future__ import annotations

import queue
import ssl
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.secure import SecureSite

TIMEOUT_S = 10.0


def without_certificate(site: SecureSite) -> ssl.SSLContext:
    """Knows the authority, and has nothing to show."""
    context = ssl.create_default_context(cadata=site.authority.ca_pem.decode())
    context.check_hostname = False
    return context


class Intruder:
    """One client. A context manager; after `connect` gave "Success" the other calls may be used."""

    def __init__(
        self, site: SecureSite, tls: ssl.SSLContext | None, *, client_id: str, username: str = "", will: str = ""
    ) -> None:
        self._site = site
        self._connects: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ends: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._published: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._subscribed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.ended = ""
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        if tls is not None:
            self._client.tls_set_context(tls)
        if username:
            self._client.username_pw_set(username, "guess")
        if will:
            self._client.will_set(will, b"{}", qos=1)
        self._client.on_connect = lambda _c, _d, _f, reason, _p: self._connects.put(str(reason))
        self._client.on_disconnect = self._over
        self._client.on_publish = lambda _c, _d, _mid, reason, _p: self._published.put(str(reason))
        self._client.on_subscribe = lambda _c, _d, _mid, reasons, _p: self._subscribed.put(str(reasons[0]))
        self._client.on_message = lambda _c, _d, message: self.heard.put((message.topic, bytes(message.payload)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def connect(self) -> str:
        """ "Success", or what came instead: the broker's reason, or why there was no connection."""
        try:
            if self._client.connect(self._site.host, self._site.port) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return "cut off"
        except OSError as error:
            return f"refused: {error}"
        self._client.loop_start()
        return self._connects.get(timeout=TIMEOUT_S)

    def publish(self, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> str:
        """The broker's reason."""
        self._client.publish(topic, payload, qos=1, retain=retain)
        return self._published.get(timeout=TIMEOUT_S)

    def send_and_vanish(self, topic: str, payload: bytes) -> None:
        """Publish without waiting for an answer."""
        self._client.publish(topic, payload, qos=1)

    def drop(self) -> None:
        """Break the connection without a goodbye: the broker publishes the last will."""
        connection: Any = self._client.socket()
        connection.close()

    def subscribe(self, topic: str) -> str:
        """The broker's reason."""
        self._client.subscribe([(topic, SubscribeOptions(qos=1))])
        return self._subscribed.get(timeout=TIMEOUT_S)

    def wait_end(self) -> str:
        """Until the broker ended the connection: its reason."""
        return self._ends.get(timeout=TIMEOUT_S)

    def next_heard(self) -> tuple[str, bytes]:
        return self.heard.get(timeout=TIMEOUT_S)

    def _over(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.ended = str(reason)
        self._ends.put(str(reason))
        self._connects.put(f"cut off: {reason}")
