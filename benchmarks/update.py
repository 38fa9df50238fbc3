"""What a new model costs a device: bytes moved after a retrain, seconds at 20 Mbit/s, and what interruptions add.

    make bench NAME=update      about ten minutes on two cores, 5 GB of memory; writes build/bench/update.json

Two models, each before and after a LoRA training (benchmarks/_retrained.py): the starter, and the shape of
SmolVLM2-256M with random weights. The device has the old bundle and is offered the new one: real registry, push, broker
and updater, through a relay of 20 Mbit/s; once undisturbed, once with the connection cut five times. The self-test is
left out (random weights give no sense): only hashes are checked.

A night travels as a difference to its base, which the device has: docs/adr/0093-a-night-as-a-difference-to-its-base.md.
Beside it stands what an agent would fetch that knows only blocks, and what smaller blocks would save.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import _retrained
from benchmarks._retrained import Pair
from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from device.updates.permission import Permission
from device.updates.updater import Settings, Updater, UpdaterPorts
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.releases.offers import Offers
from server.releases.registry import Registry
from shared import atomic, bundle
from shared.clock import SystemClock
from tests.faults.relay import MBIT, Relay, Weather

DEVICE = "bench"
MBIT_PER_S = 20
CUTS = 5
DEADLINE_S = 900.0
SHARE_MOST = 0.12
"""Of the bundle's bytes: the bar."""
BLOCK_SIZES = (4096, 16_384, 65_536, 262_144)
OUT = Path("build/bench/update.json")
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Run:
    """One update over the relay."""

    cuts: int
    seconds: float
    """From the offer to the switch."""
    moved_bytes: int
    """Of the bundle, over the link, repeats included."""
    repeated_bytes: int
    copied_bytes: int
    """Were on the device already."""
    wire_bytes: int
    """All that went down through the relay, MQTT and TCP payload."""
    whole: bool
    """The new model is in use, and every hash is right."""


def main() -> None:
    logging.disable(logging.WARNING)
    console = Console()
    figures: dict[str, Any] = {"mbit_per_s": MBIT_PER_S, "block_bytes": bundle.BLOCK_BYTES, "models": {}}
    with tempfile.TemporaryDirectory(prefix="waycue-bench-") as place:
        pair, change = _retrained.starter(_made(place, "starter"), console.print)
        figures["relative_weight_change"] = round(change, 4)
        figures["models"]["starter"] = measure(pair, console)
        big = _retrained.smolvlm_256m(_made(place, "256m"), change, console.print)
        figures["models"]["smolvlm2_256m_shape"] = measure(big, console)
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, figures)
    console.print(table(figures["models"]))
    console.print(f"{OUT} is written.")


def _made(place: str, name: str) -> Path:
    folder = Path(place) / name
    folder.mkdir()
    return folder


def measure(pair: Pair, console: Console) -> dict[str, Any]:
    size = bundle.read_manifest(pair.new).size_bytes
    with console.status(f"{pair.name}: update without cuts"):
        undisturbed = update(pair, cuts=0, expected_bytes=size)
    moved = undisturbed.moved_bytes
    with console.status(f"{pair.name}: update with {CUTS} cuts"):
        interrupted = update(pair, cuts=CUTS, expected_bytes=moved)
    shares = {str(block): round(_retrained.changed_share(pair, block), 4) for block in BLOCK_SIZES}
    return {
        "size_bytes": size,
        "files": files(pair),
        "moved_bytes": moved,
        "share": round(moved / size, 4),
        "share_most": SHARE_MOST,
        "share_by_blocks": shares[str(bundle.BLOCK_BYTES)],
        "seconds": round(undisturbed.seconds, 1),
        "whole_model_seconds_at_best": round(size * 8 / (MBIT_PER_S * 1e6), 1),
        "undisturbed": asdict(undisturbed),
        "interrupted": asdict(interrupted),
        "share_by_block_bytes": shares,
    }


def files(pair: Pair) -> list[dict[str, Any]]:
    old = {entry.path: entry.sha256 for entry in bundle.read_manifest(pair.old).files}
    return [
        {"path": entry.path, "size_bytes": entry.size_bytes, "changed": old.get(entry.path) != entry.sha256}
        for entry in bundle.read_manifest(pair.new).files
        if not entry.path.startswith("golden/")
    ]


# --- over the relay ---


def update(pair: Pair, *, cuts: int, expected_bytes: int) -> Run:
    """Install the old model, offer the new one through the relay, cut the connection now and then.

    raises: TimeoutError
    """
    weather = Weather(bytes_per_s=MBIT_PER_S * MBIT, delay_s=0.01)
    with (
        tempfile.TemporaryDirectory(prefix="waycue-bench-") as place,
        closing(_registry(Path(place), pair)) as registry,
        BrokerChild(Path(place) / "broker") as broker,
        _server(registry, broker) as server,
        Relay(broker.host, broker.port, weather=weather) as relay,
    ):
        device = Device(Path(place) / "state", relay, pair.old)
        return device.update(registry, server, cuts=cuts, expected_bytes=expected_bytes)


def _registry(place: Path, pair: Pair) -> Registry:
    registry = Registry(place / "home")
    for folder in (pair.old, pair.new):
        registry.add(folder)
    return registry


@contextmanager
def _server(registry: Registry, broker: BrokerChild) -> Iterator[tuple[ServerLink, Offers]]:
    push = Offers(registry)
    link = ServerLink(BrokerSession(broker.host, broker.port), Ports(lambda *_: [], {"want": push.blocks.handle}))
    link.start()
    if not link.ready.wait(30):
        raise TimeoutError("The server did not reach its broker.")
    try:
        yield link, push
    finally:
        link.stop()


class Device:
    """Link and updater as the agent has them, on a state folder of their own."""

    def __init__(self, state_dir: Path, relay: Relay, model: Path) -> None:
        """model: in use from the beginning."""
        shutil.copytree(model, state_dir / "models" / "a")
        (state_dir / "models" / "current").symlink_to("a")
        self._relay, self._state_dir = relay, state_dir
        self._switched = threading.Event()
        self._outbox = Outbox(state_dir / "outbox")
        ports = LinkPorts(
            self._outbox, CLOCK, lambda text: self.updater.link_changed(text == "online"), draw=lambda: 0.1
        )
        self._link = Link(LinkSettings(relay.host, relay.port, DEVICE), ports)
        updater_ports = UpdaterPorts(
            clock=CLOCK,
            publish=self._link.publish,
            selftest=lambda folder: [],
            use_model=lambda folder, version: self._switched.set(),
        )
        permission = Permission(bundle.FOR_JUDGING, device=DEVICE)
        self.updater = Updater(state_dir, updater_ports, permission, settings=Settings(probation_looks=1))
        self._link.on("offer", lambda levels, payload: self.updater.on_offer(payload))
        self._link.on("block", self.updater.on_block)

    def update(self, registry: Registry, server: tuple[ServerLink, Offers], *, cuts: int, expected_bytes: int) -> Run:
        """Follow the offer of the newest version to its end."""
        server_link, push = server
        version = registry.list()[-1].version
        stop = threading.Event()
        worker = threading.Thread(target=self.updater.run, args=(stop,), name="updates")
        cutter = threading.Thread(target=self._cut, args=(cuts, expected_bytes), name="cuts", daemon=True)
        down = self._relay.bytes["down"]
        began_s = time.monotonic()
        self._link.start()
        worker.start()
        server_link.publish(*push.make(DEVICE, version), retain=True)
        cutter.start()
        try:
            if not self._switched.wait(DEADLINE_S):
                raise TimeoutError(f"Not updated after {DEADLINE_S:.0f} s: {self.updater.state_text()}")
            seconds = time.monotonic() - began_s
        finally:
            stop.set()
            worker.join()
            self._link.stop()
            self.updater.close()
            self._outbox.close()
        report, counters = self.updater.reports[-1], self.updater.counters
        in_use = bundle.verify(self._state_dir / "models" / "current")
        return Run(
            self._relay.cuts,
            seconds,
            push.blocks.counters["bytes"],
            push.blocks.counters["bytes"] - report.fetched_bytes,
            report.copied_bytes,
            self._relay.bytes["down"] - down,
            in_use.version == version and bool(counters),
        )

    def _cut(self, cuts: int, expected_bytes: int) -> None:
        """Reset the connection at equal distances on the way."""
        start = self._relay.bytes["down"]
        for number in range(1, cuts + 1):
            at = start + expected_bytes * number // (cuts + 1)
            _until(lambda at=at: self._relay.bytes["down"] >= at or self._switched.is_set())  # type: ignore[misc]
            if not self._switched.is_set():
                self._relay.cut()


def _until(holds: Callable[[], bool]) -> None:
    pause, deadline_s = threading.Event(), time.monotonic() + DEADLINE_S
    while not holds() and time.monotonic() < deadline_s:
        pause.wait(0.005)


def table(models: dict[str, Any]) -> Table:
    rows = Table("", *models, title=f"a retrained model to a device, {MBIT_PER_S} Mbit/s")
    for name, value in _columns():
        rows.add_row(name, *(value(model) for model in models.values()))
    return rows


def _columns() -> list[tuple[str, Callable[[dict[str, Any]], str]]]:
    return [
        ("bundle (MB)", lambda m: f"{m['size_bytes'] / 1e6:.1f}"),
        ("moved (MB)", lambda m: f"{m['moved_bytes'] / 1e6:.1f}"),
        (f"share (at most {SHARE_MOST:.0%})", lambda m: f"{m['share']:.1%}"),
        ("share by blocks alone", lambda m: f"{m['share_by_blocks']:.0%}"),
        ("seconds", lambda m: f"{m['seconds']:.1f}"),
        (f"seconds, cut {CUTS} times", lambda m: f"{m['interrupted']['seconds']:.1f}"),
        ("sent twice by the cuts (KiB)", lambda m: f"{m['interrupted']['repeated_bytes'] / 1024:.0f}"),
        ("still one whole model", lambda m: "yes" if m["interrupted"]["whole"] else "NO"),
        ("share at 4 KiB blocks", lambda m: f"{m['share_by_block_bytes']['4096']:.0%}"),
    ]


if __name__ == "__main__":
    main()
