"""What it costs to encrypt moments for the server: on the device when they are kept, on the server when they arrive.

    make bench NAME=sealing     under a minute; writes build/bench/sealing.json

Whole moments (a picture of 60 kB, 2 s of sound, a clip of 250 kB) through the real outbox, intake and dataset,
encrypted and not, on this machine's disk; processor time of this process, so that a busy machine changes little. A
device keeps at most a quarter of its chunks by itself: 7.5 moments a minute.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rich.console import Console
from rich.table import Table

from device.outbox.outbox import Outbox
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from shared import atomic, sealing
from shared.clock import SystemClock
from shared.sealing import SealedPlace
from tests.device.outbox.records import DEVICE, chunk, clip, jpeg, wav
from tests.faults.carrier import said

MOMENTS = 60
A_MINUTE = 7.5
SIZES = (3_000, 60_000, 250_000)
OUT = Path("build/bench/sealing.json")
KEY = X25519PrivateKey.generate()
PAYLOADS = {"frame": jpeg(1, 60_000), "audio": wav(1, 64_044), "clip": clip(1, 250_000)}


@dataclass(frozen=True, slots=True)
class FileCost:
    """Of one file, ms of processor time."""

    size_bytes: int
    seal_ms: float
    open_ms: float


@dataclass(frozen=True, slots=True)
class MomentCost:
    """Of one moment, ms of processor time."""

    encrypted: bool
    keep_ms: float
    take_in_ms: float
    on_disk_bytes: int


def cpu_ms(work: Callable[[], object], times: int) -> float:
    began_s = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began_s) * 1000 / times


def file_cost(size_bytes: int) -> FileCost:
    content, place = os.urandom(size_bytes), SealedPlace(DEVICE, "r", "frame")
    sealed = sealing.seal(content, KEY.public_key(), place)
    seal_ms = cpu_ms(lambda: sealing.seal(content, KEY.public_key(), place), 200)
    return FileCost(size_bytes, seal_ms, cpu_ms(lambda: sealing.unseal(sealed, KEY, place), 200))


def moment_cost(folder: Path, *, encrypted: bool) -> MomentCost:
    with closing(Outbox(folder / "outbox", key=KEY.public_key() if encrypted else None)) as box:
        began_s = time.process_time()
        for number in range(MOMENTS):
            box.seal_chunk(chunk(number), PAYLOADS)
        keep_s = time.process_time() - began_s
        items = [item for bulk in (False, True) for item in box.claim(10 * MOMENTS, bulk=bulk)]
        messages = [message for item in items for message in said(box, item, DEVICE)]
        took_s = _take_in(folder / "home", messages)
    on_disk = sum(item.size_bytes for item in items) // MOMENTS
    return MomentCost(encrypted, keep_s * 1000 / MOMENTS, took_s * 1000 / MOMENTS, on_disk)


def _take_in(home: Path, messages: list[tuple[list[str], bytes]]) -> float:
    with closing(open_store(home)) as store:
        merge = Merge(store, Dataset(home / "dataset"), SystemClock())
        limits = LimitsSettings(free_mb=0, messages_per_s=1_000_000)
        with closing(Ingest(home / "incoming", merge, settings=limits).opening_with(KEY)) as ingest:
            began_s = time.process_time()
            for number, (levels, payload) in enumerate(messages):
                ingest.handle(DEVICE, levels, payload)
                if number % 32 == 31:
                    ingest.settle()
            ingest.settle()
            took_s = time.process_time() - began_s
            assert ingest.counters["records"] == MOMENTS
            assert ingest.counters["parts"] == MOMENTS * len(PAYLOADS)
    return took_s


def main() -> None:
    console = Console()
    files = [file_cost(size) for size in SIZES]
    with tempfile.TemporaryDirectory(dir="build") as folder:
        moments = [moment_cost(Path(folder) / str(encrypted), encrypted=encrypted) for encrypted in (False, True)]
    table = Table("file", "seal ms", "open ms", "MB/s sealed")
    for one in files:
        speed = one.size_bytes / 1000 / one.seal_ms
        table.add_row(f"{one.size_bytes:,}", f"{one.seal_ms:.3f}", f"{one.open_ms:.3f}", f"{speed:.0f}")
    console.print(table)
    table = Table("moments", "keep ms", "take in ms", "bytes", f"CPU s a minute at {A_MINUTE:g} moments")
    for moment in moments:
        row = (f"{moment.keep_ms:.2f}", f"{moment.take_in_ms:.2f}", f"{moment.on_disk_bytes:,}")
        table.add_row("encrypted" if moment.encrypted else "plain", *row, f"{moment.keep_ms * A_MINUTE / 1000:.4f}")
    console.print(table)
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, {"files": [asdict(one) for one in files], "moments": [asdict(one) for one in moments]})


if __name__ == "__main__":
    main()
