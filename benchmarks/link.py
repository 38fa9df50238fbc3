"""How fast flagged chunks reach the dataset, and what broken connections cost.

    make bench NAME=link

Outbox → real Mosquitto on loopback → ingest → merge into a real dataset on this disk, everything durable. Once with the
broker left alone, once with the broker killed several times on the way. Loopback has no delay: these are the costs of
our own fsyncs, hashes and acknowledgements, an upper bound for any network.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._recorded import chunks
from device.link import Link
from device.outbox import Outbox
from device.recorder import ClosedChunk
from server.broker import BrokerChild
from server.dataset import Dataset
from server.ingest import Ingest
from server.link import ServerLink
from server.merge import Merge
from server.store import open_store
from shared.clock import SystemClock
from shared.messages import ChunkRecord

DEVICE = "bench"
DEADLINE_S = 300.0
KILLS = 4


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    name: str
    records: int
    sent_bytes: int
    resent_bytes: int
    seconds: float


def main() -> None:
    """Print the table."""
    console = Console()
    with console.status("drawing and encoding a walk of a minute"):
        recorded = chunks()
    table = Table(
        "run", "records", "MB", "s", "MB/s", "records/s", "sent twice (KiB)", title="outbox to dataset, loopback"
    )
    for name, kills in (("undisturbed", 0), (f"broker killed {KILLS} times", KILLS)):
        with console.status(name):
            run = deliver(recorded, kills=kills, name=name)
        megabytes = run.sent_bytes / 1e6
        rates = (f"{megabytes / run.seconds:.1f}", f"{run.records / run.seconds:.1f}", f"{run.resent_bytes / 1024:.0f}")
        table.add_row(run.name, str(run.records), f"{megabytes:.1f}", f"{run.seconds:.2f}", *rates)
    console.print(table)


def deliver(recorded: list[ClosedChunk], *, kills: int, name: str) -> Result:
    """Send all chunks through one broker into one dataset. Raises: TimeoutError."""
    with tempfile.TemporaryDirectory(prefix="waycue-bench-") as folder, BrokerChild(Path(folder) / "broker") as broker:
        home = Path(folder) / "server"
        with closing(open_store(home)) as store:
            dataset = Dataset(home / "dataset")
            dataset.create()
            ingest = Ingest(home / "incoming", Merge(store, dataset, SystemClock()))
            server = ServerLink(broker.host, broker.port, {"": ingest.handle}, settle=ingest.settle)
            server.start()
            try:
                return _send(recorded, Path(folder) / "outbox", broker, kills=kills, name=name)
            finally:
                server.stop()


def _send(recorded: list[ClosedChunk], folder: Path, broker: BrokerChild, *, kills: int, name: str) -> Result:
    with closing(Outbox(folder)) as outbox:
        for chunk in recorded:
            outbox.seal_chunk(record_of(chunk), payloads_of(chunk))
        link = Link(host=broker.host, port=broker.port, device=DEVICE, outbox=outbox, clock=SystemClock())
        started = time.monotonic()
        disturber = threading.Thread(target=_disturb, args=(broker, link, outbox, kills), daemon=True)
        link.start()
        disturber.start()
        try:
            if not link.wait_idle(DEADLINE_S):
                raise TimeoutError(f"{outbox.counts().queued} records were not merged after {DEADLINE_S:.0f} s.")
            seconds = time.monotonic() - started
        finally:
            link.stop()
            disturber.join()
        return Result(name, len(recorded), link.sent_bytes, link.resent_bytes, seconds)


def _disturb(broker: BrokerChild, link: Link, outbox: Outbox, kills: int) -> None:
    """Kill the broker whenever another share of the records is through."""
    whole = outbox.counts().queued
    for number in range(kills):
        deadline = time.monotonic() + DEADLINE_S
        while outbox.counts().queued > whole * (1 - (number + 0.5) / kills) and time.monotonic() < deadline:
            time.sleep(0.01)
        broker.kill()
        broker.start()
        while not link.online and time.monotonic() < deadline:
            time.sleep(0.01)


def record_of(chunk: ClosedChunk) -> ChunkRecord:
    """A sidecar as the agent writes it."""
    return ChunkRecord(
        chunk_id=f"{DEVICE}-00000000-{chunk.sequence}", device=DEVICE, boot_id="00000000", sequence=chunk.sequence,
        walk_id=f"{DEVICE}-walk", started_at_s=chunk.started_at_s, duration_s=chunk.duration_s,
        captured_at_utc=1_700_000_000.0 + chunk.started_at_s, clock_synced=True, flags=("wearer",), raw_output="",
        spoken="", confidence=0.0, model_version="", parts=(), width_px=chunk.width_px, height_px=chunk.height_px,
    )  # fmt: skip


def payloads_of(chunk: ClosedChunk) -> dict[str, bytes]:
    """The files of a chunk by part kind."""
    files = {"frame": chunk.frame_jpeg, "audio": chunk.audio_wav}
    return files if chunk.clip_mp4 is None else {**files, "clip": chunk.clip_mp4}


if __name__ == "__main__":
    main()
