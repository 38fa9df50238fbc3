"""The device's link: sends what the outbox holds, deletes on the server's own word, and hears what comes down.

Promises:

1. Nothing is taken for delivered because a broker acknowledged it: only the server's `merged` counts.
2. What is not sent stays on disk, not in RAM: at most eight parts and their begins and ends are handed to paho.
3. Retry lives here: reconnecting for ever, with full jitter (a city of devices must not come back at one instant).
   A permanent refusal goes to the outbox as such and is not tried again. What the server wants later waits.
4. What may not be sent for now (`allow`) stops at once, in the middle of a file too: what is in the window still goes
   out, nothing after it. The connection stays.
5. `stop` says offline to everybody and never hangs; without it the broker publishes the last will.

One thread owns the connection and all decisions, which are made in device.sync.uploads and shared.transfer. Other
threads only put things into its queues and wake it.
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
from dataclasses import replace

from device.outbox.outbox import Item, Outbox
from device.sync import uploads
from device.sync.connection import Connection
from device.sync.outgoing import Outgoing, message_of
from device.sync.uploads import (
    Allow,
    Allowed,
    Answered,
    Failed,
    Merged,
    Paused,
    Refused,
    Released,
    Say,
    Took,
    Uploads,
    UploadsEvent,
)
from shared import messages, topics
from shared.background import Background
from shared.backoff import exponential_s
from shared.clock import Clock
from shared.errors import MediaError, MessageError, Permanent, Unreachable
from shared.messages import Ack, Status
from shared.mqtt import CONNECT_TIMEOUT_S
from shared.transfer import PART_BYTES, Offline, Online, Ranges, SenderTick, part_bytes

HANDSHAKE_S = 10.0  # from TCP connect to being subscribed; a half-open broker must not hold us for ever
IDLE_S = 0.5  # the longest wait between two looks at the timers
GOODBYE_S = 2.0
STABLE_S = 10.0  # a connection that lasted this long starts the backoff afresh
MAX_ATTEMPT_IF_USEFUL = 4  # at most 8 s between short connections that each get something across
SUSPICIOUS = 3  # short connections in a row
BACKOFF_BASE_S = 0.5
BACKOFF_MAX_S = 30.0
LET_IN_AGAIN = "was it locked out? A new code lets it in again: waycue-server devices add, waycue-device enroll"
REJECTED_MAX_S = 300.0  # a broker that knows us and says no: only a person changes that
REQUESTS_EVERY_S = 1.0
MAX_WAITING = 64  # messages of others (block requests, telemetry) that wait for their turn
FORGET_AFTER = 16  # deleting merged records costs the disk less in batches
_log = logging.getLogger(__name__)

Handler = Callable[[list[str], bytes], None]


class Link:
    """One device's link. outbox: what to send. clock: for timers. on_state(text): "online" or "offline: why", on the
    link's thread, at every change. status: the first retained status. part_bytes: most bytes of a part. allowed: what
    may be sent until `allow` says otherwise. tls: None = plain TCP. draw: random numbers 0..1 for the jitter."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        device: str,
        outbox: Outbox,
        clock: Clock,
        on_state: Callable[[str], None] | None = None,
        status: Status | None = None,
        part_bytes: int = PART_BYTES,
        allowed: Allowed = "all",
        tls: ssl.SSLContext | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.host, self.port, self.device = host, port, device
        self.sent_bytes = 0
        """Bytes of records and files handed to the connection, repeats included."""
        self.resent_bytes = 0
        """Those of them that this process had sent before."""
        self.counters: Counter[str] = Counter()
        """connects, rejected, merged, refused, paused, foreign, handler_errors, disk_errors, broker_refusals."""
        self.server_waits = ""
        """Why the server does not take something now; "" = it takes everything."""
        self._outbox = outbox
        self._clock = clock
        self._on_state = on_state
        self._status = status or Status(online=True)
        self._part_bytes = part_bytes
        self._tls = tls
        self._draw = draw
        self._handlers: dict[str, Handler] = {}
        self._connection: Connection | None = None
        self._allowed = allowed
        self._uploads = Uploads(allowed=allowed)
        self._outgoing: deque[Outgoing] = deque()
        self._asked: deque[Outgoing] = deque()  # from other threads
        self._answers: deque[Answered] = deque()
        self._merged: list[Item] = []
        self._refused: list[Refused] = []
        self._unforgotten = 0
        self._status_changed = False
        self._writing = False
        self._look = True  # the outbox may hold something that is not claimed yet
        self._requests_s = float("-inf")
        self._heard = False
        self._rejected = False
        self._cut_short = 0
        self._state = self._why_offline = ""
        self._trouble = ""
        self._online = threading.Event()
        self._idle = threading.Condition()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._background = Background(self._run, name="device link", wake=self._wake)
        self._stop = self._background.stopping
        outbox.on_change(self._sealed)

    # for other threads

    @property
    def online(self) -> bool:
        """Connected, and the server can reach us."""
        return self._online.is_set()

    @property
    def why_offline(self) -> str:
        """What the last try or connection ended with, and what to do where a person must; "" = online, or not tried."""
        return "" if self.online else self._why_offline

    @property
    def unacked(self) -> int:
        """Messages that the broker has not acknowledged: all that paho holds in memory."""
        connection = self._connection
        return connection.unacked if connection is not None else 0

    def start(self) -> None:
        """Begin to connect, and to send."""
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
        if connection is None or not self.online or len(self._asked) >= MAX_WAITING or not connection.fits(payload):
            return False
        self._asked.append(Outgoing(topic, payload, qos, retain))
        self._wake()
        return True

    def set_status(self, status: Status) -> None:
        """Publish this as the retained status, now or when connected. The last will follows at the next connection."""
        self._status = status
        self._status_changed = True
        self._wake()

    def allow(self, allowed: Allowed) -> None:
        """What may be sent from now on. Any thread; returns at once."""
        if allowed != self._allowed:
            self._allowed = allowed
            self._wake()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is left to send. False where the time is over first."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._writing and self._outbox.counts().queued == 0, timeout_s)

    def _sealed(self) -> None:
        self._look = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it has ended
            self._wake_in.send(b"\0")

    # the thread

    def _run(self) -> None:
        self._on_disk(self._outbox.forget_merged)  # what an earlier life did not come to
        attempt = 0
        while not self._stop.is_set():
            self._heard = self._rejected = False
            started_s = self._clock.monotonic_s()
            try:
                reason = self._connect_and_serve()
            except Exception:  # noqa: BLE001  the top of this task: a wearer's link must outlive a bug in it
                _log.exception("The link failed in a way nobody thought of; it connects again.")
                reason = "an error inside the link; see the log"
            lasted = self._clock.monotonic_s() - started_s >= STABLE_S
            self._cut_short = 0 if lasted or not self.online else self._cut_short + 1
            self._went_offline(reason if self._cut_short < SUSPICIOUS else f"{reason}; {self._suspicion()}")
            attempt = 0 if lasted else min(attempt + 1, MAX_ATTEMPT_IF_USEFUL) if self._heard else attempt + 1
            most_s = REJECTED_MAX_S if self._rejected else BACKOFF_MAX_S
            self._stop.wait(exponential_s(attempt, base_s=BACKOFF_BASE_S, max_s=most_s, jitter=self._draw()))
        self._outbox.release([upload.item for upload in self._uploads.active])
        self._on_disk(self._outbox.forget_merged)

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
            on_message=self._received,
            tls=self._tls,
        )
        self._connection = connection
        try:
            connection.open(self.host, self.port)
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
                return connection.refusal or f"the connection to {self.host}:{self.port} was lost"
            if connection.subscribed and not self.online:
                self._went_online(connection)
            elif not self.online and self._clock.monotonic_s() > give_up_s:
                return f"the broker {self.host}:{self.port} does not answer"
            if self.online:
                self._work(connection)
        self._say_goodbye(connection)
        return "stopped"

    def _work(self, connection: Connection) -> None:
        heard = bool(self._answers)
        while self._answers:
            self._decide(self._answers.popleft())
        self._write_down()
        self._apply_allowed()
        self._take_requests()
        if not self._claim() and not heard:  # any other event looks at the timers, too
            self._decide(SenderTick())
        if self._status_changed:
            self._status_changed = False
            self._outgoing.append(self._status_message(self._status))
        while self._asked:
            self._outgoing.append(self._asked.popleft())
        while self._outgoing and connection.room:
            self._hand_over(connection, self._outgoing.popleft())

    def _apply_allowed(self) -> None:
        if self._allowed == self._uploads.allowed:
            return
        _log.info("Link %s: may send %s", self.device, self._allowed)
        self._decide(Allow(self._allowed))
        self._look = True

    def _take_requests(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._requests_s >= REQUESTS_EVERY_S:
            self._requests_s = now_s
            self._on_disk(self._outbox.take_requests)

    def _claim(self) -> bool:
        """Whether there was more to send."""
        small, bulk = self._uploads.wanted
        if not self._look or (small < 1 and bulk < 1):
            return False
        self._look = False
        items: list[Item] = []

        def claim() -> None:
            items.extend(self._outbox.claim(small))
            if len(items) < small:
                items.extend(self._outbox.claim(bulk, bulk=True))

        if not self._on_disk(claim) or items:
            self._look = True  # there may be more than fitted; never set to False here: a seal may have come meanwhile
        if items:
            self._decide(Took(tuple(items)))
        return bool(items)

    def _decide(self, event: UploadsEvent) -> None:
        self._uploads, actions = uploads.step(self._uploads, event, self._clock.monotonic_s())
        for action in actions:
            match action:
                case Say():
                    self._say(action)
                case Merged(item=item):
                    self._merged.append(item)
                case Refused():
                    self._refused.append(action)
                case Released(item=item):
                    self._outbox.release([item])
                case Paused(item=item, reason=reason):
                    self.counters["paused"] += 1
                    self.server_waits = f"the server wants some of it later: {reason or 'it does not say why'}"
                    _log.info("%s waits: %s", item.name, self.server_waits)

    def _write_down(self) -> None:
        """Put what the server said into the outbox; where the disk fails, try again at the next turn."""
        if not self._merged and not self._refused:
            return
        self._writing = True
        if self._merged and self._on_disk(lambda: self._outbox.merged(self._merged)):
            self.counters["merged"] += len(self._merged)
            self._unforgotten += len(self._merged)
            self._merged = []
        while self._refused and self._on_disk(lambda: self._outbox.refused(*_item_and_reason(self._refused[0]))):
            self.counters["refused"] += 1
            self._refused.pop(0)
        self._look = True
        if self._unforgotten >= FORGET_AFTER or not self._uploads.active:
            self._unforgotten = 0
            self._on_disk(self._outbox.forget_merged)
        with self._idle:
            self._writing = False
            self._idle.notify_all()

    def _on_disk(self, work: Callable[[], object]) -> bool:
        """Work on the outbox; False where the disk did not let us. Said once, not at every try."""
        try:
            work()
        except OSError as error:
            self.counters["disk_errors"] += 1
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.error("The outbox cannot be written; the link tries again: %s", error)
            return False
        self._trouble = ""
        return True

    def _say(self, say: Say) -> None:
        connection = self._connection
        try:
            message = message_of(self.device, say)
        except (FileNotFoundError, MediaError) as error:
            _log.error("%s is not what was sealed: %s", say.item.path, error)
            self._decide(Failed(say.item.name, f"it cannot be read on the device ({error})"))
            return
        except OSError as error:
            _log.error("%s cannot be read now; the server will be asked what it lacks: %s", say.item.path, error)
            return
        if connection is not None and not connection.fits(message.payload):
            reason = f"larger than the {connection.max_packet_bytes} bytes that the broker takes"
            self._decide(Failed(say.item.name, reason))
            return
        self._outgoing.append(message)

    def _hand_over(self, connection: Connection, message: Outgoing) -> None:
        if connection.send(message.topic, message.payload, qos=message.qos, retain=message.retain):
            self.sent_bytes += message.file_bytes
            self.resent_bytes += message.again_bytes

    def _went_online(self, connection: Connection) -> None:
        size = part_bytes(self._part_bytes, connection.max_packet_bytes)
        self.counters["connects"] += 1
        self._status_changed = False
        self._outgoing.append(self._status_message(self._status))
        self._look = True
        self._online.set()
        self._tell_state("online")
        self._apply_allowed()
        self._decide(Online(size))

    def _went_offline(self, reason: str) -> None:
        self._online.clear()
        if self._connection is not None and self._connection.broker_refusals:
            self.counters["broker_refusals"] += self._connection.broker_refusals
            _log.warning("The broker did not take some messages: %s", self._connection.last_broker_refusal)
        self._connection = None
        for waiting in (self._outgoing, self._asked, self._answers):
            waiting.clear()
        self._decide(Offline())
        self._write_down()
        self._why_offline = f"{reason}; {LET_IN_AGAIN}" if self._rejected else reason
        self._tell_state(f"offline: {reason}")

    def _tell_state(self, state: str) -> None:
        if state == self._state:
            return
        self._state = state
        _log.info("Link %s: %s", self.device, state)
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

    def _received(self, topic: str, payload: bytes) -> None:
        place = topics.levels(topic)
        if place is None or place[0] != self.device or place[1][0] != "down":
            self.counters["foreign"] += 1
            return
        levels = place[1][1:]
        handler = self._handlers.get(levels[0]) if levels else None
        if len(levels) == 2 and levels[1] == "ack":
            self._acknowledged(levels[0], payload)
        elif handler is not None:
            self._guarded(lambda: handler(levels, payload))
        else:
            self.counters["foreign"] += 1

    def _acknowledged(self, name: str, payload: bytes) -> None:
        try:
            ack = messages.decode(Ack, payload)
            Ranges.of(ack.ranges)
        except MessageError as error:
            self.counters["foreign"] += 1
            _log.warning("An answer about %s cannot be read: %s", name, error)
            return
        self._heard = True
        if ack.state in ("merged", "receiving"):
            self.server_waits = ""
        self._answers.append(Answered(name, ack))

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001  somebody else's code: its failure must not cost the wearer the link
            self.counters["handler_errors"] += 1
            _log.exception("A handler of the link failed.")


def _item_and_reason(refused: Refused) -> tuple[Item, str]:
    return refused.item, refused.reason
