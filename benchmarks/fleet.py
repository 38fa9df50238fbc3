"""What a server does when a fleet of devices comes home together, and while it walks.

    make bench NAME=fleet       prints a table and writes build/bench/fleet.json

Real Mosquitto with the limits that `waycue-server broker config` writes, a real `waycue-server run` and `ingest`
workers on one home, everything durable on this disk, and devices with the real delivery over connections of their own,
in a few processes (benchmarks._fleet_devices). All of that shares this machine's processors: seconds say little beside
other work, processor time and shares say more.

    burst    all devices send two chunks from the same instant on: how much goes twice, how fast that is beside one
             device alone, and the server's processor time a chunk. A machine that others share is twice as fast in one
             half minute as in the next: one device sends before and after, and of several bursts each figure is the
             median (of what went twice the most); all of them stand under `bursts`
    steady   every device seals one chunk a minute: how long until all of it is merged

What it writes (CHUNK_BYTES for each chunk, 13 GB in all) is deleted at the very end: a disk that is told of what was
deleted (ext4 with `discard`) works on that for minutes, in which the server's syncs take twice as much.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._recorded import chunks
from benchmarks._served_home import cpu_s
from benchmarks.link import BUILD, machine, next_word, payloads
from device.identity import identity
from server.broker import dynsec_rules
from server.broker import files as broker_files
from server.broker.child import HOST, BrokerChild, free_port
from server.config import IngestSection
from server.database import store as db
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.ingest import leases
from shared import atomic
from shared.clock import SystemClock

OUT = BUILD / "bench" / "fleet.json"
DEVICES, CHUNKS, TIMES, STEADY_S, EVERY_S = 1000, 2, 3, 20.0, 60.0
PROCESSES = 4
SINGLE_CHUNKS = 200
CHUNK_BYTES = 530_000  # on the device's side and on the server's
START_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the fleet is, and how long it is watched."""

    devices: int
    chunks: int
    steady_s: float
    folder: Path
    times: int = TIMES

    @property
    def single_chunks(self) -> int:
        """What one device sends alone: as much as the fleet, as far as that tells more."""
        return min(SINGLE_CHUNKS, self.devices * self.chunks)


class Crowd:
    """One process of benchmarks._fleet_devices."""

    def __init__(self, port: int, folder: Path, first: int, count: int) -> None:
        address = (HOST, str(port), str(folder))
        command = [sys.executable, "-m", "benchmarks._fleet_devices", *address, str(first), str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.heard()

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        """Its next word. Raises: RuntimeError where it ended without one."""
        return next_word(self._process, "A process of devices")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Ground:
    """A broker and servers at work on one home."""

    folder: Path
    port: int
    servers: tuple[int, ...]
    """Process ids of `run` and the workers."""
    broker: int

    def server_cpu_s(self) -> float:
        return sum(map(cpu_s, self.servers))


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--devices", type=int, default=DEVICES, help="how many (default %(default)s)")
    options.add_argument("--chunks", type=int, default=CHUNKS, help="each brings to a burst (default %(default)s)")
    options.add_argument("--times", type=int, default=TIMES, help="that they do (default %(default)s)")
    options.add_argument("--steady", type=float, default=STEADY_S, metavar="S", help="seconds (default %(default)s)")
    options.add_argument("--workers", default="1,2,3", metavar="N,N", help="how many take in (default %(default)s)")
    options.add_argument("--no-tls", action="store_true", help="leave out the run with TLS")
    options.add_argument("--folder", type=Path, default=BUILD, metavar="DIR", help="disk to work on (default build)")
    options.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default {OUT})")
    chosen = options.parse_args(argv)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    workers = [int(one) for one in chosen.workers.split(",")]
    need_room(chosen.folder, (len(workers) + 1) * chosen.times * chosen.devices * chosen.chunks * CHUNK_BYTES)
    with tempfile.TemporaryDirectory(prefix="bench-fleet-", dir=chosen.folder.absolute()) as folder:
        plan = Plan(chosen.devices, chosen.chunks, chosen.steady, Path(folder), chosen.times)
        measure(plan, workers, tls=not chosen.no_tls, out=chosen.out)


def need_room(folder: Path, wanted: int) -> None:
    """Raises: SystemExit where the disk has less room."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise SystemExit(f"bench: {wanted / 1e9:.0f} GB are written to {folder}, and {free / 1e9:.0f} GB are free.")


def measure(plan: Plan, workers: Sequence[int], *, tls: bool, out: Path) -> None:
    """All runs, one after the other."""
    console = Console()
    figures: dict[str, Any] = {"machine": machine(), "devices": plan.devices, "workers": []}
    for count in workers:
        with console.status(f"{count} worker(s)"):
            row = {"workers": count, **run(plan, count, secure=False, steady=count == workers[0])}
        figures["workers"].append(row)
        figures |= {key: figures["workers"][0][key] for key in ("burst", "steady")}
        atomic.write_json(out, figures)  # after each, so that Ctrl-C loses none
    if tls:
        with console.status("TLS"):
            figures["tls"] = run(plan, workers[0], secure=True, steady=True)
        atomic.write_json(out, figures)
    show(console, figures)


def show(console: Console, figures: dict[str, Any]) -> None:
    columns = "run,MB/s,one device MB/s,share,sent again,server CPU ms/chunk,broker CPU ms/chunk,p50 ms,p95 ms"
    table = Table(*columns.split(","), title=f"{figures['devices']} devices")
    rows = [(f"{row['workers']} worker(s)", row) for row in figures["workers"]]
    for name, row in [*rows, *([("TLS", figures["tls"])] if "tls" in figures else [])]:
        burst, steady = row["burst"], row.get("steady", {})
        cells = [burst[key] for key in ("mb_s", "single_mb_s", "share_of_single", "resent_share", "cpu_ms_per_chunk")]
        cells += [burst["broker_cpu_ms_per_chunk"], steady.get("p50_ms", 0.0), steady.get("p95_ms", 0.0)]
        table.add_row(name, *(f"{cell:.3g}" for cell in cells))
    console.print(table)


def run(plan: Plan, workers: int, *, secure: bool, steady: bool) -> dict[str, Any]:
    """One home, one broker, so many processes that take in."""
    with ExitStack() as stack:
        ground = stack.enter_context(site(plan, workers, secure=secure))
        single = stack.enter_context(closing(Crowd(ground.port, ground.folder, plan.devices, 1)))
        alone = [burst(ground, [single], plan.single_chunks)]
        each = -(-plan.devices // min(PROCESSES, plan.devices))
        crowds = [
            stack.enter_context(closing(Crowd(ground.port, ground.folder, first, min(each, plan.devices - first))))
            for first in range(0, plan.devices, each)
        ]
        bursts = []
        for _ in range(plan.times):
            together = burst(ground, crowds, plan.chunks)
            alone.append(burst(ground, [single], plan.single_chunks))
            bursts.append(together | beside(together, alone[-2:]))
        found: dict[str, Any] = {"burst": middle(bursts), "bursts": bursts}
        if steady:
            found["steady"] = walking(ground, crowds, plan.steady_s)
        return found


def beside(together: dict[str, Any], alone: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The figures of one device, before and after, and what share of its pace all together had."""
    mb_s, cpu_ms = (fmean(one[key] for one in alone) for key in ("mb_s", "cpu_ms_per_chunk"))
    share = together["mb_s"] / mb_s
    return {"single_mb_s": mb_s, "share_of_single": share, "single_cpu_ms_per_chunk": cpu_ms}


def middle(bursts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure the median; of what went wrong, all that did."""
    worst = {
        "resent_share": max(one["resent_share"] for one in bursts),
        "cuts": sum(one["cuts"] for one in bursts),
        "refusals": [reason for one in bursts for reason in one["refusals"]],
    }
    return {key: median(one[key] for one in bursts) for key in bursts[0] if key not in worst} | worst


def burst(ground: Ground, crowds: Sequence[Crowd], count: int) -> dict[str, Any]:
    """Everybody sends `count` chunks at once. They are connected before, and their chunks are written."""
    connected = answers(crowds, do="connect")
    answers(crowds, do="seal", chunks=count)
    os.sync()  # what the devices wrote is no work of the server's disk
    server_s, broker_s, started_s = ground.server_cpu_s(), cpu_s(ground.broker), time.monotonic()
    heard = answers(crowds, do="burst")
    seconds = max(one["ended_s"] for one in heard) - started_s
    sent, again = (sum(one[key] for one in heard) for key in ("sent_bytes", "resent_bytes"))
    merged = sum(len(one["latencies_s"]) for one in heard)
    return {
        "seconds": seconds,
        "chunks": merged,
        "mb_s": (sent - again) / 1e6 / seconds,
        "resent_share": again / (sent - again),
        "cpu_ms_per_chunk": (ground.server_cpu_s() - server_s) * 1e3 / merged,
        "broker_cpu_ms_per_chunk": (cpu_s(ground.broker) - broker_s) * 1e3 / merged,
        "devices_cpu_ms_per_chunk": sum(one["fleet_cpu_s"] for one in heard) * 1e3 / merged,
        "messages_per_chunk": sum(one["messages"] for one in heard) / merged,
        "refusals": [reason for one in heard for reason in one["refusals"]],
        "cuts": sum(one["counters"].get("cuts", 0) for one in [*heard, *connected]),
        "load": os.getloadavg()[0],
    }


def walking(ground: Ground, crowds: Sequence[Crowd], seconds: float) -> dict[str, Any]:
    """A chunk a minute from each."""
    before_s, started_s = ground.server_cpu_s(), time.monotonic()
    heard = answers(crowds, do="steady", seconds=seconds, every_s=EVERY_S)
    latencies = sorted(1e3 * one for crowd in heard for one in crowd["latencies_s"])
    if not latencies:
        return {"p50_ms": 0.0, "p95_ms": 0.0, "chunks": 0}
    return {
        "p50_ms": latencies[len(latencies) // 2],
        "p95_ms": latencies[min(len(latencies) - 1, int(len(latencies) * 0.95))],
        "chunks": len(latencies),
        "server_cores": (ground.server_cpu_s() - before_s) / (time.monotonic() - started_s),
        "load": os.getloadavg()[0],
    }


def answers(crowds: Sequence[Crowd], **command: Any) -> list[dict[str, Any]]:
    """Tell all of them, then hear all of them."""
    for crowd in crowds:
        crowd.tell(**command)
    return [crowd.heard() for crowd in crowds]


@contextmanager
def site(plan: Plan, workers: int, *, secure: bool) -> Iterator[Ground]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="home-", dir=plan.folder))
        templates(folder)
        home = folder / "home"
        home.mkdir()
        names = [f"dev-{number:04}" for number in range(plan.devices + 1)] if secure else []
        files = strict_broker(folder, names) if secure else None
        broker = BrokerChild(
            folder / "broker-run", secure=files, options=() if secure else broker_files.limits(plan.devices)
        )
        stack.enter_context(broker)
        shared = f"[ingest]\nshared = {str(workers > 1).lower()}\n"
        enrol = '[enrol]\naddress = ""\n'
        link = f'[broker]\naddress = "{HOST}:{broker.port}"\ntls = {str(secure).lower()}\nfolder = "{files or ""}"\n'
        (home / "waycue.toml").write_text(f'{link}{enrol}{shared}[web]\naddress = "{HOST}:{free_port()}"\n')
        open_store(home).close()  # the one that the settings name
        if secure:
            let_in(folder, names)
        servers = [stack.enter_context(server(folder, "run"))]
        servers += [stack.enter_context(server(folder, "ingest", "--number", str(n))) for n in range(1, workers)]
        assert broker.pid is not None
        if workers > 1:
            wait_until_divided(home, workers)
        yield Ground(folder, broker.port, tuple(servers), broker.pid)


def wait_until_divided(home: Path, workers: int) -> None:
    """Each process has its share of the devices."""
    end_s = time.monotonic() + START_WITHIN_S
    lease_s = IngestSection().lease_s
    with closing(open_store(home)) as store:
        while True:
            rows = leases.listing(store, now_s=SystemClock().utc_s(), lease_s=lease_s)
            shares = Counter(row.holder for row in rows)
            if len(shares) == workers and max(shares.values()) - min(shares.values()) <= 1 and "" not in shares:
                return
            if time.monotonic() > end_s:
                raise RuntimeError(f"The devices are not divided: {dict(shares)}.")
            time.sleep(0.1)


def templates(folder: Path) -> None:
    """A drawn walk as the recorder encodes it, a folder for each chunk."""
    for number, chunk in enumerate(chunks(10.0)):
        for kind, data in payloads(chunk).items():
            path = folder / "templates" / f"{number:02}" / f"{kind}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@contextmanager
def server(folder: Path, *words: str) -> Iterator[int]:
    """A process of `waycue-server`, ready."""
    ready = folder / f"ready-{'-'.join(words)}"
    command = [sys.executable, "-m", "server", "--home", str(folder / "home"), *words, "--ready-file", str(ready)]
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end_s = time.monotonic() + START_WITHIN_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError((folder / "server.log").read_text()[-2000:])
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def strict_broker(folder: Path, names: Sequence[str]) -> Path:
    """The home's authority, and the files of a broker that lets these devices in."""
    plugin = broker_files.find_plugin()
    if plugin is None:
        raise SystemExit("bench: Mosquitto's dynamic-security plugin is not installed.")
    authority = Authority.make(folder / "home", clock=SystemClock())
    files = folder / "broker"
    listening = broker_files.BrokerListener(HOST, free_port(), broker_files.own_account(), plugin)
    broker_files.write(files, authority, listening, enrolled=len(names))
    rules = dynsec_rules.initial(dynsec_rules.wanted(dict.fromkeys(names, "")))
    atomic.write_json(files / broker_files.RULES, rules, mode=0o600)
    return files


def let_in(folder: Path, names: Sequence[str]) -> None:
    """Make a whole home, once its settings are written, and enrol the devices there; their cards go into a folder."""
    home, cards, clock = folder / "home", folder / "cards", SystemClock()
    words = [sys.executable, "-m", "server", "--home", str(home), "init"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    authority = Authority(home, clock=clock)
    cards.mkdir()
    (cards / "ca.crt").write_bytes(authority.ca_pem)
    with closing(open_store(home)) as store, store.writing() as connection:
        book = Certificates(store, authority, clock=clock)
        for name in names:
            connection.execute(db.enrolments.insert().values(device=name, cohort="", added_at=clock.utc_s(), why=""))
            key = identity.new_key()
            issued = book.issue(connection, name, identity.certificate_request(key, name))
            (cards / f"{name}.crt").write_text(issued.pem)
            (cards / f"{name}.key").write_bytes(key)


if __name__ == "__main__":
    main()
