"""Two strangers on the broker: one that only counts what goes over the wire twice, and one that makes mischief.

The `Tap` hears every part that the broker carries and adds up the bytes of a file that it heard before: what a cut, a
kill or a restart made a device send again, over all lives of the device. The `Gremlin` repeats messages, repeats them
in another order, falsifies copies of them, and sends what is no message of ours at all. Neither needs to be let in: the
broker of these tests is an open one on loopback.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from shared import messages, topics
from shared.errors import MessageError
from shared.messages import Status
from shared.transfer import Ranges

REMEMBERED = 64
RECONNECT_S = 0.2


class Stranger:
    """An MQTT client that hears everything but itself. A context manager; it reconnects by itself."""

    def __init__(self, host: str, port: int, name: str, *, filters: tuple[str, ...]) -> None:
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5, clean_session=None
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_message = self._heard
        self._filters = filters
        self._address = (host, port)
        self.ready = threading.Event()

    def hear(self, topic: str, payload: bytes) -> None:
        raise NotImplementedError

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=0)

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([(name, SubscribeOptions(qos=0, noLocal=True)) for name in self._filters])
        self.ready.set()

    def _heard(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if not message.retain:
            self.hear(message.topic, bytes(message.payload))

    def __enter__(self) -> Self:
        self._client.connect(*self._address)
        self._client.loop_start()
        self.ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Tap(Stranger):
    """Adds up, per device, the bytes of files that went to the broker more than once.

    One sum goes from one interruption to the next: to the device's next connection, which begins with its status, or to
    a `mark`, where the other side was interrupted.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, "tap", filters=(topics.UP_ALL, topics.STATUS_ALL))
        self._lock = threading.Lock()
        self._had: dict[tuple[str, str], Ranges] = {}
        self._again: Counter[str] = Counter()
        self._sums: list[tuple[str, int]] = []

    def hear(self, topic: str, payload: bytes) -> None:
        found = topics.levels(topic)
        if found is not None and found[1] == ["status"]:
            self._connected_again(found[0], payload)
        if found is None or len(found[1]) != 3:
            return
        device, (_, transfer, verb) = found
        start = topics.parse_offset(verb)
        if start is None:
            return
        with self._lock:
            had = self._had.get((device, transfer), Ranges())
            part = Ranges(((start, start + len(payload)),))
            self._again[device] += len(payload) - part.minus(had).total
            self._had[device, transfer] = had.add(start, start + len(payload))

    def _connected_again(self, device: str, payload: bytes) -> None:
        try:
            online = messages.decode(Status, payload).online
        except MessageError:
            return
        if online:
            with self._lock:
                self._close(device)

    def mark(self) -> None:
        """The server is about to be interrupted: what comes now is counted anew."""
        with self._lock:
            for device in list(self._again):
                self._close(device)

    def _close(self, device: str) -> None:
        if again := self._again.pop(device, 0):
            self._sums.append((device, again))

    def taken(self) -> list[tuple[str, int]]:
        """(device, bytes sent again) of every interruption since the last call, where there were any."""
        with self._lock:
            sums, self._sums = self._sums, []
            return sums


class Gremlin(Stranger):
    """Mischief on demand. seed: of all its choices."""

    def __init__(self, host: str, port: int, *, devices: tuple[str, ...], seed: int = 0) -> None:
        super().__init__(host, port, "gremlin", filters=(topics.UP_ALL, "wc/v1/+/down/#"))
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self._heard_before: deque[tuple[str, bytes]] = deque(maxlen=REMEMBERED)
        self._falsified: set[str] = set()
        self._devices = devices
        self.done: Counter[str] = Counter()
        self.tricks: dict[str, Callable[[], None]] = {
            "repeat": self.repeat,
            "reorder": self.reorder,
            "falsify": self.falsify,
            "foreign": self.foreign,
        }

    def hear(self, topic: str, payload: bytes) -> None:
        with self._lock:
            self._heard_before.append((topic, payload))

    def repeat(self) -> None:
        """The last messages once more, as a broker may at QoS 1."""
        for topic, payload in self._memory()[-16:]:
            self._send("repeat", topic, payload)

    def reorder(self) -> None:
        """Everything remembered once more, in another order."""
        memory = self._memory()
        self._draw.shuffle(memory)
        for topic, payload in memory:
            self._send("reorder", topic, payload)

    def falsify(self) -> None:
        """Altered copies: a bit turned in parts (once per file: after three the server believes the device's copy is
        damaged), messages cut short, offsets that lie."""
        for topic, payload in self._memory():
            levels = topic.split("/")
            if len(levels) == 6 and topics.parse_offset(levels[-1]) is not None:
                if levels[4] not in self._falsified and payload:
                    self._falsified.add(levels[4])
                    at = self._draw.randrange(len(payload))
                    self._send("falsify", topic, payload[:at] + bytes((payload[at] ^ 0x10,)) + payload[at + 1 :])
            elif payload and levels[-1] != "begin":  # what cannot be read there is refused for good, and rightly so
                self._send("falsify", topic, payload[: self._draw.randrange(len(payload))])

    def foreign(self) -> None:
        """What no waycue would send."""
        for _ in range(16):
            device = self._draw.choice((*self._devices, "nobody", "UPPER", "..", "a" * 200))
            tail = self._draw.choice(
                (
                    "up/event",
                    "up/x/begin",
                    "up/x.frame/begin",
                    f"up/x.frame/{10**11}",
                    "up/want",
                    "down/offer",
                    "up",
                    "down/x/ack",
                    "down/block/x/0",
                    "up/renew",
                    "status",
                    "up/../../etc/0",
                    "down/certificate",
                )
            )
            if device in self._devices and tail == "status":
                continue  # a false status is believed for what it is: the device's own word, replaced by the next one
            payload = self._draw.choice(
                (b"", b"{}", b"[" * 3000, b"null", b'{"state":"merged"}', self._draw.randbytes(200), b"\xff" * 50_000)
            )
            self._send("foreign", f"wc/v1/{device}/{tail}", payload)

    def _memory(self) -> list[tuple[str, bytes]]:
        with self._lock:
            return list(self._heard_before)

    def _send(self, trick: str, topic: str, payload: bytes) -> None:
        self.done[trick] += 1
        self.publish(topic, payload)
