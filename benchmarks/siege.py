"""What an attack on the page costs the ingest beside it: goodput with it and without it, in one run.

    make bench NAME=siege       prints a table and writes build/bench/siege.json

One real `waycue-server run` with its page and its broker takes in what a device's outbox holds, pass after pass, every
second one while benchmarks._attack holds its connections: half requests, slow bodies, silence. Goodput is the bytes of
a pass over the seconds until all of it was acknowledged as merged. The passes alternate, so that what else works on the
machine meets both; the figure is the quotient of the medians. The attacker has its own process, on the same processors:
what it takes of them is told, and is counted against the ingest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._attack import CONNECTIONS
from benchmarks._recorded import chunks
from benchmarks._served_home import Started, served
from benchmarks.link import End, Site, machine, payloads, record
from device.capture.recorder import ClosedChunk
from device.outbox.outbox import Outbox
from server import config
from server.broker.child import HOST
from shared import atomic

OUT = Path("build/bench/siege.json")
MEGABYTES, PAIRS = 20, 5
AT_LEAST = 0.9
MOST_IN_OUTBOX = 100_000


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.siege", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--megabytes", type=int, default=MEGABYTES, help=f"of a pass (default {MEGABYTES})")
    options.add_argument("--pairs", type=int, default=PAIRS, help=f"passes of each kind (default {PAIRS})")
    options.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default {OUT})")
    chosen = options.parse_args(argv)
    console = Console()
    with console.status("recording a walk"):
        recorded = chunks(20.0)
    with tempfile.TemporaryDirectory() as scratch, console.status("passes"):
        figures = run(Path(scratch), recorded, megabytes=chosen.megabytes, pairs=chosen.pairs)
    atomic.write_json(chosen.out, {"machine": machine(), **figures})
    _print(console, figures)


def run(folder: Path, recorded: list[ClosedChunk], *, megabytes: int, pairs: int) -> dict[str, Any]:
    """The passes, the first of them thrown away; MB/s of each, the quotient, and what the attacker did."""
    home = folder / "home"
    config.init(home)
    rates: dict[str, list[float]] = {"alone": [], "attacked": []}
    attacks: list[dict[str, Any]] = []
    with served(home, folder) as server:
        _pass(folder / "first", server, recorded, number=0, megabytes=max(1, megabytes // 4))
        for pair in range(pairs):
            for attacked in (False, True) if pair % 2 else (True, False):
                place = folder / f"{pair}-{attacked}"
                number = 1 + 2 * pair + attacked
                with _attack(server, attacks) if attacked else _peace():
                    rate = _pass(place, server, recorded, number=number, megabytes=megabytes)
                rates["attacked" if attacked else "alone"].append(rate)
                print(f"{'attacked' if attacked else 'alone':9}{rate:6.2f} MB/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    kept = medians["attacked"] / medians["alone"]
    return {"mb_per_s": rates, "median_mb_per_s": medians, "kept": kept, "enough": kept >= AT_LEAST, "attacks": attacks}


def _pass(folder: Path, server: Started, recorded: list[ClosedChunk], *, number: int, megabytes: int) -> float:
    """A device brings in so many bytes; MB/s. number: of the pass, whose moments no other pass has"""
    size, at = 0, number * MOST_IN_OUTBOX
    with closing(Outbox(folder / "outbox")) as outbox:
        while size < megabytes * 1e6:
            parts = {
                name: data + at.to_bytes(8, "big") for name, data in payloads(recorded[at % len(recorded)]).items()
            }
            outbox.seal_chunk(record(at), parts)
            size, at = size + sum(map(len, parts.values())), at + 1
    device = End("send", Site(folder, server.broker))
    device.go()
    sent = device.heard()
    device.wait()
    return size / 1e6 / float(sent["seconds"])


@contextmanager
def _peace() -> Iterator[None]:
    yield


@contextmanager
def _attack(server: Started, told: list[dict[str, Any]]) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks._attack", HOST, str(server.port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        out, _ = process.communicate(timeout=60)
    told.append(json.loads(out))


def _print(console: Console, figures: dict[str, Any]) -> None:
    table = Table(title=f"Ingest beside {CONNECTIONS} connections of an attack on the page, MB/s")
    for heading in ("", "median", "all passes"):
        table.add_column(heading)
    for name, values in figures["mb_per_s"].items():
        table.add_row(name, f"{figures['median_mb_per_s'][name]:.2f}", " ".join(f"{value:.2f}" for value in values))
    console.print(table)
    console.print(f"{figures['kept']:.0%} are kept; at least {AT_LEAST:.0%} shall be.")


if __name__ == "__main__":
    main()
