"""The server's side of the broker: hears every device, hands each message to its handler, and sends the answers.

Promises:

1. A message is acknowledged to the broker only after its handler and the settlement that follows returned: until then
   the broker keeps it and brings it again. Handlers are idempotent.
2. No message and no handler's failure ends the loop: it is logged with its traceback, counted, and the next one comes.
3. Of the statuses that wait the newest of each device is handed on, all together: a fleet that comes home costs a few
   transactions, none of them on the thread that hands out messages.
4. It reconnects for ever. Retained messages (offers) are published again after each reconnect: a broker may forget.
5. `stop` ends both threads, and does not hang.

Three threads: paho's, which only moves messages; one worker, so that a slow disk never costs the keepalive; and one on
which a settlement waits for the disk while the worker hands out the next messages.
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, assert_never

from shared import messages, mqtt, topics
from shared.background import Background
from shared.errors import MessageError, Transient
from shared.messages import Status
from shared.topics import Reply

Handler = Callable[[str, list[str], bytes], list[Reply]]
"""(device, levels after it, payload) -> what to publish."""

RECONNECT_MAX_S = 10  # one server per broker: no herd to spread
SESSION_S = 24 * 3600  # a server that restarts within a day gets what devices sent meanwhile
MAX_PACKET_BYTES = 2 * 1024 * 1024  # the broker discards what is larger before it reaches our memory
BATCH = 64
SETTLE_AGAIN_S = 0.01  # while something waits for another process
GATHER_S = 0.01  # from one settlement to the next: each has some 15 statements and 3 rounds of fsync, for whatever came
LOG_EVERY = 1000  # messages of strangers: they must not fill the log either
MAX_WAITING = 1000  # only messages at QoS 0 can come faster than we acknowledge; more of them are dropped
# So many answers may wait for a broker that does not take them: some for each of a fleet that comes home at once. Who
# lost a grant asks again only after a minute, and holds what others wait for.
MAX_ANSWERS = 20_000
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BrokerSession:
    """How this process connects to the broker."""

    host: str
    port: int
    client_id: str = "waycue-server"
    """One per running process, and the name in its certificate."""
    tls: ssl.SSLContext | None = None
    """None = plain TCP."""
    filters: tuple[str, ...] = (topics.UP_ALL, topics.STATUS_ALL)
    persistent: bool = True
    """The broker keeps what comes for us while we are away. Never for one of several processes: others take over."""


class Settling(Protocol):
    """What was handled, made durable and answered in three steps; server.ingest.ingest.Ingest."""

    def begin(self) -> list[Reply]:
        """On the worker. Everything handled so far is in it."""
        ...

    def run(self) -> None:
        """On another thread, while the worker goes on handling."""
        ...

    def finish(self) -> list[Reply]:
        """On the worker, after `run`."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What the link calls, from its worker thread."""

    handle: Handler
    """Takes a message on `up/#`."""
    by_topic: Mapping[str, Handler] = field(default_factory=dict)
    """Handlers of `up/want` and the like, by that one level."""
    settling: Settling | None = None
    """After messages; its replies are sent before these are acknowledged. None = there is nothing to settle."""
    waits: Callable[[], bool] = bool
    """Whether to settle soon although nothing came."""
    on_status: Callable[[str, Status], None] = lambda _device, _status: None
    """Takes a device's retained status in its turn, also right after connecting. It must wait for nothing."""
    on_statuses: Callable[[Mapping[str, Status]], None] = lambda _statuses: None
    """Takes the newest statuses of all devices that sent one since the last settlement, by name; before these are
    acknowledged, and where there are settlements on their thread. Idempotent: it is called for each by itself where it
    raises anything but what is the machine's fault."""
    is_enrolled: Callable[[str], bool] = lambda _device: True
    """Whether a device's messages are handled."""


@dataclass(frozen=True, slots=True)
class _Inbound:
    session: int
    """Counts connections: an acknowledgement must not go to a later one, where its number means another message."""
    message: mqtt.MessageReceived

    @property
    def topic(self) -> str:
        return self.message.topic


@dataclass(frozen=True, slots=True)
class _Ran:
    """The settlement under way has run."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Something to be done on the worker's thread."""

    work: Callable[[], list[Reply]]


class ServerLink:
    """The server's connection."""

    def __init__(self, session: BrokerSession, ports: Ports) -> None:
        self.host, self.port = session.host, session.port
        self.ready = threading.Event()
        """Set while connected and subscribed."""
        self.counters: Counter[str] = Counter()
        """messages, replies, handler_errors, foreign, not_enrolled, dropped, connects."""
        self._ports = ports
        self._retained: dict[str, bytes] = {}
        self._unreadable: set[str] = set()
        """Devices whose status could not be read: logged once each."""
        self._session = 0
        self._inbox: queue.SimpleQueue[_Inbound | _Ran | _Asked | None] = queue.SimpleQueue()
        self._asked: list[_Asked] = []
        """Waits for the end of a settlement."""
        self._settling = ThreadPoolExecutor(1, thread_name_prefix="server link settling")
        self._handled: list[_Inbound] = []
        """Not in a settlement yet."""
        self._statuses: dict[str, Status] = {}
        """The newest of each device that was not handed on yet."""
        self._under_way: list[_Inbound] | None = None
        """What the settlement under way is for; None = there is none."""
        self._begun_s = float("-inf")
        self._worker = Background(self._work, name="server link", wake=lambda: self._inbox.put(None))
        settings = mqtt.MqttSettings(
            session.client_id,
            tuple(map(_subscription, session.filters)),
            tls=session.tls,
            session_s=SESSION_S if session.persistent else 0,
            max_packet_bytes=MAX_PACKET_BYTES,
            manual_ack=True,
            max_queued=MAX_ANSWERS,
            reconnect_max_s=RECONNECT_MAX_S,
        )
        self._client = mqtt.MqttClient(settings, self._on_event)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost; wait on `ready` where it matters."""
        self._worker.start()
        self._client.start(self.host, self.port)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish the batch under way and disconnect. Idempotent."""
        self._worker.close(timeout_s)
        self._settling.shutdown(wait=False)
        self._client.stop(timeout_s)
        self.ready.clear()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Send; False where there is no connection. Retained messages are then sent once there is one."""
        if retain:
            self._retained[topic] = payload
        if not self.ready.is_set():
            return False
        return self._client.publish(topic, payload, qos=qos, retain=retain)

    def do(self, work: Callable[[], list[Reply]]) -> None:
        """Have something done on the worker's thread, while no settlement runs; what it returns is sent. Any thread."""
        self._inbox.put(_Asked(work))

    def hear(self, filters: Sequence[str]) -> None:
        """Subscribe to these too, from now on. Any thread."""
        self._client.hear(filters)

    def unhear(self, filters: Sequence[str]) -> None:
        """End these subscriptions. Any thread."""
        self._client.unhear(filters)

    # paho's thread

    def _on_event(self, event: mqtt.MqttEvent) -> None:
        match event:
            case mqtt.ConnectAccepted():
                self._session += 1
                self.counters["connects"] += 1
            case mqtt.ConnectRefused(reason):
                logger.error("The broker %s:%s refused the server: %s", self.host, self.port, reason)
            case mqtt.Subscribed():
                self._subscribed()
            case mqtt.SubscribeRefused(reasons):
                logger.error("The broker does not let the server hear the devices: %s", list(reasons))
            case mqtt.Disconnected(failure):
                self.ready.clear()
                if failure is not None:
                    logger.warning("The connection to the broker %s:%s ended: %s", self.host, self.port, failure)
            case mqtt.MessageReceived():
                self._received(event)
            case mqtt.PublishAnswered():
                pass  # a device asks again for what the broker refused
            case _:
                assert_never(event)

    def _subscribed(self) -> None:
        for topic, payload in list(self._retained.items()):
            self._client.publish(topic, payload, retain=True)
        self.ready.set()
        logger.info("Connected to the broker %s:%s.", self.host, self.port)

    def _received(self, message: mqtt.MessageReceived) -> None:
        if message.qos == 0 and self._inbox.qsize() > MAX_WAITING:
            self.counters["dropped"] += 1
            return
        self._inbox.put(_Inbound(self._session, message))

    # the worker

    def _work(self) -> None:
        ended = False  # then what has come is settled, and nothing more is taken
        while not ended or self._under_way is not None:
            batch = self._next_batch()
            self._take(batch, ended=ended)
            ended = ended or None in batch
            if self._under_way is None and (self._handled or not batch) and (ended or self._gathered_in_s() <= 0):
                self._settle()

    def _take(self, batch: list[_Inbound | _Ran | _Asked | None], *, ended: bool) -> None:
        if any(isinstance(one, _Ran) for one in batch):
            self._finish_settlement()
        if not ended:  # what comes after the end stays with the broker
            self._handle([one for one in batch if isinstance(one, _Inbound)])
        self._do([one for one in batch if isinstance(one, _Asked)])

    def _do(self, more: list[_Asked]) -> None:
        self._asked += more
        if self._under_way is None:
            asked, self._asked = self._asked, []
            for one in asked:
                self._send(self._guarded(one.work))

    def _gathered_in_s(self) -> float:
        """How long messages are gathered still before the next settlement."""
        return 0.0 if self._ports.settling is None else self._begun_s + GATHER_S - time.monotonic()

    def _next_batch(self) -> list[_Inbound | _Ran | _Asked | None]:
        """What came, at least one; nothing where something is to be settled again first."""
        timeout_s = None
        if self._under_way is None:
            timeout_s = SETTLE_AGAIN_S if self._ports.waits() else None
            timeout_s = max(0.0, self._gathered_in_s()) if self._handled else timeout_s
        try:
            batch = [self._inbox.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        while len(batch) < BATCH and isinstance(batch[-1], _Inbound) and not self._inbox.empty():
            batch.append(self._inbox.get())
        return batch

    def _handle(self, batch: list[_Inbound]) -> None:
        replies: list[Reply] = []
        newest = {inbound.topic: inbound for inbound in batch}
        for inbound in batch:
            self.counters["messages"] += 1
            # Its bytes are handled: what waits to be acknowledged must not hold megabytes.
            message = inbound.message
            without = mqtt.MessageReceived(message.topic, b"", message.qos, message.mid)
            self._handled.append(_Inbound(inbound.session, without))
            if inbound.topic.endswith("/status") and newest[inbound.topic] is not inbound:
                continue  # a device that says it all the time must not hold up the others
            replies += self._guarded(partial(self.on_message, inbound.message))
        self._send(replies)

    def _settle(self) -> None:
        handled, self._handled = self._handled, []
        statuses, self._statuses = self._statuses, {}
        settling = self._ports.settling
        if settling is None:
            self._hand_on(statuses)
            self._acknowledge(handled)
            return
        self._under_way, self._begun_s = handled, time.monotonic()
        self._send(self._guarded(settling.begin))
        self._settling.submit(self._run_settlement, settling, statuses)

    def _run_settlement(self, settling: Settling, statuses: Mapping[str, Status]) -> None:
        try:
            self._hand_on(statuses)
            settling.run()
        except Exception:
            self.counters["handler_errors"] += 1
            logger.exception("What devices sent could not be made durable; they send it again.")
        finally:
            self._inbox.put(_Ran())

    def _hand_on(self, statuses: Mapping[str, Status]) -> None:
        """One that cannot be handled costs the others nothing."""
        try:
            if statuses:
                self._ports.on_statuses(statuses)
        except Exception as error:
            if len(statuses) > 1 and not isinstance(error, OSError | Transient):
                for device, status in statuses.items():
                    self._hand_on({device: status})
                return
            self.counters["handler_errors"] += 1
            logger.exception("What %s said of themselves could not be handled.", ", ".join(statuses)[:200])

    def _finish_settlement(self) -> None:
        assert self._ports.settling is not None
        assert self._under_way is not None
        handled, self._under_way = self._under_way, None
        self._send(self._guarded(self._ports.settling.finish))
        self._acknowledge(handled)

    def _acknowledge(self, handled: list[_Inbound]) -> None:
        for inbound in handled:
            if inbound.message.qos and inbound.session == self._session:
                self._client.ack(inbound.message)

    def _send(self, replies: list[Reply]) -> None:
        for topic, payload in replies:
            if self.ready.is_set():  # else the device asks again; paho would pile them up in memory
                sent = self._client.publish(topic, payload)
                self.counters["replies" if sent else "dropped"] += 1

    def _guarded(self, work: Callable[[], list[Reply]]) -> list[Reply]:
        try:
            return work()
        except Exception:
            self.counters["handler_errors"] += 1
            logger.exception("A message could not be handled.")
            return []

    def on_message(self, message: mqtt.MessageReceived) -> list[Reply]:
        """Hand one message on. Returns the replies to it."""
        parsed = topics.levels(message.topic)
        if parsed is None:
            self.counters["foreign"] += 1
            return []
        device, levels = parsed
        if not self._ports.is_enrolled(device):
            if self.counters["not_enrolled"] % LOG_EVERY == 0:
                logger.warning("A message of %s is not read: this device is not enrolled.", device)
            self.counters["not_enrolled"] += 1
            return []
        if levels == ["status"]:
            self._status(device, message.payload)
            return []
        handler = self._ports.by_topic.get(levels[1]) if len(levels) == 2 else None
        return (handler or self._ports.handle)(device, levels, message.payload)

    def _status(self, device: str, payload: bytes) -> None:
        if not payload:
            return  # an empty retained message only clears the topic
        try:
            status = messages.decode(Status, payload)
        except MessageError as error:
            self.counters["foreign"] += 1
            if device not in self._unreadable and len(self._unreadable) < LOG_EVERY:
                self._unreadable.add(device)
                logger.warning("The status of %s cannot be read: %s", device, error)
            return
        self._statuses[device] = status
        self._ports.on_status(device, status)


def _subscription(topic: str) -> mqtt.Subscription:
    # A status is retained by design. Whatever else is, no device of ours left there: a million of them, left by one
    # that was let in and means harm, would come at each of our starts, long after it was revoked.
    return mqtt.Subscription(topic, retained=topic == topics.STATUS_ALL)
