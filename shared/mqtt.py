"""The one module that speaks MQTT: a paho client with TLS, keepalive and last will, and paho's callbacks as events.

A client is driven in one of two ways:

- by its owner's thread: `connect`, then `exchange` again and again, then `disconnect` and `close`. Nothing blocks but
  `connect` (at most CONNECT_TIMEOUT_S, name look-up apart) and `exchange` for the time that it is given. The owner
  makes a new client for each connection, so that paho sends nothing of an old one again.
- by paho's thread: `start`, then `stop`. It reconnects for ever: after 1 s, then twice as long up to `reconnect_max_s`.

Events come one at a time, on the thread that drives. What waited to be sent is dropped when a new connection begins.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from shared.background import within
from shared.errors import Unreachable

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
FILTERS_AT_ONCE = 300  # at 60 bytes each: 18 KB
REJECTIONS = ("Client identifier not valid", "Bad user name or password", "Not authorized", "Banned")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic filter to hear, at QoS 1."""

    topic: str
    retained: bool = True
    """Whether the broker sends the retained messages that are there when the subscription begins."""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """What a client is. With TLS, `client_id` is the certificate's name."""

    client_id: str
    listen: tuple[Subscription, ...]
    tls: ssl.SSLContext | None = None
    """None = plain TCP."""
    will: tuple[str, bytes] | None = None
    """(topic, payload) that the broker publishes, retained, when the connection ends without `disconnect`."""
    session_s: int = 0
    """How long the broker keeps what comes for a client that is away. 0 = a clean session."""
    max_packet_bytes: int | None = None
    """The broker discards what is larger before it reaches our memory."""
    manual_ack: bool = False
    """Whether the owner acknowledges each message (`ack`) after it has handled it."""
    max_inflight: int = 20
    """Most messages at QoS 1 without an acknowledgement; paho queues the rest. 0 = no limit."""
    max_queued: int = 0
    """Most messages that paho queues. 0 = no limit."""
    expiry_s: int | None = None
    """How long the broker keeps a message for a receiver that is away; retained messages have no end."""
    reconnect_max_s: int = 10
    user: str = ""
    """Name and password for a broker that lets in by these; "" = it is not asked for."""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ConnectAccepted:
    """The broker let the client in; the subscriptions were asked for."""

    max_packet_bytes: int | None
    """The broker's Maximum Packet Size."""
    receive_maximum: int | None
    """Most messages at QoS 1 that the broker takes without having acknowledged them."""


@dataclass(frozen=True, slots=True)
class ConnectRefused:
    reason: str
    rejected: bool
    """It knows the client and does not want it: only a person changes that."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker brings what is on `listen`."""


@dataclass(frozen=True, slots=True)
class SubscribeRefused:
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disconnected:
    failure: str | None
    """None = in order."""
    by_broker: bool
    """The broker said so, such as for a second client of the same name."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    topic: str
    """"" = it cannot be read as text, so it is nobody's."""
    payload: bytes
    qos: int
    mid: int
    """Its number on this connection, for `ack`."""


@dataclass(frozen=True, slots=True)
class PublishAnswered:
    """The broker acknowledged a message at QoS 1, or refused it; or one at QoS 0 went out."""

    refusal: str | None
    mid: int
    """Its number, as `send` returned it."""


MqttEvent = (
    ConnectAccepted | ConnectRefused | Subscribed | SubscribeRefused | Disconnected | MessageReceived | PublishAnswered
)


class MqttClient:
    """One client. on_event: called with each event, on the thread that drives it."""

    def __init__(self, settings: MqttSettings, on_event: Callable[[MqttEvent], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._last_socket: Any = None
        self._more: dict[str, None] = {}
        """Filters beside those of the settings."""
        self._listen_mid: int | None = None
        self._publish_properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=settings.expiry_s)
        self._client = self._new_client()

    # driven by its owner's thread

    def connect(self, host: str, port: int) -> None:
        """Connect and send CONNECT; the answer comes during `exchange`. Raises: Unreachable."""
        try:
            self._client.connect(host, port, KEEPALIVE_S, **self._session())
        except (OSError, ValueError) as error:
            raise Unreachable(f"the broker {host}:{port} cannot be reached ({error})") from None

    @property
    def connected(self) -> bool:
        """Whether there is a socket: the broker may have ended the connection during `connect` already."""
        return self._client.socket() is not None

    def fileno(self) -> int:
        """The number of its socket, -1 where there is none."""
        connection: Any = self._client.socket()
        return -1 if connection is None else int(connection.fileno())

    @property
    def has_more(self) -> bool:
        """Whether `exchange` would find something that a poller which waits for bytes does not see: bytes that TLS has
        decrypted, or some that wait to be written."""
        connection: Any = self._client.socket()
        return connection is not None and (self._client.want_write() or _hidden(connection) > 0)

    @property
    def tls_alert(self) -> str | None:
        """Why the broker ended the TLS connection, such as "certificate revoked". In TLS 1.3 it does so after the
        client's handshake."""
        return getattr(self._last_socket, "alert", "") or None

    def exchange(self, timeout_s: float, wake: socket.socket | None = None) -> bool:
        """Move bytes, waiting at most `timeout_s` for some or for a byte in `wake`. False where it broke."""
        connection: Any = self._client.socket()
        if connection is None:
            return False
        readable, writable = self._wait(connection, timeout_s, wake)
        steps: list[Callable[[], MQTTErrorCode]] = []
        if readable:
            steps.append(self._client.loop_read)
        if writable:
            steps.append(self._client.loop_write)
        steps.append(self._client.loop_misc)
        return all(step() == MQTTErrorCode.MQTT_ERR_SUCCESS for step in steps)

    def _wait(self, connection: Any, timeout_s: float, wake: socket.socket | None) -> tuple[bool, bool]:
        """(whether there are bytes to read, whether some that wait can be written); reads what is in `wake`."""
        hidden = _hidden(connection)
        readers = [reader for reader in (connection, wake) if reader is not None]
        writers = [connection] * self._client.want_write()
        readable, writable, _ = select.select(readers, writers, [], 0 if hidden else timeout_s)
        if wake is not None and wake in readable:
            with contextlib.suppress(BlockingIOError):
                wake.recv(4096)
        return bool(hidden) or connection in readable, bool(writable)

    def disconnect(self) -> None:
        """End the connection in order: the broker does not publish the last will."""
        self._client.disconnect()
        self.exchange(0.0)

    def close(self) -> None:
        """Close the socket, without a DISCONNECT if there was none. Idempotent."""
        connection: Any = self._client.socket()
        if connection is not None:
            connection.close()

    # driven by paho's thread

    def start(self, host: str, port: int) -> None:
        """Connect in the background, now and whenever the connection is lost."""
        self._client.connect_async(host, port, KEEPALIVE_S, **self._session())
        self._client.loop_start()

    def stop(self, timeout_s: float) -> None:
        """Disconnect and end paho's thread. Idempotent, and does not hang."""
        self._client.disconnect()
        # paho waits for its thread without a limit, and a name look-up may block that.
        within(timeout_s, self._client.loop_stop, name="the stop of MQTT")

    # either way

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Send a message. False where there is no connection."""
        return self.send(topic, payload, qos=qos, retain=retain) is not None

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int | None:
        """As `publish`; returns the message's number, None where there is no connection."""
        properties = None if retain else self._publish_properties
        sent = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def hear(self, filters: Sequence[str]) -> None:
        """Subscribe to these too, now and on each later connection; of what is retained nothing comes. Any thread."""
        self._more |= dict.fromkeys(filters)
        for some in _pieces(filters):
            self._client.subscribe([(one, _subscribe_options(Subscription(one, retained=False))) for one in some])

    def unhear(self, filters: Sequence[str]) -> None:
        """End these subscriptions. Any thread."""
        for one in filters:
            self._more.pop(one, None)
        for some in _pieces(filters):
            self._client.unsubscribe(list(some))

    def ack(self, message: MessageReceived) -> None:
        """Acknowledge a message of the present connection (`manual_ack`)."""
        self._client.ack(message.mid, message.qos)

    # paho

    def _session(self) -> dict[str, Any]:
        session_s, max_packet_bytes = self._settings.session_s or None, self._settings.max_packet_bytes
        properties = _properties(
            PacketTypes.CONNECT, SessionExpiryInterval=session_s, MaximumPacketSize=max_packet_bytes
        )
        return {"clean_start": session_s is None, "properties": properties}

    def _new_client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=settings.manual_ack,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(1, settings.reconnect_max_s)
        client.max_inflight_messages_set(settings.max_inflight)
        client.max_queued_messages_set(settings.max_queued)
        if settings.tls is not None:
            client.tls_set_context(settings.tls)
        if settings.user:
            client.username_pw_set(settings.user, settings.password or None)
        if settings.will is not None:
            client.will_set(*settings.will, qos=1, retain=True)
        client.on_pre_connect = _drop_waiting
        client.on_socket_open = self._opened
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_message = self._received
        return client

    def _opened(self, _client: paho.Client, _data: Any, connection: Any) -> None:
        self._last_socket = connection  # paho forgets it where it breaks, and with it what the broker said
        # Small messages (ends, acknowledgements) must not wait 40 ms for the TCP acknowledgement of the one before.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(
        self, client: paho.Client, _data: Any, _flags: paho.ConnectFlags, reason: ReasonCode, props: Properties | None
    ) -> None:
        if reason.is_failure:
            self._on_event(ConnectRefused(str(reason), reason.getName() in REJECTIONS))
            return
        max_packet_bytes, receive_maximum = (
            getattr(props, name, None) for name in ("MaximumPacketSize", "ReceiveMaximum")
        )
        self._on_event(ConnectAccepted(max_packet_bytes, receive_maximum))
        if self._settings.listen:  # who only speaks has nothing to wait for
            wanted = [(one.topic, _subscribe_options(one)) for one in self._settings.listen]
            _, self._listen_mid = client.subscribe(wanted)
        self.hear(list(self._more))

    def _subscribed(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        refused = any(reason.is_failure for reason in reasons)
        if mid != self._listen_mid and not refused:
            return  # of `hear`
        self._on_event(SubscribeRefused(tuple(map(str, reasons))) if refused else Subscribed())

    def _disconnected(
        self, _client: paho.Client, _data: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        failure = str(reason) if reason.is_failure or flags.is_disconnect_packet_from_server else None
        self._on_event(Disconnected(failure, flags.is_disconnect_packet_from_server))

    def _published(
        self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _props: Properties | None
    ) -> None:
        self._on_event(PublishAnswered(str(reason) if reason.is_failure else None, mid))

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._on_event(MessageReceived(topic, bytes(message.payload), message.qos, message.mid))


def _hidden(connection: Any) -> int:
    """Bytes that TLS has decrypted; select does not see them."""
    return int(getattr(connection, "pending", int)())


def _pieces(filters: Sequence[str]) -> Iterator[Sequence[str]]:
    """So few at a time that the packet is small."""
    return (filters[at : at + FILTERS_AT_ONCE] for at in range(0, len(filters), FILTERS_AT_ONCE))


def _drop_waiting(client: paho.Client, _data: Any) -> None:
    client.drop_out_messages()  # paho would send them after the reconnect, when they are no longer true


def _properties(packet: int, **values: int | None) -> Properties | None:
    given = {name: value for name, value in values.items() if value is not None}
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho's own gap
    for name, value in given.items():
        setattr(properties, name, value)
    return properties if given else None


def _subscribe_options(wanted: Subscription) -> SubscribeOptions:
    if wanted.retained:
        return SubscribeOptions(qos=1)
    return SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
