"""The server's side of the broker: hears every device, hands each message to its handler, and sends the answers.

Promises:

1. A message is acknowledged to the broker only after its handler and the following `settle` returned: until then the
   broker keeps it and brings it again. Handlers are idempotent.
2. No message and no handler's failure ends the loop: it is logged with its traceback, counted, and the next one comes.
3. It reconnects for ever. Retained messages (offers) are published again after each reconnect: a broker may forget.
4. `stop` ends both threads, and does not hang.

Two threads: paho's, which only moves messages, and one worker, so that a slow disk never costs the keepalive.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from shared import messages, topics
from shared.background import Background, within
from shared.errors import MessageError
from shared.messages import Status

Reply = tuple[str, bytes]
Handler = Callable[[str, list[str], bytes], list[Reply]]
"""(device, levels after it, payload) -> what to publish."""

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
RECONNECT_MAX_S = 10  # one server per broker: no herd to spread
SESSION_S = 24 * 3600  # a server that restarts within a day gets what devices sent meanwhile
MAX_PACKET_BYTES = 2 * 1024 * 1024  # the broker discards what is larger before it reaches our memory
BATCH = 64
AGAIN_S = 0.01  # while something waits for another worker
COMPLAIN_EVERY = 1000  # strangers must not fill the log either
MAX_WAITING = 1000  # only messages at QoS 0 can come faster than we acknowledge; more of them are dropped.
# The same number of answers may wait for a broker that does not take them; devices ask again for what is dropped.
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Inbound:
    session: int
    """Counts connections: an acknowledgement must not go to a later one, where its number means another message."""
    mid: int
    qos: int
    topic: str
    payload: bytes


class ServerLink:
    """The server's connection. handlers: by the one level after `up` ("want"), "" = everything else on `up/#`.

    settle: called after each batch of messages; its replies are sent before the batch is acknowledged.
    on_status(device, status): a device's retained status, also right after connecting.
    client_id: one per running server, and the certificate's name; tls: None = plain TCP.
    again(): whether `settle` is to be called soon although nothing came.
    listen: topic filters to hear. lasting: the broker keeps what comes for us while we are away; never for one of
    several workers, whose share would wait for it too.
    lets_in(device): whether a device's messages are handled; None = everybody's.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handlers: Mapping[str, Handler],
        *,
        settle: Callable[[], list[Reply]] | None = None,
        on_status: Callable[[str, Status], None] | None = None,
        client_id: str = "waycue-server",
        tls: ssl.SSLContext | None = None,
        lets_in: Callable[[str], bool] | None = None,
        again: Callable[[], bool] | None = None,
        listen: Sequence[str] = (topics.UP_ALL, topics.STATUS_ALL),
        lasting: bool = True,
    ) -> None:
        self.host, self.port = host, port
        self.ready = threading.Event()
        """Set while connected and subscribed."""
        self.counters: Counter[str] = Counter()
        """messages, replies, handler_errors, foreign, not_enrolled, dropped, connects."""
        self._handlers = dict(handlers)
        self._settle = settle
        self._on_status = on_status
        self._lets_in = lets_in
        self._again = again
        self._listen = tuple(listen)
        self._lasting = lasting
        self._retained: dict[str, bytes] = {}
        self._odd: set[str] = set()
        self._session = 0
        self._inbox: queue.SimpleQueue[_Inbound | None] = queue.SimpleQueue()
        self._worker = Background(self._work, name="server link", wake=lambda: self._inbox.put(None))
        self._client = self._new_client(client_id, tls)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost; wait on `ready` where it matters."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own gap
        properties.SessionExpiryInterval = SESSION_S if self._lasting else 0
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        self._worker.start()
        clean = not self._lasting
        self._client.connect_async(self.host, self.port, KEEPALIVE_S, clean_start=clean, properties=properties)
        self._client.loop_start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish the batch under way and disconnect. Idempotent."""
        self._worker.close(timeout_s)
        self._client.disconnect()
        within(timeout_s, self._client.loop_stop, name="server link's stop")  # it may hang in a name look-up
        self.ready.clear()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Send; False where there is no connection. Retained messages are then sent once there is one."""
        if retain:
            self._retained[topic] = payload
        if not self.ready.is_set():
            return False
        return self._client.publish(topic, payload, qos=qos, retain=retain).rc == mqtt.MQTT_ERR_SUCCESS

    # paho's thread

    def _new_client(self, client_id: str, tls: ssl.SSLContext | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(1, RECONNECT_MAX_S)
        if tls is not None:
            client.tls_set_context(tls)
        client.max_queued_messages_set(MAX_WAITING)
        client.on_pre_connect = _forget_old_answers
        client.on_socket_open = _no_delay
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        return client

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        if reason.is_failure:
            _log.error("The broker %s:%s refused the server: %s", self.host, self.port, reason)
            return
        self._session += 1
        self.counters["connects"] += 1
        client.subscribe([(topic, _wishes(topic)) for topic in self._listen])

    def _subscribed(
        self, client: mqtt.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error("The broker does not let the server hear the devices: %s", [str(reason) for reason in reasons])
            return
        for topic, payload in list(self._retained.items()):
            client.publish(topic, payload, qos=1, retain=True)
        self.ready.set()
        _log.info("Connected to the broker %s:%s.", self.host, self.port)

    def _disconnected(
        self,
        _client: mqtt.Client,
        _data: Any,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _props: Properties | None,
    ) -> None:
        self.ready.clear()
        if reason.is_failure:
            _log.warning("The connection to the broker %s:%s ended: %s", self.host, self.port, reason)

    def _received(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if message.qos == 0 and self._inbox.qsize() > MAX_WAITING:
            self.counters["dropped"] += 1
            return
        self._inbox.put(_Inbound(self._session, message.mid, message.qos, topic, bytes(message.payload)))

    # the worker

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            inbound = [message for message in batch if message is not None]
            if inbound or not batch:
                self._handle(inbound)
            if batch and batch[-1] is None:
                return

    def _next_batch(self) -> list[_Inbound | None]:
        """What came, at least one; nothing where something is to be settled again first."""
        try:
            batch = [self._inbox.get(timeout=AGAIN_S if self._again is not None and self._again() else None)]
        except queue.Empty:
            return []
        while len(batch) < BATCH and batch[-1] is not None and not self._inbox.empty():
            batch.append(self._inbox.get())
        return batch

    def _handle(self, batch: list[_Inbound]) -> None:
        replies: list[Reply] = []
        newest = {message.topic: message for message in batch}
        for message in batch:
            self.counters["messages"] += 1
            if message.topic.endswith("/status") and newest[message.topic] is not message:
                continue  # each costs a transaction: a device that says it all the time must not hold up the others
            replies += self._guarded(lambda m=message: self._dispatch(m))  # type: ignore[misc]  # bound per message
        if self._settle is not None:
            replies += self._guarded(self._settle)
        for topic, payload in replies:
            if self.ready.is_set():  # else the device asks again; paho would pile them up in memory
                sent = self._client.publish(topic, payload, qos=1).rc == mqtt.MQTT_ERR_SUCCESS
                self.counters["replies" if sent else "dropped"] += 1
        for message in batch:
            if message.qos and message.session == self._session:
                self._client.ack(message.mid, message.qos)

    def _guarded(self, work: Callable[[], list[Reply]]) -> list[Reply]:
        try:
            return work()
        except Exception:  # noqa: BLE001  the top of this task: one message must not cost everybody else's
            self.counters["handler_errors"] += 1
            _log.exception("A message could not be handled.")
            return []

    def _dispatch(self, message: _Inbound) -> list[Reply]:
        place = topics.levels(message.topic)
        if place is None:
            self.counters["foreign"] += 1
            return []
        device, levels = place
        if self._lets_in is not None and not self._lets_in(device):
            if self.counters["not_enrolled"] % COMPLAIN_EVERY == 0:
                _log.warning("A message of %s is not read: this device is not enrolled.", device)
            self.counters["not_enrolled"] += 1
            return []
        if levels == ["status"]:
            self._status(device, message.payload)
            return []
        handler = self._handlers.get(levels[1], self._handlers[""]) if len(levels) == 2 else self._handlers[""]
        return handler(device, levels, message.payload)

    def _status(self, device: str, payload: bytes) -> None:
        if not payload or self._on_status is None:
            return  # an empty retained message only clears the topic
        try:
            status = messages.decode(Status, payload)
        except MessageError as error:
            self.counters["foreign"] += 1
            if device not in self._odd and len(self._odd) < COMPLAIN_EVERY:  # once: it must not fill the log
                self._odd.add(device)
                _log.warning("The status of %s cannot be read: %s", device, error)
            return
        self._on_status(device, status)


def _wishes(topic: str) -> SubscribeOptions:
    # A status is retained by design. Whatever else is, no device of ours left there: a million of them, left by one
    # that was let in and means harm, would come at each of our starts, long after it was revoked.
    if topic == topics.STATUS_ALL:
        return SubscribeOptions(qos=1)
    return SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)


def _forget_old_answers(client: mqtt.Client, _data: Any) -> None:
    # paho would send them after the reconnect, when they are no longer true; the devices ask anyway.
    client.drop_out_messages()


def _no_delay(_client: mqtt.Client, _data: Any, connection: Any) -> None:
    # An answer is small, and a device waits for it: not 40 ms for the TCP acknowledgement of the one before.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
