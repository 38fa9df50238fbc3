"""The processes that benchmarks.link measures: a device, a server, and paho alone at both ends. Each prints one line of
JSON about itself when it is done: python -m benchmarks._link_ends ROLE HOST PORT PATH [COUNT]

A process of its own each, as in the field: what they cost is the kernel's word (getrusage), not a guess.
"""

from __future__ import annotations

import json
import resource
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.link import Link
from device.outbox import Outbox
from server.dataset import Dataset
from server.ingest import Ingest
from server.link import ServerLink
from server.merge import Merge
from server.store import open_store
from shared import tls
from shared.clock import SystemClock
from shared.transfer import PART_BYTES

DEVICE = "bench"
TOPIC = f"wc/v1/{DEVICE}/up/raw"
IN_FLIGHT = 20  # paho's own default
DEADLINE_S = 900.0


def say(**values: Any) -> None:
    """One line to whoever started this."""
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
    """A server on its real database and dataset, until it is told to end."""
    home, ended = folder / "server", threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with closing(open_store(home)) as store:
        merge = Merge(store, Dataset(home / "dataset"), SystemClock())
        ingest = Ingest(home / "incoming", merge)
        link = ServerLink(
            host, port, {"": ingest.handle}, settle=ingest.settle, tls=context(folder / "cards", "waycue-server")
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
    """A device with a full outbox: connects when told to, and ends when everything is merged."""
    with closing(Outbox(folder / "outbox")) as outbox:
        link = Link(
            host=host, port=port, device=DEVICE, outbox=outbox, clock=SystemClock(), part_bytes=PART_BYTES,
            tls=context(folder / "cards", DEVICE),
        )  # fmt: skip
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
        say(seconds=seconds, sent_bytes=link.sent_bytes, resent_bytes=link.resent_bytes, **used)


def raw_receive(host: str, port: int, folder: Path, count: int) -> None:
    """paho, counting bytes that it does nothing with."""
    client = _client("waycue-server", context(folder / "cards", "waycue-server"))
    got = 0

    def received(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        nonlocal got
        got += len(message.payload)
        if got >= count:
            say(at_s=time.monotonic(), **cost())
            client.disconnect()

    client.on_message = received
    client.on_connect = lambda *_: _subscribe(client)
    client.on_subscribe = lambda *_: say(ready=True)
    client.connect(host, port)
    client.loop_forever()


def raw_send(host: str, port: int, folder: Path, count: int) -> None:
    """paho, publishing at QoS 1 as fast as the broker acknowledges."""
    client, free = _client(DEVICE, context(folder / "cards", DEVICE)), threading.Semaphore(IN_FLIGHT)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: free.release()
    client.connect(host, port)
    client.loop_start()
    connected.wait(30)
    say(ready=True)
    sys.stdin.readline()
    started_s = time.monotonic()
    for part in _parts(folder / "outbox", count):
        free.acquire()
        client.publish(TOPIC, part, 1)
    for _ in range(IN_FLIGHT):
        free.acquire()
    say(started_s=started_s, at_s=time.monotonic(), **cost())
    client.disconnect()
    client.loop_stop()


def _parts(outbox: Path, count: int) -> Iterator[bytes]:
    """The bytes of the very files that the outbox holds, one after the other, in parts of the same size."""
    kept = bytearray()
    for path in sorted(outbox.glob("*/*.*")):
        if path.suffix not in (".jpg", ".wav", ".mp4"):
            continue
        with open(path, "rb") as file:
            while data := file.read(min(PART_BYTES - len(kept), count)):
                kept += data
                count -= len(data)
                if len(kept) == PART_BYTES:
                    yield bytes(kept)
                    kept.clear()
    if kept:
        yield bytes(kept)


def _subscribe(client: mqtt.Client) -> None:
    client.subscribe("wc/v1/+/up/#", 1)


def _client(name: str, secure: ssl.SSLContext | None) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    if secure is not None:
        client.tls_set_context(secure)
    return client


def main() -> None:
    """One role."""
    role, host, port, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    match role:
        case "serve":
            serve(host, port, folder)
        case "send":
            send(host, port, folder)
        case "raw-receive":
            raw_receive(host, port, folder, int(sys.argv[5]))
        case "raw-send":
            raw_send(host, port, folder, int(sys.argv[5]))


if __name__ == "__main__":
    main()
