"""One connection of the device to its broker, from its TCP connect to its end: what the broker allows, and how much of
what was sent it has not acknowledged.

Made anew for every connection, and driven by the link's thread (shared.mqtt).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import assert_never

from shared import mqtt
from shared.errors import Unreachable
from shared.transfer import PACKET_OVERHEAD_BYTES

# While the server is away the broker keeps what we send for it. Questions are repeated every minute: without an end to
# their life they would fill its queue of 1000 messages within hours, for every device.
EXPIRY_S = 120
REJECTING_ALERTS = ("certificate revoked", "certificate expired", "certificate unknown", "unknown ca")
MAX_UNACKED = 64  # a window of small files, each with its begin and end; less where the broker allows less


class Connection:
    """client_id: with TLS, the certificate's name. listen: the one topic filter to hear. will: (topic, payload) that
    the broker publishes, retained, when this ends without `disconnect`. on_message(topic, payload). tls: None = plain
    TCP."""

    def __init__(
        self,
        client_id: str,
        *,
        listen: str,
        will: tuple[str, bytes],
        on_message: Callable[[str, bytes], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.subscribed = False
        """The broker let us in, and brings what is on `listen`."""
        self.refusal: str | None = None
        """Why the broker did not, or ended the connection."""
        self.rejected = False
        """It knows us and does not want us: that will not change by itself."""
        self.max_packet_bytes: int | None = None
        """The broker's Maximum Packet Size."""
        self._waiting: dict[int, int] = {}
        self.unacked_bytes = 0
        """Of files, in messages that the broker has not acknowledged: all that a cut can cost."""
        self.broker_refusals = 0
        self.last_broker_refusal: str | None = None
        self._max_unacked = MAX_UNACKED
        self._listen = listen
        self._on_message = on_message
        # max_inflight: `room` holds back, where paho would queue in memory.
        settings = mqtt.MqttSettings(
            client_id, (mqtt.Subscription(listen),), tls=tls, will=will, expiry_s=EXPIRY_S, max_inflight=0
        )
        self._client = mqtt.MqttClient(settings, self._on_event)

    def open(self, host: str, port: int) -> None:
        """Connect and say hello; `subscribed` comes during `exchange`. Raises: Unreachable."""
        self._client.connect(host, port)
        if not self._client.connected:  # e.g. a revoked certificate: in TLS 1.3 the broker says no after our handshake
            self._note_alert()
            raise Unreachable(self.refusal or f"the broker {host}:{port} ended the connection at once")

    def exchange(self, timeout_s: float, wake: socket.socket | None = None) -> bool:
        """Move bytes, waiting at most `timeout_s` for some or for a byte in `wake`. False where it broke."""
        alive = self._client.exchange(timeout_s, wake)
        if not alive and self.refusal is None:
            self._note_alert()
        return alive

    def fileno(self) -> int:
        """Its socket, for a poller of many connections; -1 where there is none."""
        return self._client.fileno()

    @property
    def has_more(self) -> bool:
        """Whether `exchange` has something to do that such a poller does not see."""
        return self._client.has_more

    @property
    def unacked(self) -> int:
        """Messages at QoS 1 that the broker has not acknowledged: all that paho holds in memory."""
        return len(self._waiting)

    @property
    def room(self) -> bool:
        """Whether one more message may be sent without paho storing it up."""
        return self.unacked < self._max_unacked

    def fits(self, payload: bytes) -> bool:
        """Whether the broker takes a message of this size."""
        return self.max_packet_bytes is None or len(payload) + PACKET_OVERHEAD_BYTES <= self.max_packet_bytes

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, file_bytes: int = 0) -> bool:
        """Hand a message to the broker. False where the connection just broke. file_bytes: of a file, in it."""
        number = self._client.send(topic, payload, qos=qos, retain=retain)
        if number is None:
            return False
        if qos > 0:
            self._waiting[number] = file_bytes
            self.unacked_bytes += file_bytes
        return True

    def disconnect(self) -> None:
        self._client.disconnect()

    def close(self) -> None:
        self._client.close()

    def _note_alert(self) -> None:
        """What the broker said in TLS, where it did."""
        alert = self._client.tls_alert
        if alert is not None:
            self.refusal = f"the broker does not take this device's certificate ({alert})"
            self.rejected = self.rejected or alert in REJECTING_ALERTS

    def _on_event(self, event: mqtt.MqttEvent) -> None:
        match event:
            case mqtt.ConnectAccepted(max_packet_bytes, receive_maximum):
                self.max_packet_bytes = max_packet_bytes
                self._max_unacked = min(MAX_UNACKED, receive_maximum or MAX_UNACKED)
            case mqtt.ConnectRefused(reason, rejected):
                self.refusal, self.rejected = f"the broker refused this device ({reason})", rejected
            case mqtt.Subscribed():
                self.subscribed = True
            case mqtt.SubscribeRefused():
                self.refusal, self.rejected = f"the broker does not let this device hear {self._listen}", True
            case mqtt.Disconnected(failure, by_broker):
                if by_broker:  # e.g. a second device of the same name
                    self.refusal = f"the broker ended the connection ({failure})"
            case mqtt.PublishAnswered(refusal, number):
                self.unacked_bytes -= self._waiting.pop(number, 0)
                if refusal is not None:
                    self.broker_refusals += 1
                    self.last_broker_refusal = refusal
            case mqtt.MessageReceived(topic, payload):
                self._on_message(topic, payload)
            case _:
                assert_never(event)
