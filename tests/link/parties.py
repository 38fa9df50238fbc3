"""The two ends of a link for tests: a server of real parts around the small Merge, devices, and clocks that hurry."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Self

from device.outbox.outbox import Counts, Outbox
from device.sync.link import Link
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Handler, Ports, ServerLink
from server.ingest.ingest import Ingest
from shared.clock import SystemClock
from shared.messages import Status
from tests.device.outbox.records import DEVICE, chunk, correction, payloads, wav
from tests.link.depot import Depot
from tests.paths import ROOT

MakeLink = Callable[..., Link]
DEADLINE_S = 60.0  # generous: two cores may be busy with something else


class HastyClock(SystemClock):
    """Real time, some times as fast: waits of seconds become waits of moments."""

    def __init__(self, scale: float = 20.0) -> None:
        self._scale = scale

    def monotonic_s(self) -> float:
        return time.monotonic() * self._scale


def until(condition: Callable[[], bool], *, timeout_s: float = DEADLINE_S) -> None:
    """Wait for something that nobody announces. Looks often and fails by name."""
    tick = threading.Event()
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {timeout_s} s"
        tick.wait(0.01)


class Server:
    """A running server on a folder; several in a row on the same folder are restarts."""

    def __init__(self, broker: BrokerChild, folder: Path, *, on_part: Callable[[str], None] | None = None) -> None:
        self.depot = Depot(folder / "depot", on_part=on_part)
        self.ingest = Ingest(folder / "incoming", self.depot)
        self.statuses: list[tuple[str, Status]] = []
        self.handle: Handler = self.ingest.handle
        """May be replaced, also while the server runs."""
        ports = Ports(
            lambda device, levels, payload: self.handle(device, levels, payload),
            settling=self.ingest,
            on_status=lambda device, status: self.statuses.append((device, status)),
        )
        self.link = ServerLink(BrokerSession(broker.host, broker.port), ports)

    def online_of(self, device: str) -> bool | None:
        """What the last retained status of a device says."""
        return next((status.online for name, status in reversed(self.statuses) if name == device), None)

    def __enter__(self) -> Self:
        self.link.start()
        assert self.link.ready.wait(DEADLINE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.link.stop()


def seal(box: Outbox, count: int, *, clip_bytes: int = 0, device: str = DEVICE) -> dict[str, str]:
    """Seal chunks and a correction; returns what the depot must hold: key → sha256 of payloads."""
    expected: dict[str, str] = {}
    for number in range(count):
        data = payloads(number, clip_bytes=clip_bytes)
        own = box.seal_chunk(chunk(number, device=device), data).chunk_id
        expected |= {f"{device}/{own}.{kind}": sha256(part).hexdigest() for kind, part in data.items()}
    spoken = box.seal_correction(correction(0, device=device), wav(0)).correction_id
    return expected | {f"{device}/{spoken}.correction_audio": sha256(wav(0)).hexdigest()}


def seal_first(box: Outbox) -> dict[str, str]:
    """Seal a correction alone: with its answer the device hears whether the server grants credit, and until then it
    sends nothing more. Returns what the depot must hold."""
    spoken = box.seal_correction(correction(99), wav(99)).correction_id
    return {f"{DEVICE}/{spoken}.correction_audio": sha256(wav(99)).hexdigest()}


def check(folder: Path, box: Outbox, expected: dict[str, str], records: int) -> None:
    depot = Depot(folder / "depot")  # read again from its log: one line per thing, so nothing was merged twice
    assert {key: value for key, value in depot.entries.items() if "." in key} == expected
    assert len(depot.entries) == len(expected) + records
    lines = (folder / "depot" / "log.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines)
    box.forget_merged()  # waits for the link's own deletion
    assert box.counts() == Counts(merged=records)


def device_child(broker: BrokerChild, outbox: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.link.device_child", str(outbox), str(broker.port)]
    return subprocess.Popen(command, cwd=ROOT)
