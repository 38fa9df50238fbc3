"""The processes that benchmarks.link measures: a device, a server, and paho alone at both ends. Each prints one line of
JSON about itself when it is done: python -m benchmarks._link_ends ROLE HOST PORT PATH [COUNT]

A process of its own each, as in the field: what they cost is the kernel's word (getrusage), not a guess.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from server.broker.files import LEAST_QUEUED
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.ingest.ingest import Ingest
from shared import atomic, tls
from shared.clock import SystemClock
from shared.transfer import PART_BYTES

DEVICE = "bench"
TOPIC = f"wc/v1/{DEVICE}/up"
ANSWERS = f"wc/v1/{DEVICE}/down/raw"
IN_FLIGHT = 20  # paho's own default
QUEUED, ANSWER_EVERY = 512, 64  # a broker throws away what a slow receiver lets pile up, also at QoS 1
DEADLINE_S = 900.0


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def cost() -> dict[str, float]:
    """CPU seconds of this process so far, its memory now, and the most that it ever had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = {name: int(status[key].split()[0]) / 1024 for name, key in (("rss_mb", "VmRSS"), ("peak_rss_mb", "VmHWM"))}
    return {"cpu_s": used.ru_utime + used.ru_stime, **memory}


def context(cards: Path, name: str) -> ssl.SSLContext | None:
    """The TLS of an end, where the benchmark gave it a certificate."""
    if not (cards / f"{name}.crt").exists():
        return None
    return tls.client_context(
        ca_pem=(cards / "ca.crt").read_text(), certificate=cards / f"{name}.crt", key=cards / f"{name}.key"
    )


def serve(host: str, port: int, folder: Path) -> None:
    """A server on its real database and dataset, until SIGTERM."""
    home, ended = folder / "server", threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with closing(open_store(home)) as store:
        merge = Merge(store, Dataset(home / "dataset"), SystemClock())
        ingest = Ingest(home / "incoming", merge).granting(LEAST_QUEUED)
        link = ServerLink(
            BrokerSession(host, port, tls=context(folder / "cards", "waycue-server")),
            Ports(ingest.handle, settling=ingest),
        )
        link.start()
        link.ready.wait(60)
        before = cost()
        say(ready=True, rss_mb=before["rss_mb"])
        ended.wait()
        link.stop()
        ingest.close()
        say(**cost() | {"cpu_s": cost()["cpu_s"] - before["cpu_s"]}, counters=dict(ingest.counters))


def send(host: str, port: int, folder: Path) -> None:
    """A device with a full outbox: connects on a line at stdin, and ends when everything is merged."""
    with closing(Outbox(folder / "outbox")) as outbox:
        settings = LinkSettings(host, port, DEVICE, tls=context(folder / "cards", DEVICE))
        at_state: list[int] = []  # what went twice until each change of the connection
        link = Link(
            settings, LinkPorts(outbox, SystemClock(), on_state=lambda _state: at_state.append(link.resent_bytes))
        )
        before = cost()
        say(ready=True, queued=outbox.counts().queued, rss_mb=before["rss_mb"])
        sys.stdin.readline()
        started_s = time.monotonic()
        link.start()
        if not link.wait_idle(DEADLINE_S):
            raise TimeoutError(f"{outbox.counts().queued} records were not merged after {DEADLINE_S:.0f} s.")
        seconds = time.monotonic() - started_s
        link.stop()
        used = cost() | {"cpu_s": cost()["cpu_s"] - before["cpu_s"]}
        after_cut = [later - sooner for sooner, later in itertools.pairwise(at_state) if later > sooner]
        say(
            seconds=seconds,
            sent_bytes=link.sent_bytes,
            resent_bytes=link.resent_bytes,
            resent_bytes_per_connection=after_cut,
            **used,
        )


def raw_receive(host: str, port: int, folder: Path, count: int) -> None:
    """paho, counting bytes that it does nothing with."""
    _receive(host, port, folder, count, lambda _topic, _payload: None, lambda: None)


def raw_keep(host: str, port: int, folder: Path, count: int) -> None:
    """paho, and the least that any receiver must do which loses nothing: every file hashed, written, made durable and
    renamed; no database, no answer, no second try."""
    receiver = DurableReceiver(folder / "receiver")
    _receive(host, port, folder, count, receiver.received, receiver.finish)


class DurableReceiver:
    """Files on disk, eight of them made durable at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._fd = -1
        self._hash = hashlib.sha256()
        self._pool = ThreadPoolExecutor(8)
        self._done: list[Future[None]] = []

    def received(self, topic: str, payload: bytes) -> None:
        """One part; the parts of a file come one after the other."""
        _, name, which = topic.rsplit("/", 2)
        if self._fd < 0:
            self._hash = hashlib.sha256()
            self._fd = os.open(self._folder / f"{name}.new", os.O_WRONLY | os.O_CREAT, 0o600)
        self._hash.update(payload)
        os.write(self._fd, payload)
        if which == "last":
            self._done.append(self._pool.submit(self._durable, self._fd, name, self._hash.hexdigest()))
            self._fd = -1

    def _durable(self, fd: int, name: str, sha256: str) -> None:
        os.fdatasync(fd)
        os.close(fd)
        os.rename(self._folder / f"{name}.new", self._folder / sha256)

    def finish(self) -> None:
        """Until all are on disk."""
        for future in self._done:
            future.result()
        atomic.fsync_dir(self._folder)


def _receive(
    host: str, port: int, folder: Path, count: int, took: Callable[[str, bytes], None], finish: Callable[[], None]
) -> None:
    client = _client("waycue-server", context(folder / "cards", "waycue-server"))
    got = count_of_parts = 0

    def received(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        nonlocal got, count_of_parts
        got += len(message.payload)
        count_of_parts += 1
        if count_of_parts % ANSWER_EVERY == 0:
            client.publish(ANSWERS, b"", 1)
        took(message.topic, bytes(message.payload))
        if got >= count:
            finish()
            say(at_s=time.monotonic(), **cost())
            client.disconnect()

    client.on_message = received
    client.on_connect = lambda *_: _subscribe(client, "wc/v1/+/up/#")
    client.on_subscribe = lambda *_: say(ready=True)
    client.connect(host, port)
    client.loop_forever()


def raw_send(host: str, port: int, folder: Path) -> None:
    """paho, publishing at QoS 1 as fast as the broker acknowledges."""
    client, free = _client(DEVICE, context(folder / "cards", DEVICE)), threading.Semaphore(IN_FLIGHT)
    room, connected = threading.Semaphore(QUEUED), threading.Event()
    client.on_connect = lambda *_: _subscribe(client, ANSWERS)
    client.on_subscribe = lambda *_: connected.set()
    client.on_message = lambda *_: room.release(ANSWER_EVERY)
    client.on_publish = lambda *_: free.release()
    client.connect(host, port)
    client.loop_start()
    if not connected.wait(30):
        raise TimeoutError("The broker does not answer.")
    say(ready=True)
    sys.stdin.readline()
    started_s = time.monotonic()
    for name, part in _parts(folder / "outbox"):
        room.acquire()
        free.acquire()
        client.publish(f"{TOPIC}/{name}", part, 1)
    for _ in range(IN_FLIGHT):
        free.acquire()
    say(started_s=started_s, at_s=time.monotonic(), **cost())
    client.disconnect()
    client.loop_stop()


def _parts(outbox: Path) -> Iterator[tuple[str, bytes]]:
    """The very files that the outbox holds, one after the other, in the parts that the device cuts them into."""
    paths = (path for path in sorted(outbox.glob("*/*.*")) if path.suffix in (".jpg", ".wav", ".mp4"))
    for number, path in enumerate(paths):
        data = path.read_bytes()
        for start in range(0, len(data), PART_BYTES):
            last = start + PART_BYTES >= len(data)
            yield f"{number}/{'last' if last else start}", data[start : start + PART_BYTES]


def _subscribe(client: mqtt.Client, topics: str) -> None:
    client.subscribe(topics, 1)


def _client(name: str, secure: ssl.SSLContext | None) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    if secure is not None:
        client.tls_set_context(secure)
    return client


def main() -> None:
    role, host, port, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    match role:
        case "serve":
            serve(host, port, folder)
        case "send":
            send(host, port, folder)
        case "raw-receive":
            raw_receive(host, port, folder, int(sys.argv[5]))
        case "raw-keep":
            raw_keep(host, port, folder, int(sys.argv[5]))
        case "raw-send":
            raw_send(host, port, folder)


if __name__ == "__main__":
    main()
