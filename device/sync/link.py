"""The device's link: connects for ever, sends what the outbox holds, and hears what comes down.

Promises:

1. Nothing counts as delivered because a broker acknowledged it: only the server's `merged` counts.
2. What is not sent stays on disk, not in RAM: at most 512 KiB of files are handed to paho without the broker's PUBACK.
3. Retry lives here: reconnecting for ever, with full jitter (a city of devices must not come back at one instant).
   A permanent refusal goes to the outbox as such and is not tried again. What the server wants later waits.
4. What may not be sent for now (`allow`) stops at once, in the middle of a file too: what is in the window still goes
   out, nothing after it. The connection stays.
5. `stop` says offline to everybody and never hangs; without it the broker publishes the last will.

One thread owns the connection and the delivery (device.sync.delivery). Other threads only put things into its queues
and wake it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.outbox.late import LateOutbox
from device.outbox.outbox import Outbox
from device.sync.connection import Connection
from device.sync.delivery import Delivery
from device.sync.outgoing import HandedOver, Outgoing
from device.sync.reconnect import STABLE_S, next_attempt, wait_s
from device.sync.uploads import Allowed
from shared import messages, topics
from shared.background import Background
from shared.clock import Clock
from shared.errors import Permanent, Unreachable
from shared.messages import Status
from shared.mqtt import CONNECT_TIMEOUT_S
from shared.transfer import MAX_PART_BYTES, part_bytes

HANDSHAKE_S = 10.0  # from TCP connect to being subscribed; a half-open broker must not hold us for ever
IDLE_S = 0.5  # the longest wait between two looks at the timers
GOODBYE_S = 2.0
SUSPICIOUS = 3  # short connections in a row
LET_IN_AGAIN = "was it locked out? A new code lets it in again: waycue-server devices add, waycue-device enroll"
MAX_WAITING = 64  # messages of others (block requests, renewals) that wait for their turn
logger = logging.getLogger(__name__)

Handler = Callable[[list[str], bytes], None]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Which broker, and under which name."""

    host: str
    port: int
    device: str
    tls: ssl.SSLContext | None = None
    """None = plain TCP."""
    part_bytes: int = MAX_PART_BYTES
    """Most bytes of a part; shared.link_speed says how much of it."""


@dataclass(frozen=True, slots=True)
class LinkPorts:
    outbox: Outbox | LateOutbox
    """What to send."""
    clock: Clock
    """For timers."""
    on_state: Callable[[str], None] | None = None
    """Called with "online" or "offline: why", on the link's thread, at every change."""
    draw: Callable[[], float] = random.random
    """Random numbers 0..1 for the jitter."""


class Link:
    """One device's link. status: the first retained status. allowed: what may be sent until `allow` says otherwise."""

    def __init__(
        self, settings: LinkSettings, ports: LinkPorts, *, status: Status | None = None, allowed: Allowed = "all"
    ) -> None:
        self.device = settings.device
        self.sent_bytes = 0
        """Bytes of records and files handed to the connection, repeats included."""
        self.resent_bytes = 0
        """Those of them that this process had sent before."""
        self.counters: Counter[str] = Counter()
        """connects, rejected, merged, refused, paused, foreign, handler_errors, disk_errors, broker_refusals."""
        self.delivery = Delivery(self.device, ports.outbox, ports.clock, self.counters, allowed)
        self._settings = settings
        self._broker = f"{settings.host}:{settings.port}"
        self._clock = ports.clock
        self._on_state = ports.on_state
        self._draw = ports.draw
        self._status = status or Status(online=True)
        self._status_changed = False
        self._handlers: dict[str, Handler] = {}
        self._connection: Connection | None = None
        self._handed = HandedOver()
        self._requested: deque[Outgoing] = deque()  # from other threads
        self._rejected = False
        self._cut_short = 0
        self._state = ""
        self._why_offline: str | None = None
        self._online = threading.Event()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._background = Background(self._run, name="device link", wake=self._wake)
        self._stop = self._background.stopping
        ports.outbox.on_change(self._sealed)

    # for other threads

    @property
    def online(self) -> bool:
        """Connected, and the server can reach us."""
        return self._online.is_set()

    @property
    def why_offline(self) -> str | None:
        """What the last try or connection ended with, and what to do where a person must; None = online, or not
        tried."""
        return None if self.online else self._why_offline

    @property
    def server_waits(self) -> str | None:
        """Why the server does not take something now; None = it takes everything."""
        return self.delivery.server_waits

    @property
    def unacked(self) -> int:
        """Messages that the broker has not acknowledged: all that paho holds in memory."""
        connection = self._connection
        return connection.unacked if connection is not None else 0

    def start(self) -> None:
        self._background.start()

    def stop(self, timeout_s: float = CONNECT_TIMEOUT_S + GOODBYE_S + 3.0) -> None:
        """Say offline and end. What is not sent stays in the outbox. Idempotent; returns after `timeout_s` at the
        latest: a name look-up that hangs holds only the thread, which ends with the process."""
        if self._background.close(timeout_s):
            self._wake_in.close()
            self._wake_out.close()

    def on(self, level: str, handler: Handler) -> None:
        """Call handler(levels, payload) for messages on wc/v1/<device>/down/<level>…; levels begin with `level`.

        Before `start`. It runs on the link's thread: be quick. What it raises is logged and counted.
        """
        self._handlers[level] = handler

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Send a message of one's own. False where it cannot be: offline, too many waiting, or too large for the
        broker. It is never kept for later: whoever needs it asks again."""
        connection = self._connection
        if connection is None or not self.online or len(self._requested) >= MAX_WAITING or not connection.fits(payload):
            return False
        self._requested.append(Outgoing(topic, payload, qos, retain))
        self._wake()
        return True

    def set_status(self, status: Status) -> None:
        """Publish this as the retained status, now or when connected. The last will follows at the next connection."""
        self._status = status
        self._status_changed = True
        self._wake()

    def allow(self, allowed: Allowed) -> None:
        """What may be sent from now on. Any thread; returns at once."""
        if self.delivery.allow(allowed):
            self._wake()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is left to send. False where the time is over first."""
        return self.delivery.wait_idle(timeout_s)

    def _sealed(self) -> None:
        self.delivery.look_again()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it has ended
            self._wake_in.send(b"\0")

    # the thread

    def _run(self) -> None:
        self.delivery.open()
        attempt = 0
        while not self._stop.is_set():
            self._rejected = False
            started_s = self._clock.monotonic_s()
            try:
                reason = self._connect_and_serve()
            except Exception:
                logger.exception("The link failed in a way nobody thought of; it connects again.")
                reason = "an error inside the link; see the log"
            lasted_s = self._clock.monotonic_s() - started_s
            self._cut_short = 0 if lasted_s >= STABLE_S or not self.online else self._cut_short + 1
            useful = self.delivery.answered
            self._went_offline(reason if self._cut_short < SUSPICIOUS else f"{reason}; {self._suspicion()}")
            attempt = next_attempt(attempt, lasted_s=lasted_s, useful=useful)
            self._stop.wait(wait_s(attempt, rejected=self._rejected, jitter=self._draw()))
        self.delivery.close()

    def _suspicion(self) -> str:
        # Mosquitto 2.0 does not say so when a second client takes a name over; a copied SD card is how it happens.
        return f"is another device named {self.device} running?"

    def _connect_and_serve(self) -> str:
        """One connection, from its beginning to its end. Returns why it ended."""
        will = self._status_message(replace(self._status, online=False))
        connection = Connection(
            self.device,
            listen=topics.down(self.device),
            will=(will.topic, will.payload),
            on_message=self.on_message,
            tls=self._settings.tls,
        )
        self._connection = connection
        try:
            connection.open(self._settings.host, self._settings.port)
            return self._serve(connection)
        except (Unreachable, Permanent) as error:
            self._note_rejection(connection)
            return str(error)
        finally:
            connection.close()

    def _note_rejection(self, connection: Connection) -> None:
        self._rejected = connection.rejected
        self.counters["rejected"] += connection.rejected

    def _serve(self, connection: Connection) -> str:
        give_up_s = self._clock.monotonic_s() + HANDSHAKE_S
        while not self._stop.is_set():
            alive = connection.exchange(IDLE_S, self._wake_out)
            if connection.refusal is not None or not alive:
                self._note_rejection(connection)
                return connection.refusal or f"the connection to {self._broker} was lost"
            if connection.subscribed and not self.online:
                self._went_online(connection)
            elif not self.online and self._clock.monotonic_s() > give_up_s:
                return f"the broker {self._broker} does not answer"
            if self.online:
                self._work(connection)
        self._say_goodbye(connection)
        return "stopped"

    def _work(self, connection: Connection) -> None:
        self.delivery.turn()
        outgoing = self.delivery.outgoing
        if self._status_changed:
            self._status_changed = False
            outgoing.append(self._status_message(self._status))
        while self._requested:
            outgoing.append(self._requested.popleft())
        while outgoing and connection.room:
            self._hand_over(connection, outgoing.popleft())

    def _hand_over(self, connection: Connection, message: Outgoing) -> None:
        told = connection.send(
            message.topic, message.payload, qos=message.qos, retain=message.retain, file_bytes=message.file_bytes
        )
        if told:
            self.sent_bytes += message.file_bytes
            self.resent_bytes += self._handed.note(message)

    def _went_online(self, connection: Connection) -> None:
        self.counters["connects"] += 1
        self._status_changed = False
        self.delivery.outgoing.append(self._status_message(self._status))
        self._online.set()
        self._report_state("online")
        self.delivery.online(connection, part_bytes=part_bytes(self._settings.part_bytes, connection.max_packet_bytes))

    def _went_offline(self, reason: str) -> None:
        self._online.clear()
        if self._connection is not None and self._connection.broker_refusals:
            self.counters["broker_refusals"] += self._connection.broker_refusals
            logger.warning("The broker did not take some messages: %s", self._connection.last_broker_refusal)
        self._connection = None
        self._requested.clear()
        self.delivery.offline()
        self._why_offline = f"{reason}; {LET_IN_AGAIN}" if self._rejected else reason
        self._report_state(f"offline: {reason}")

    def _report_state(self, state: str) -> None:
        if state == self._state:
            return
        self._state = state
        logger.info("Link %s: %s", self.device, state)
        listener = self._on_state
        if listener is not None:
            self._guarded(lambda: listener(state))

    def _say_goodbye(self, connection: Connection) -> None:
        if self.online:
            message = self._status_message(replace(self._status, online=False))
            connection.send(message.topic, message.payload, retain=True)
            end_s = self._clock.monotonic_s() + GOODBYE_S
            while connection.unacked and self._clock.monotonic_s() < end_s and connection.exchange(0.1):
                pass
        connection.disconnect()

    def _status_message(self, status: Status) -> Outgoing:
        return Outgoing(topics.status(self.device), messages.encode(status), retain=True)

    # what comes down

    def on_message(self, topic: str, payload: bytes) -> None:
        """A message came: an answer of the server, or one for a handler. On the link's thread."""
        place = topics.levels(topic)
        levels = place[1][1:] if place is not None and place[0] == self.device and place[1][0] == "down" else []
        handler = self._handlers.get(levels[0]) if levels else None
        if len(levels) == 2 and levels[1] == "ack":
            self.delivery.acknowledge(levels[0], payload)
        elif levels == ["credit"]:
            self.delivery.granted(payload)
        elif handler is not None:
            self._guarded(lambda: handler(levels, payload))
        else:
            self.counters["foreign"] += 1

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:
            self.counters["handler_errors"] += 1
            logger.exception("A handler of the link failed.")
