"""One connection to the broker, from its TCP connect to its end: a thin skin over paho for a single thread.

It is made anew for every connection, so that nothing of an old one (paho's queues, packet numbers) is sent again behind
our back. It never blocks but in `open` (at most CONNECT_TIMEOUT_S, name look-up apart) and for the time `exchange` is
given. Everything paho calls back runs inside `exchange`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from shared.errors import Unreachable
from shared.transfer import PACKET_OVERHEAD_BYTES

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
# While the server is away the broker keeps what we send for it. Questions are repeated every minute: without an end to
# their life they would fill its queue of 1000 messages within hours, for every device.
EXPIRY_S = 120
REJECTIONS = ("Client identifier not valid", "Bad user name or password", "Not authorized", "Banned")
REJECTING_ALERTS = ("certificate revoked", "certificate expired", "certificate unknown", "unknown ca")
MAX_UNACKED = 16  # eight parts and their begins and ends; below the 20 that brokers commonly allow


class Connection:
    """client_id: with TLS, the certificate's name. listen: the one topic filter to hear. will: (topic, payload) that
    the broker publishes, retained, when this ends without a goodbye. on_message(topic, payload). tls: None = plain TCP.
    """

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
        """The broker took us, and will bring what is on `listen`."""
        self.refusal = ""
        """Why the broker did not, or ended the connection."""
        self.rejected = False
        """It knows us and does not want us: that will not change by itself."""
        self.max_packet_bytes: int | None = None
        """The broker's Maximum Packet Size."""
        self.unacked = 0
        """Messages at QoS 1 that the broker has not acknowledged: all that paho holds in memory."""
        self.broker_refusals = 0
        self.last_broker_refusal = ""
        self._max_unacked = MAX_UNACKED
        self._expiring = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own gap
        self._expiring.MessageExpiryInterval = EXPIRY_S
        self._listen = listen
        self._on_message = on_message
        self._last: Any = None
        self._client = self._new_client(client_id, will, tls)

    def open(self, host: str, port: int) -> None:
        """Connect and say hello; `subscribed` comes during `exchange`. Raises: Unreachable."""
        try:
            self._client.connect(host, port, KEEPALIVE_S, clean_start=True)
        except (OSError, ValueError) as error:
            raise Unreachable(f"the broker {host}:{port} cannot be reached ({error})") from None
        connection: Any = self._client.socket()
        if connection is None:  # e.g. a revoked certificate: in TLS 1.3 the broker says no after our handshake
            raise Unreachable(self._alert() or f"the broker {host}:{port} ended the connection at once")
        # Small messages (ends, acknowledgements) must not wait 40 ms for the TCP acknowledgement of the one before.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, timeout_s: float, wake: socket.socket | None = None) -> bool:
        """Move bytes, waiting at most `timeout_s` for some or for a byte in `wake`. False where it broke."""
        connection: Any = self._client.socket()
        if connection is None:
            return False
        hidden = getattr(connection, "pending", int)()  # bytes that TLS has decrypted; select does not see them
        readers = [connection] if wake is None else [connection, wake]
        writers = [connection] if self._client.want_write() else []
        readable, writable, _ = select.select(readers, writers, [], 0 if hidden else timeout_s)
        if wake is not None and wake in readable:
            with contextlib.suppress(BlockingIOError):
                wake.recv(4096)
        if (connection in readable or hidden) and self._client.loop_read() != mqtt.MQTT_ERR_SUCCESS:
            self.refusal = self.refusal or self._alert()
            return False
        if writable and self._client.loop_write() != mqtt.MQTT_ERR_SUCCESS:
            self.refusal = self.refusal or self._alert()
            return False
        return bool(self._client.loop_misc() == mqtt.MQTT_ERR_SUCCESS)

    @property
    def room(self) -> bool:
        """Whether one more message may be sent without paho storing it up."""
        return self.unacked < self._max_unacked

    def fits(self, payload: bytes) -> bool:
        """Whether the broker takes a message of this size."""
        return self.max_packet_bytes is None or len(payload) + PACKET_OVERHEAD_BYTES <= self.max_packet_bytes

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Hand a message to the broker. False where the connection just broke."""
        properties = None if retain else self._expiring
        sent = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if sent.rc != mqtt.MQTT_ERR_SUCCESS:
            return False
        self.unacked += qos > 0
        return True

    def disconnect(self) -> None:
        """Say goodbye; the broker then keeps the last will to itself."""
        self._client.disconnect()
        self.exchange(0.0)

    def close(self) -> None:
        """Give the socket back, without a goodbye if there was none. Idempotent."""
        connection: Any = self._client.socket()
        if connection is not None:
            connection.close()

    def _new_client(self, client_id: str, will: tuple[str, bytes], tls: ssl.SSLContext | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)  # no limit there: `room` holds back, where paho would queue in memory
        if tls is not None:
            client.tls_set_context(tls)
        client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_socket_open = self._opened
        client.on_connect = self._connected
        client.on_subscribe = self._was_subscribed
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_message = self._received
        return client

    def _opened(self, _client: mqtt.Client, _data: Any, connection: Any) -> None:
        self._last = connection  # paho forgets it where it breaks, and with it what the broker said

    def _alert(self) -> str:
        """What the broker said in TLS, where it did."""
        alert = getattr(self._last, "alert", "")
        self.rejected = self.rejected or alert in REJECTING_ALERTS
        return f"the broker does not take this device's certificate ({alert})" if alert else ""

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode, props: Properties | None
    ) -> None:
        if reason.is_failure:
            self.refusal = f"the broker refused this device ({reason})"
            self.rejected = reason.getName() in REJECTIONS
            return
        self.max_packet_bytes = getattr(props, "MaximumPacketSize", None)
        self._max_unacked = min(MAX_UNACKED, getattr(props, "ReceiveMaximum", MAX_UNACKED))
        client.subscribe([(self._listen, SubscribeOptions(qos=1))])

    def _was_subscribed(
        self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self.refusal = f"the broker does not let this device hear {self._listen}"
            self.rejected = True
        else:
            self.subscribed = True

    def _disconnected(
        self, _client: mqtt.Client, _data: Any, flags: mqtt.DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.refusal = f"the broker ended the connection ({reason})"  # e.g. a second device of the same name

    def _published(
        self, _client: mqtt.Client, _data: Any, _mid: int, reason: ReasonCode, _props: Properties | None
    ) -> None:
        self.unacked = max(0, self.unacked - 1)
        if reason.is_failure:
            self.broker_refusals += 1
            self.last_broker_refusal = str(reason)

    def _received(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # not one of ours, whatever it is
        self._on_message(topic, bytes(message.payload))
