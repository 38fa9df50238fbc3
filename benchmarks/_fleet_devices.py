"""Many devices in one process for benchmarks.fleet: each with the device's own delivery and connection, on one poller.

    python -m benchmarks._fleet_devices HOST PORT FOLDER FIRST COUNT

Their outboxes are in memory, over files on disk: a real device has a disk of its own, and here they would share the
server's. It reads one command a line (JSON) and answers each with one line:

    {"do": "connect"}                               every device is connected and subscribed
    {"do": "burst", "chunks": 2}                    all send so many chunks, from the same instant on
    {"do": "steady", "seconds": 20, "every_s": 60}  each seals a chunk every so often, at a time of its own
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks._link_ends import context, cost, say
from benchmarks.link import record
from device.outbox.containers import contained
from device.outbox.folder import RECORD_KIND
from device.outbox.outbox import Counts, OutboxItem
from device.sync.connection import Connection
from device.sync.delivery import Delivery
from device.sync.outgoing import HandedOver, Outgoing
from shared import messages, topics
from shared.clock import SystemClock
from shared.messages import Envelope, Part, Status
from shared.transfer import MAX_PART_BYTES, part_bytes

NAMES = {"frame": "frame.jpg", "audio": "audio.wav", "clip": "clip.mp4"}
ORDER = ("record", "frame", "audio", "clip")
LOOK_EVERY_S = 0.5  # at the timers, as a link does
DEADLINE_S = 600.0  # on a machine that does something else beside


class MemoryOutbox:
    """What one device has to send. Used as an Outbox is, by a Delivery."""

    def __init__(self) -> None:
        self._waiting: deque[OutboxItem] = deque()
        self._left: Counter[str] = Counter()
        self._sealed_at_s: dict[str, float] = {}
        self.latencies_s: list[float] = []
        """From when a chunk was sealed until all of it was merged."""
        self.refusals: list[str] = []

    @property
    def empty(self) -> bool:
        return not self._left

    def seal(self, items: Iterable[OutboxItem]) -> None:
        for item in items:
            self._waiting.append(item)
            self._left[item.record_id] += 1
            self._sealed_at_s.setdefault(item.record_id, time.monotonic())

    def claim_whole(self, count: int, *, clips: bool) -> list[OutboxItem]:
        found = list[OutboxItem]()
        while len(found) < count and self._waiting:
            first = self._waiting[0]
            items = [item for item in self._waiting if item.record_id == first.record_id]
            single = first.kind != RECORD_KIND or any(item.resumed for item in items)
            whole = None if single else contained(items, clips=clips)
            found.append(whole or first)
            for item in found[-1].single:
                self._waiting.remove(item)
        return found

    def claim(self, count: int, *, bulk: bool = False) -> list[OutboxItem]:
        found = [item for item in self._waiting if bulk or not item.bulk][:count]
        for item in found:
            self._waiting.remove(item)
        return found

    def release(self, items: Iterable[OutboxItem]) -> None:
        self._waiting.extendleft(replace(one, resumed=True) for item in items for one in item.single)

    def apart(self, item: OutboxItem) -> None:
        self.release([item])

    def merged(self, items: Iterable[OutboxItem]) -> None:
        for item in items:
            for one in item.single:
                self._done(one)

    def refused(self, item: OutboxItem, reason: str) -> None:
        self.refusals.append(f"{item.name}: {reason}")
        self._done(item)

    def _done(self, item: OutboxItem) -> None:
        self._left[item.record_id] -= 1
        if not self._left[item.record_id]:
            del self._left[item.record_id]
            self.latencies_s.append(time.monotonic() - self._sealed_at_s.pop(item.record_id))

    def counts(self) -> Counts:
        return Counts(queued=len(self._left))

    def forget_merged(self) -> None: ...

    def retry_requested(self) -> None: ...

    def on_change(self, listener: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int
    folder: Path


class FleetDevice:
    """One device: what device.sync.link does with a connection, driven by a poller instead of a thread."""

    def __init__(self, name: str, broker: Broker) -> None:
        self.name = name
        self.box = MemoryOutbox()
        self.counters: Counter[str] = Counter()
        self.sent_bytes = self.resent_bytes = self.messages = 0
        self.delivery = Delivery(name, self.box, SystemClock(), self.counters, "none")  # type: ignore[arg-type]
        self.handed = HandedOver()
        self.connection: Connection | None = None
        self.online = False
        self.next_chunk = 0
        self._broker = broker

    def connect(self) -> None:
        will = messages.encode(Status(online=False))
        broker = self._broker
        self.connection = Connection(
            self.name,
            listen=topics.down(self.name),
            will=(topics.status(self.name), will),
            on_message=self._received,
            tls=context(broker.folder / "cards", self.name),
        )
        self.connection.open(broker.host, broker.port)

    def _received(self, topic: str, payload: bytes) -> None:
        place = topics.levels(topic)
        if place is not None and place[1][-1] == "ack":
            self.delivery.acknowledge(place[1][1], payload)
        elif place is not None and place[1] == ["down", "credit"]:
            self.delivery.granted(payload)

    def work(self) -> bool:
        """Move bytes and decide. False where the connection broke."""
        connection = self.connection
        if connection is None:
            return False
        if not connection.exchange(0.0) or connection.refusal is not None:
            connection.close()
            self.connection, self.online = None, False
            self.delivery.offline()
            self.counters["cuts"] += 1
            return False
        if connection.subscribed and not self.online:
            self.online = True
            status = Outgoing(topics.status(self.name), messages.encode(Status(online=True)), retain=True)
            self.delivery.outgoing.append(status)
            self.delivery.online(connection, part_bytes=part_bytes(MAX_PART_BYTES, connection.max_packet_bytes))
        if self.online:
            self.delivery.turn()
            while self.delivery.outgoing and connection.room:
                self._hand_over(connection, self.delivery.outgoing.popleft())
        return True

    def _hand_over(self, connection: Connection, message: Outgoing) -> None:
        if connection.send(message.topic, message.payload, qos=message.qos, retain=message.retain):
            self.messages += 1
            self.sent_bytes += message.file_bytes
            self.resent_bytes += self.handed.note(message)

    def seal(self, folder: Path) -> None:
        """One more chunk, each with bytes of its own."""
        number, self.next_chunk = self.next_chunk, self.next_chunk + 1
        self.box.seal(chunk_items(self.name, number, folder))
        self.delivery.look_again()


def chunk_items(device: str, number: int, folder: Path) -> list[OutboxItem]:
    """The record and the files of a chunk, written below `folder`/sent."""
    templates = sorted((folder / "templates").iterdir())
    template = templates[number % len(templates)]
    own, out = f"{device}-00000000-{number}", folder / "sent" / device
    out.mkdir(parents=True, exist_ok=True)
    files = {path.stem: path.read_bytes() + f"{device}{number:08}".encode() for path in template.iterdir()}
    parts = tuple(
        Part(kind, NAMES[kind], len(files[kind]), sha256(files[kind]).hexdigest()) for kind in ORDER if kind in files
    )
    body = replace(record(number), chunk_id=own, device=device, walk_id=f"{device}-walk", parts=parts)
    files["record"] = messages.encode(Envelope("chunk", own, messages.to_dict(body)))
    items = []
    for rank, kind in enumerate(kind for kind in ORDER if kind in files):
        path = out / f"{number}-{NAMES.get(kind, 'record.json')}"
        path.write_bytes(files[kind])
        digest, bulk = sha256(files[kind]).hexdigest(), kind == "clip"
        name = RECORD_KIND if kind == "record" else kind
        order = (int(bulk), 1, number, rank)
        items.append(OutboxItem(own, name, path, len(files[kind]), digest, bulk, resumed=False, order=order))
    return items


class Fleet:
    """All devices of this process. One thread."""

    def __init__(self, broker: Broker, first: int, count: int) -> None:
        self._folder = broker.folder
        self.devices = [FleetDevice(f"dev-{number:04}", broker) for number in range(first, first + count)]
        self._poller = select.epoll()
        self._by_fd: dict[int, FleetDevice] = {}
        self._looked_s: dict[str, float] = {}
        self._unfinished: set[int] = set()
        """Descriptors of those that have something to do which the poller does not see."""

    def connect(self) -> None:
        for device in self.devices:
            if device.connection is None:
                self._connect(device)
                self.turn(0.0)
        self.until(lambda: all(device.online for device in self.devices))

    def _connect(self, device: FleetDevice) -> None:
        device.connect()
        assert device.connection is not None
        fd = device.connection.fileno()
        self._by_fd[fd] = device
        self._poller.register(fd, select.EPOLLIN)

    def turn(self, wait_s: float) -> None:
        """Whoever heard something works, and everybody as often as a link looks at its timers."""
        again, self._unfinished = self._unfinished, set()
        heard = {fd for fd, _ in self._poller.poll(0.0 if again else wait_s)}
        for fd in heard | (again & self._by_fd.keys()):
            self._work(fd)
        now_s = time.monotonic()
        for fd, device in list(self._by_fd.items()):
            if now_s - self._looked_s.get(device.name, 0.0) >= LOOK_EVERY_S:
                self._work(fd)

    def _work(self, fd: int) -> None:
        device = self._by_fd[fd]
        self._looked_s[device.name] = time.monotonic()
        if not device.work():
            del self._by_fd[fd]
            self._connect(device)
        elif device.connection is not None and device.connection.has_more:
            self._unfinished.add(fd)

    def until(self, done: Callable[[], bool]) -> None:
        end_s, looked_s = time.monotonic() + DEADLINE_S, 0.0
        while True:
            now_s = time.monotonic()
            if now_s - looked_s > 0.02:
                if done():
                    return
                if now_s > end_s:
                    raise TimeoutError("The fleet is not done.")
                looked_s = now_s
            self.turn(0.02)

    def allow(self) -> None:
        for device in self.devices:
            device.delivery.allow("all")
            device.delivery.look_again()
        self._looked_s.clear()

    def steady(self, seconds: float, every_s: float) -> None:
        draw = random.Random(self.devices[0].name)
        start_s = time.monotonic()
        plan = sorted((draw.uniform(0, every_s) + start_s, number) for number in range(len(self.devices)))
        due = deque((at_s, number) for at_s, number in plan if at_s < start_s + seconds)
        while due:
            self.turn(max(0.0, min(0.02, due[0][0] - time.monotonic())))
            while due and due[0][0] <= time.monotonic():
                device = self.devices[due.popleft()[1]]
                device.seal(self._folder)
                self._looked_s.pop(device.name, None)
            self.turn(0.0)
        self.until(lambda: all(device.box.empty for device in self.devices))

    def figures(self) -> dict[str, Any]:
        """Of everything since the last time, and start anew."""
        total: Counter[str] = Counter()
        for device in self.devices:
            total += device.counters
        found = {
            "sent_bytes": sum(device.sent_bytes for device in self.devices),
            "resent_bytes": sum(device.resent_bytes for device in self.devices),
            "messages": sum(device.messages for device in self.devices),
            "latencies_s": [one for device in self.devices for one in device.box.latencies_s],
            "refusals": [one for device in self.devices for one in device.box.refusals][:3],
            "counters": dict(total),
        }
        for device in self.devices:
            device.sent_bytes = device.resent_bytes = device.messages = 0
            device.counters.clear()
            device.box.latencies_s.clear()
        return found


def main() -> None:
    host, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    fleet = Fleet(Broker(host, port, folder), int(sys.argv[4]), int(sys.argv[5]))
    say(ready=True)
    before = cost()
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "connect":
                fleet.connect()
                fleet.allow()
            case "seal":
                for device in fleet.devices:
                    device.delivery.allow("none")
                    for _ in range(command["chunks"]):
                        device.seal(folder)
                fleet.turn(0.0)
            case "burst":
                fleet.allow()
                fleet.until(lambda: all(device.box.empty for device in fleet.devices))
            case "steady":
                fleet.steady(command["seconds"], command["every_s"])
        ended_s, after = time.monotonic(), cost()
        say(ended_s=ended_s, fleet_cpu_s=after["cpu_s"] - before["cpu_s"], **fleet.figures())
        before = after


if __name__ == "__main__":
    main()
